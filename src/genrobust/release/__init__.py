"""What leaves genrobust: generated datasets and classifiers in the forms of other programs, with their cards."""
