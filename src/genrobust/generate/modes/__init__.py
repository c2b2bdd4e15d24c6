"""The modes of generation, one a file: each registers itself."""
