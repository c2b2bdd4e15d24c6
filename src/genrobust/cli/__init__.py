"""The command line: one command a stage, plus run, show, init and the tools. It translates; the library does."""

from __future__ import annotations

import os

from genrobust.cli import studies, tools, trials
from genrobust.cli.app import app

# The help lists commands in the order of their import, and those of a study come first.
# isort: split
from genrobust.cli import classifiers, release

__all__ = ["app", "classifiers", "main", "release", "studies", "tools", "trials"]


def main() -> None:
    """The program: runs the command and exits."""
    # Read when torch loads OpenMP. Threads that spin while they wait slow everything down tenfold as soon as another
    # program wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
