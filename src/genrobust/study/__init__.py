"""A study: its stages and jobs, the executors that run them, the estimate and the record."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
