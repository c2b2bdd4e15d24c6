"""Copies among sets of images: the same bytes, and the same picture resized, mirrored, moved or saved again."""
