"""Trains classifiers: mixtures of image sets, augmentation, the one training loop."""
