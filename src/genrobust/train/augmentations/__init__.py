"""Augmentation policies: each module here registers one or more, for `train.augmentation` of a recipe."""
