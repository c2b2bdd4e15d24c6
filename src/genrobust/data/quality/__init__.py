"""Quality of images: label agreement, diversity and distance from real images. Works on arrays, not on files."""
