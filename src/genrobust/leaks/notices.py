"""Notices about copies among the images of a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copies:
    """Images of the set `name` that are copies of others.

    Attributes:
        originals: The places of the copies, each with the set of its original, which may be `name` itself.
        total: The number of images of `name`.
        left_out: Whether the copies are left out of `name`.
        near: The number of near copies.
        learned: Whether `name` is learned from, and the originals are test images.
        example: The key of the first copy, and of its original. None if they are unknown.
    """

    name: str
    originals: Mapping[int, str]
    total: int
    left_out: bool
    near: int = 0
    learned: bool = False
    example: tuple[str, str] | None = None

    def __str__(self) -> str:
        count = len(self.originals)
        near = "near " if self.near == count else ""
        copies = f"is a {near}copy" if count == 1 else f"are {near}copies"
        others = "others, byte for byte"
        if self.learned:
            others = "a test image" if count == 1 else "test images"
        sets = [f"{number:,} of {name}" for name, number in Counter(self.originals.values()).items()]
        near_copies = "near copy" if self.near == 1 else "near copies"
        some_near = f"; {self.near:,} {near_copies}" if 0 < self.near < count else ""
        then = "left out" if self.left_out else "not left out"
        if self.learned and not self.left_out:
            then += ": accuracies on these sets are too high"
        if self.example is not None:
            copy, original = self.example
            then += f"; the first is {copy}, a copy of {original}"
        number = f"{count:,} of the {self.total:,} images of {self.name}"
        return f"{number} {copies} of {others} ({', '.join(sets)}{some_near}), {then}"


@dataclass(frozen=True, slots=True)
class LabeledFile:
    """An image file: the name of its set, its key, and the name of its class."""

    set_name: str
    key: str
    label: str

    def __str__(self) -> str:
        return f"{self.key} of {self.set_name} is labeled {self.label}"


@dataclass(frozen=True, slots=True)
class LabelConflict:
    """Copies, byte for byte, with different labels: the number of them in the set of `copy`, and the first."""

    count: int
    copy: LabeledFile
    original: LabeledFile

    def __str__(self) -> str:
        images = "1 image" if self.count == 1 else f"{self.count:,} images"
        first = "" if self.count == 1 else ", the first:"
        return f"Label conflict of {images} of {self.copy.set_name}{first}: {self.copy}, its copy {self.original}"
