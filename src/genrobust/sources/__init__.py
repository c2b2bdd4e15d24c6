"""Where real images come from: the embedded pictograms, or image folders."""
