"""Measures what images are like: whether they show their label, how diverse and how real they are; no files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
