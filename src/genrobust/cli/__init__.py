"""The command line: one command a stage, plus run, show, init and the tools. It translates; the library does."""

from __future__ import annotations

import os

from genrobust.cli import studies, tools, trials
from genrobust.cli.app import app
from genrobust.core import waiting_of_threads

# The help lists commands in the order of their import, and those of a study come first.
# isort: split
from genrobust.cli import classifiers, release

__all__ = ["app", "classifiers", "main", "release", "studies", "tools", "trials"]


def main() -> None:
    """The program: runs the command and exits."""
    os.environ.update(waiting_of_threads())
    app()
