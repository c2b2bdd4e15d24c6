"""Pages, tables, metrics and words: of a study, an audit, a benchmark."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
