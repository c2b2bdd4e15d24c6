"""Copies among the sets of a study: images whose files hold the same bytes, and near copies of test images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import ImageSet, StudyData, Subset, UserError, hash_file, progress_bar, reading
from genrobust.data.file_list import WORKERS

BYTES = 32  # of a SHA-256


@dataclass(frozen=True, slots=True)
class Copies:
    """Images of the set `name` that are copies of others.

    Attributes:
        originals: How many are copies of images of each set, which may be `name` itself; at least one.
        total: The number of images of `name`.
        left_out: Whether they are left out of `name`: those of a test set are.
        near: Whether they are near copies: the same picture resized, mirrored, moved or saved again.
    """

    name: str
    originals: Mapping[str, int]
    total: int
    left_out: bool
    near: bool = False

    def __str__(self) -> str:
        number = f"{sum(self.originals.values()):,} of the {self.total:,} images of {self.name}"
        if self.near:
            counts = [f"{count:,} of {original}" for original, count in self.originals.items()]
            return f"{number} are near copies of test images ({', '.join(counts)}), and left out"
        counts = [
            f"{count:,} of {'other images of its own' if original == self.name else f'images of {original}'}"
            for original, count in self.originals.items()
        ]
        then = ", and left out: a copy is no new image" if self.left_out else ""
        return f"{number} are copies, byte for byte ({', '.join(counts)}){then}"


def hash_contents(images: ImageSet) -> np.ndarray | None:
    """Return the SHA-256 of the file of each image, uint8 [N, 32]; None where the images are no files.

    Raises:
        UserError: A file cannot be read.
    """
    encoded: Callable[[int], Path | bytes] | None = getattr(images, "encoded", None)
    if encoded is None:
        return None
    hashes = np.zeros((len(images), BYTES), dtype=np.uint8)

    def hash_one(index: int) -> None:
        source = encoded(index)
        with reading(f"the image {source if isinstance(source, Path) else images.keys[index]}"):
            digest = hash_file(source) if isinstance(source, Path) else hashlib.sha256(source).hexdigest()
        hashes[index] = np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)

    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"reading {images.name}", len(images), "images") as bar:
        for _ in pool.map(hash_one, range(len(images))):
            bar.advance()
    return hashes


def find_copies(contents: Mapping[str, np.ndarray]) -> dict[str, dict[int, str]]:
    """Return the places of the copies of each set, each with the set of its original.

    An image is a copy where its content was met before, in a set that comes before in `contents` or at a place before
    in its own.

    Args:
        contents: The content of each image, uint8 [N, 32], by set.
    """
    first: dict[bytes, str] = {}
    copies: dict[str, dict[int, str]] = {name: {} for name in contents}
    for name, hashes in contents.items():
        for place, content in enumerate(map(bytes, hashes)):
            if content in first:
                copies[name][place] = first[content]
            else:
                first[content] = name
    return copies


def counted_sets(data: StudyData) -> dict[str, ImageSet]:
    """Return the sets among which copies count: training, validation, and all test sets, in this order."""
    return {"train": data.train, "val": data.val, **data.tests}


def without_copies(
    data: StudyData, contents_of: Callable[[ImageSet], np.ndarray | None]
) -> tuple[StudyData, list[Copies]]:
    """Return `data` without the copies in its test sets, and all copies in its training, validation and test sets.

    An image of a test set is left out where it was in training or validation, in a test set before, or in its own: the
    accuracy on it says nothing new, and an interval that counts it twice is too narrow.

    Args:
        contents_of: Returns the contents of a set, as `hash_contents` does.

    Raises:
        UserError: No image of a test set is left, or a file cannot be read.
    """
    sets = counted_sets(data)
    contents = {name: hashes for name, images in sets.items() if (hashes := contents_of(images)) is not None}
    tests, copies = dict(data.tests), []
    for name, originals in find_copies(contents).items():
        if not originals:
            continue
        counts, total = Counter(originals.values()), len(sets[name])
        copies.append(Copies(name, counts, total, name in tests))
        if name in tests:
            if len(originals) == total:
                raise UserError(
                    f"data: every image of {name} is a copy of one of {' and '.join(counts)}: leave {name} out"
                )
            tests[name] = Subset(tests[name], np.setdiff1d(np.arange(total), list(originals)))
    return replace(data, tests=tests), copies


def without_near_copies(
    data: StudyData,
    near_copies_of: Callable[[Mapping[str, ImageSet], Mapping[str, ImageSet]], Mapping[str, np.ndarray]],
) -> tuple[StudyData, list[Copies]]:
    """Return `data` with no near copy of a test image in the sets that are not for testing, and those left out.

    Args:
        near_copies_of: Returns for each image of each set the place of the test set with its near copy, -1 for none.

    Raises:
        UserError: No image of a set is left, or an image cannot be read.
    """
    every = {key: getattr(data, key) for key in ("train", "val", "retrieval", "shifted_val")}
    sets: dict[str, ImageSet] = {key: images for key, images in every.items() if images is not None}
    kept: dict[str, Any] = {}
    copies = []
    for key, places in near_copies_of(sets, data.tests).items():
        name, total = sets[key].name, len(places)
        if len(near := places[places >= 0]):
            if len(near) == total:
                raise UserError(f"data: every image of {name} is a near copy of a test image: add others")
            counts = Counter(list(data.tests)[place] for place in near.tolist())
            copies.append(Copies(name, counts, total, left_out=True, near=True))
            kept[key] = Subset(sets[key], np.flatnonzero(places < 0))
    return replace(data, **kept), copies
