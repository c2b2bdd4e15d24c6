"""The command line: one command a stage, plus run, show, init and the tools. It translates; the library does."""

from __future__ import annotations

import os

from genrobust.cli import studies, tools
from genrobust.cli.app import app

__all__ = ["app", "main", "studies", "tools"]


def main() -> None:
    """The program: runs the command and exits."""
    # Read when torch loads OpenMP. Threads that spin while they wait slow everything down tenfold as soon as another
    # program wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
