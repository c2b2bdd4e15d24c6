"""The models of a published table that the line is fitted on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genrobust.core import UserError, read_lines
from genrobust.data import count_names, suggestion
from genrobust.robustness import Published


def choose_baselines(
    models: Published, baselines: str | None = None, exclude: str | None = None
) -> tuple[np.ndarray, list[str]]:
    """Select the baseline models (bool [M]) and collect notes for the user.

    Args:
        baselines: A file with one name per line, or a regular expression that is searched for in each name. None
            selects all models.
        exclude: Likewise, the models to leave out.

    Raises:
        UserError: A choice that matches no model; names the option.
    """
    chosen = np.ones(len(models.names), dtype=bool)
    notes: list[str] = []
    if baselines is None and exclude is None:
        notes.append("no baselines named: every model counts as one")
    if baselines is not None:
        chosen = _select(models.names, baselines, "--baselines", notes)
    if exclude is not None:
        chosen = chosen & ~_select(models.names, exclude, "--exclude", notes)
    return chosen, notes


def _select(names: Sequence[str], wanted: str, option: str, notes: list[str]) -> np.ndarray:
    """Return which of `names` are `wanted`, bool [M]. Adds to `notes`."""
    # os.path.isfile accepts text that is no path, such as a very long expression.
    if os.path.isfile(wanted):  # noqa: PTH113
        return _select_by_file(names, wanted, option, notes)
    return _select_by_pattern(names, wanted, option)


def _select_by_file(names: Sequence[str], path: str, option: str, notes: list[str]) -> np.ndarray:
    lines = {line for _, line in read_lines(Path(path), option)}
    absent = sorted(lines - set(names))
    chosen = np.array([name in lines for name in names], dtype=bool)
    if not chosen.any():
        hint = suggestion(absent[0], names, "models") if absent else "it is empty"
        raise UserError(f"{option}: {path} names no model with all accuracies; {hint}")
    if absent:
        notes.append(f"{path}: {count_names(absent, 'name')} without all accuracies")
    return chosen


def _select_by_pattern(names: Sequence[str], wanted: str, option: str) -> np.ndarray:
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise UserError(f"{option}: {wanted!r} is no file, and no regular expression either: {error}") from None
    chosen = np.array([pattern.search(name) is not None for name in names], dtype=bool)
    if not chosen.any():
        raise UserError(
            f"{option}: {wanted!r} is no file, and as a regular expression it matches none of the {len(names):,} "
            f"models, such as {names[0]!r}"
        )
    return chosen
