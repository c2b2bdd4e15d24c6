"""The sections of a report, one per file. A file here registers its section; other packages use an entry point."""
