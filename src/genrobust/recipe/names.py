"""Names that a recipe gives. A name is one visible line, and the name of a study is also a folder name."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from genrobust.core import DEVICES, slug

LONGEST = 200  # characters
MOST_NAMED = 1000  # arms, seeds or datasets of a recipe. A report has a row for each
UNFIT = r'[/\\:*?"<>|]'  # characters that some system does not allow in a folder name
# Invisible characters that are part of Persian words and of emoji.
JOINERS = {0x200C: None, 0x200D: None}
# What a study keeps in the output folder, next to the folder of its report.
_FOLDERS = (
    "generated", "checkpoints", "predictions", "filters", "searches",
    "finetuned", "class-models", "embeddings", "packed", "census", "slurm", "track", "plans",
)  # fmt: skip
KEPT = frozenset((*_FOLDERS, "benchmarks", "rates.json"))


def _check_line(text: str) -> str:
    if text != text.strip() or not text.translate(JOINERS).isprintable():
        raise ValueError("a name is one line of visible characters, without a space at either end")
    return text


def _check_folder(text: str) -> str:
    if re.search(UNFIT, text):
        raise ValueError('no folder can be called so on every system: leave out / \\ : * ? " < > |')
    is_device = text.partition(".")[0].rstrip().casefold() in DEVICES
    if is_device or text[0] in ".-" or text[-1] == "." or len(text.encode()) > LONGEST:
        raise ValueError("no folder can be called so on every system: choose another name")
    if text.casefold() in KEPT:
        raise ValueError("studies keep their work in a folder of this name: choose another name")
    return text


def study_name(text: str) -> str:
    """Return a name for a study, made from a text such as a file name."""
    name = slug(text)
    return f"{name}-study" if name in KEPT | DEVICES else name


Name = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_check_line)]
FolderName = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST),
    AfterValidator(_check_line),
    AfterValidator(_check_folder),
]
