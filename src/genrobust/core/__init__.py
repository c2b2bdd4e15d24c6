"""The nouns that stages hand to each other, and what every package needs: errors, registries, devices, progress."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
