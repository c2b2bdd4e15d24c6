"""Readers of each kind of real images: one file a kind, which registers itself with `genrobust.data.reader.READERS`."""
