"""Networks: how they are made, kept and run."""
