"""Finds the finished runs in a folder of studies by their reports, which keep the command that made them."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from genrobust.core import GenrobustError
from genrobust.report import RESULTS
from genrobust.store import local_folder, read_page_json


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run whose report is written.

    Attributes:
        folder: The folder of the report.
        recipe: The recipe as the user named it.
        quick: Whether the run used the short version of the recipe.
        overrides: The values of ``--set``.
        ended: When the report was written, in local time.
    """

    folder: Path
    recipe: str
    quick: bool
    overrides: tuple[str, ...]
    ended: datetime.datetime

    def varies(self, recipe: str, quick: bool, overrides: Sequence[str]) -> bool:
        """Return whether the run is of `recipe`, and has these options or more.

        A run may have started in another folder, so only the name of a recipe file counts.
        """
        is_same = Path(self.recipe).name == Path(recipe).name
        return is_same and self.quick >= quick and set(overrides) <= set(self.overrides)

    def describe(self) -> str:
        """Describe the run in words: "the run of 12:31 with --quick, train.steps=120"."""
        is_today = self.ended.date() == datetime.date.today()
        when = self.ended.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
        options = [*(["--quick"] if self.quick else []), *self.overrides]
        with_options = f" with {', '.join(options)}" if options else ""
        return f"the run of {when}{with_options}"


def finished_runs(out: Path | str) -> list[FinishedRun]:
    """Return the finished runs in the folder `out` of studies, the newest first. Damaged reports are left out."""
    runs = list(_read_runs(local_folder(out)))
    return sorted(runs, key=lambda run: run.ended, reverse=True)


def _read_runs(folder: Path) -> Iterator[FinishedRun]:
    for path in folder.glob(f"*/{RESULTS}"):
        # Links lead to folders that are listed themselves.
        if path.parent.is_symlink():
            continue
        try:
            words = shlex.split(str(read_page_json(path)["command"]), comments=True)
            ended = datetime.datetime.fromtimestamp(path.stat().st_mtime)
        except (OSError, ValueError, KeyError, GenrobustError):
            continue
        if words[:2] == ["genrobust", "run"] and len(words) > 2:
            options = words[3:]
            overrides = [value for option, value in pairwise(options) if option == "--set"]
            yield FinishedRun(path.parent, words[2], "--quick" in options, tuple(overrides), ended)
