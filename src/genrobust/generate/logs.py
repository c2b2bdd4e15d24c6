"""Keeps single messages of other libraries out of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def muted(words: str, *loggers: str) -> Iterator[None]:
    """Drop the messages of `loggers` that hold `words` while the block runs."""

    def keep(record: logging.LogRecord) -> bool:
        return words not in record.getMessage()

    for name in loggers:
        logging.getLogger(name).addFilter(keep)
    try:
        yield
    finally:
        for name in loggers:
            logging.getLogger(name).removeFilter(keep)
