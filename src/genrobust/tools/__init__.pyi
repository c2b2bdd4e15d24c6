from .export.public import *  # noqa: F403
