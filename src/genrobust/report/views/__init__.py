"""What a notebook shows of results and images."""
