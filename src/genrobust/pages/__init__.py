"""HTML pages beside the report of a study: an audit, a benchmark."""
