"""The metrics, one a file. A file here registers its metric and is found; other packages use an entry point."""
