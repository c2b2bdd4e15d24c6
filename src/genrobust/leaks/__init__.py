"""Images that must not be in two sets: exact and near copies of test images, and images of one thing by their names."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
