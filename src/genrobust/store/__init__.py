"""Write and read artifacts and other files, at paths and URLs, and record their makers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
