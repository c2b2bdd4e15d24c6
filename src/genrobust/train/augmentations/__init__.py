"""Augmentation policies: each module registers one or more, for `train.augmentation` of a recipe."""
