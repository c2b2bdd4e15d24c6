"""Sources of studies and readers of shifted test sets, which register themselves."""
