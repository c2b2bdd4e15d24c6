"""The figures, one a file. A file here registers its figure and is found; other packages use an entry point."""
