"""The metrics, one per file. A file here registers its metric; other packages use an entry point."""
