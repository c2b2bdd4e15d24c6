"""The command line. It parses options, calls the library, and prints results and errors."""

from __future__ import annotations

import os

from genrobust.cli import completing, studies, tools
from genrobust.cli.app import app
from genrobust.core import SAFE_PATH, waiting_of_threads

# --help lists the commands in the order of these imports.
# isort: split
from genrobust.cli import classifiers, listing, release

__all__ = ["app", "classifiers", "listing", "main", "release", "studies", "tools"]


def main() -> None:
    """Run the command line, and exit."""
    os.environ.update(SAFE_PATH | waiting_of_threads())  # for processes that libraries start
    if os.environ.get(completing.VARIABLE) == "complete_bash":
        completing.complete_in_bash(app)
    else:
        app()
