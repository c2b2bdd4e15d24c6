"""Paths in a recipe file are relative to the folder of the file, as in other tools."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from genrobust.core import expand_home

# Keys of texts that name a file, a folder, or something else, such as a model of the hub.
SPECS = {"init", "model", "lora", "adapter", "clip", "baselines", "file"}
LISTS = "classes"  # names a text file, a set of classes, or classes one by one: these are no paths
# A prefix, a path, and :ARM after the path of a recipe.
_SPEC = re.compile(r"(clip:|(?:by-order:)?[\w.]+@|)(.+?)((?<=\.yaml):.*|(?<=\.yml):.*|)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_folder: ContextVar[Path] = ContextVar("folder", default=Path())


class Given(str):
    """A text whose path starts at the current folder, as that of ``--set``."""

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
    """Let the paths of sections that are validated in the block start at `folder`, but for those that are `Given`."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def located(text: str) -> str:
    """Return a path of a recipe as seen from the current folder; URLs and absolute paths stay as they are."""
    path = expand_home(text)
    return path if isinstance(text, Given) or _URL.match(path) else _joined(_folder.get(), path)


def _joined(folder: Path, path: str) -> str:
    return path if folder == Path() else os.path.normpath(folder / path)


def locate_specs(value: Any, folder: Path, seen_from: Path, key: str = "") -> Any:
    """Return a raw recipe with `folder` before what the keys `SPECS` name, where that is there, `seen_from` here.

    Keys may be dotted, as in `tune.over`. What is `Given` stays.
    """
    if isinstance(value, dict):
        return {name: locate_specs(inner, folder, seen_from, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [locate_specs(inner, folder, seen_from, key.removesuffix(LISTS)) for inner in value]
    if not isinstance(value, str) or isinstance(value, Given) or folder == Path():
        return value
    last = key.rpartition(".")[2]
    if last == LISTS:
        return Given(_joined(folder, value)) if (seen_from / value).is_file() else value
    match = _SPEC.fullmatch(value) if last in SPECS else None
    if match is None or match[2] == "pictograms" or not os.path.lexists(seen_from / match[2]):
        return value
    return Given(f"{match[1]}{_joined(folder, match[2])}{match[3]}")
