"""Executors: they decide where the items of steps are made, and retry those whose worker dies."""
