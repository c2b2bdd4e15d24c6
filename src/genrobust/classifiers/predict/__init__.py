"""Run classifiers and CLIPs on sets of images, and keep their results."""
