"""The views of results and images in a notebook."""
