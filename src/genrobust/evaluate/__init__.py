"""Turns a checkpoint and test sets into predictions."""
