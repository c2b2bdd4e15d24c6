"""Robust image classifiers from generated datasets.

The names in `__init__.pyi` are the public ones, and stable; the modules below may change. Each is imported when it is
first asked for, so that `import genrobust` loads nothing heavy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
