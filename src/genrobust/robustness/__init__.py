"""Predictions to scores: accuracy, effective robustness, comparisons. It knows neither torch nor files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
