"""What images are like: whether they show their label, how diverse and how real they are. No files."""
