"""Ways to fine-tune, one a file: each is the section `train` of its method."""
