"""Paths in a recipe file. They are relative to the folder of the file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from genrobust.store import expand_home

# Keys whose texts name a file, a folder, or something else, such as a model of the hub.
SPECS = {"init", "model", "lora", "adapter", "clip", "baselines", "file"}
# A text of this key names a text file or a set of classes. A list of it has names of classes, which are no paths.
LISTS = "classes"
# A prefix, a path, and :ARM after the path of a recipe.
_SPEC = re.compile(r"(clip:|(?:by-order:)?[\w.]+@|)(.+?)((?<=\.yaml):.*|(?<=\.yml):.*|)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_folder: ContextVar[Path] = ContextVar("folder", default=Path())


class Given(str):
    """A text whose path is relative to the current folder, such as a value of ``--set``."""

    __slots__ = ()


def given(value: Any) -> Any:
    """Return a value of YAML with its texts as `Given`."""
    if isinstance(value, dict):
        return {key: given(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [given(inner) for inner in value]
    return Given(value) if isinstance(value, str) else value


@contextmanager
def paths_from(folder: Path) -> Iterator[None]:
    """Make paths relative to `folder` in the sections that are validated in the block. A `Given` path is not."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def located(text: str) -> str:
    """Return a path of a recipe, relative to the current folder. URLs and absolute paths do not change."""
    path = expand_home(text)
    if isinstance(text, Given) or _URL.match(path):
        return path
    return _joined(_folder.get(), path)


def _joined(folder: Path, path: str) -> str:
    if folder == Path():
        return path
    return os.path.normpath(folder / path)


def locate_specs(value: Any, folder: Path, seen_from: Path, key: str = "") -> Any:
    """Return a raw recipe in which the texts of the keys `SPECS` are relative to the current folder.

    A text changes only if it names a file or folder that exists. `Given` texts do not change. Keys may be dotted, as in
    `tune.over`.

    Args:
        folder: The folder that paths of the recipe are relative to.
        seen_from: The folder in which to look for them.
        key: The key of `value`.
    """
    if isinstance(value, dict):
        return {name: locate_specs(inner, folder, seen_from, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [locate_specs(inner, folder, seen_from, key.removesuffix(LISTS)) for inner in value]
    if not isinstance(value, str) or isinstance(value, Given) or folder == Path():
        return value
    last = key.rpartition(".")[2]
    if last == LISTS:
        if (seen_from / value).is_file():
            return Given(_joined(folder, value))
        return value
    if last in SPECS:
        return _locate_spec(value, folder, seen_from)
    return value


def _locate_spec(text: str, folder: Path, seen_from: Path) -> str:
    match = _SPEC.fullmatch(text)
    if match is None:
        return text
    prefix, path, suffix = match.groups()
    if path == "pictograms" or not os.path.lexists(seen_from / path):
        return text
    return Given(f"{prefix}{_joined(folder, path)}{suffix}")
