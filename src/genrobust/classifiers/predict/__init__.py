"""Classifiers and CLIPs run on sets of images, and what is kept of it."""
