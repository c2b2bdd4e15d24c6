"""The names that a recipe gives: each a visible line, and a study's the name of its folder."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from genrobust.core import DEVICES, slug

LONGEST = 200  # characters
MOST_NAMED = 1000  # arms, seeds, datasets and others of a recipe: a report has a row for each
_UNFIT = r'/\\:*?"<>|'  # in the name of a folder
JOINERS = {0x200C: None, 0x200D: None}  # invisible, and part of Persian words and of emoji
# What a study keeps in the output folder, beside the folder of its report.
_FOLDERS = (
    "generated", "checkpoints", "predictions", "filters", "searches",
    "finetuned", "class-models", "embeddings", "packed", "census", "track", "plans",
)  # fmt: skip
KEPT = frozenset((*_FOLDERS, "benchmarks", "rates.json"))


def valid_name(text: str) -> str:
    """Return `text`, a valid name.

    Raises:
        ValueError: It is no name of an arm, a dataset, a test set or another thing.
    """
    if not text or len(text) > LONGEST:
        raise ValueError(f"a name has 1 to {LONGEST} characters, this one {len(text):,}")
    if text != text.strip() or not text.translate(JOINERS).isprintable():
        raise ValueError("a name is one line of visible characters, without a space at either end")
    return text


def _valid_folder_name(text: str) -> str:
    text = valid_name(text)
    subject = f"the report lies in a folder of this name, and {text!r}"
    if re.search(f"[{_UNFIT}]", text):
        raise ValueError(f'{subject} has one of / \\ : * ? " < > |: leave it out')
    if (
        text[0] in ".-"
        or text[-1] == "."
        or text.partition(".")[0].rstrip().casefold() in DEVICES
        or len(text.encode()) > LONGEST
    ):
        raise ValueError(f"{subject} is not a valid folder name on every system: choose another")
    if text.casefold() in KEPT:
        raise ValueError(f"{subject} is where studies keep their work: choose another")
    return text


def study_name(text: str) -> str:
    """Return a name for a study from a text, such as the name of a file."""
    name = slug(text)
    return f"{name}-study" if name in KEPT | DEVICES else name


_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST}
Name = Annotated[str, AfterValidator(valid_name), WithJsonSchema(_SCHEMA)]
FolderName = Annotated[
    str, AfterValidator(_valid_folder_name), WithJsonSchema({**_SCHEMA, "pattern": f"^[^{_UNFIT}]*$"})
]
