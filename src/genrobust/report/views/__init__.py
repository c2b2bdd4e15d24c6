"""What a notebook shows of results, images and studies, and results as a pandas table."""
