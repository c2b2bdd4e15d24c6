"""The tools: what is done with studies, datasets and classifiers beside running a study."""
