"""The modes of generation, one per file: each registers itself."""
