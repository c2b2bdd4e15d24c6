"""Ways to fine-tune, one per file: each is the section `train` for its method."""
