"""The export formats, one a module; each registers itself in `genrobust.release.format.FORMATS`."""
