"""The export formats, one a module; each registers itself in `genrobust.tools.export.format.FORMATS`."""
