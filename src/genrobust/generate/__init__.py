"""Prompts and plans to requests, and requests to shards, with a diffusion model or one trained here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
