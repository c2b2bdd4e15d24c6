"""The entry point: the program with all its commands, and the streams that it writes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from genrobust.cli import studies
from genrobust.cli.program import app
from genrobust.core import SAFE_PATH, mask_secrets, waiting_of_threads

# --help lists the commands in the order of these imports.
# isort: split
from genrobust.cli import listing, verify

__all__ = ["app", "listing", "main", "studies", "verify"]


def main() -> None:
    """Run the command line, and exit."""
    # Mask secrets in results, logs, tracebacks and messages of libraries.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.write = partial(_write_masked, stream.write)  # type: ignore[method-assign]
    os.environ.update(SAFE_PATH | waiting_of_threads())  # for processes that libraries start
    app()


def _write_masked(write: Callable[[str], int], text: str) -> int:
    return write(mask_secrets(text))
