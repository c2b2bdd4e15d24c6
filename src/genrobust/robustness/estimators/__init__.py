"""The estimators of accuracy without labels, one per file. A file here registers its estimator."""
