"""Where real images come from: the embedded pictograms, image folders, tars, tables, or ImageNet."""
