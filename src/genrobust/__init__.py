"""Robust image classifiers from generated datasets."""

__version__ = "0.1.0"
