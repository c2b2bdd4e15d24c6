"""Copies among the sets of a study: images whose files hold the same bytes, and near copies of test images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
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
        originals: The places of the copies, each with the set of its original, which may be `name` itself.
        total: The number of images of `name`.
        left_out: Whether they are left out of `name`: those of a test set are.
        near: Whether they are near copies: the same picture resized, mirrored, moved or saved again.
    """

    name: str
    originals: Mapping[int, str]
    total: int
    left_out: bool
    near: bool = False

    def __str__(self) -> str:
        number = f"{len(self.originals):,} of the {self.total:,} images of {self.name}"
        one = len(self.originals) == 1
        if self.near:
            counts = [f"{count:,} of {original}" for original, count in Counter(self.originals.values()).items()]
            are = "is a near copy" if one else "are near copies"
            return f"{number} {are} of test images ({', '.join(counts)}), and left out"
        counts = [
            f"{count:,} of {'other images of its own' if original == self.name else f'images of {original}'}"
            for original, count in Counter(self.originals.values()).items()
        ]
        then = ", and left out: a copy is no new image" if self.left_out else ""
        return f"{number} {'is a copy' if one else 'are copies'}, byte for byte ({', '.join(counts)}){then}"


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


def find_copies(
    sets: Mapping[str, ImageSet],
    tests: Collection[str],
    contents_of: Callable[[ImageSet], np.ndarray | None],
    beside: Collection[str] = (),
) -> list[Copies]:
    """Return the copies in each of `sets` that has any.

    An image is a copy where its content was met before, in a set that comes before in `sets` or at a place before in
    its own.

    Args:
        tests: The names of those that are test sets.
        contents_of: Returns the contents of a set, as `hash_contents` does.
        beside: Test sets that count in no mean and may hold the images of others, such as with other labels.

    Raises:
        UserError: A file cannot be read.
    """
    first: dict[bytes, str] = {}
    copies = []
    for name, images in sets.items():
        if (hashes := contents_of(images)) is None:
            continue
        met = {content: other for content, other in first.items() if other not in tests} if name in beside else first
        originals: dict[int, str] = {}
        for place, content in enumerate(map(bytes, hashes)):
            if content in met:
                originals[place] = met[content]
            else:
                met[content] = name
        if originals:
            copies.append(Copies(name, originals, len(images), name in tests))
    return copies


def counted_sets(data: StudyData) -> dict[str, ImageSet]:
    """Return the sets among which copies count: training, validation, and all test sets, in this order."""
    return {"train": data.train, "val": data.val, **data.tests}


def without_copies(
    data: StudyData, contents_of: Callable[[ImageSet], np.ndarray | None], beside: Collection[str] = ()
) -> tuple[StudyData, list[Copies]]:
    """Return `data` without the copies in its test sets, and all copies in its training, validation and test sets.

    An image of a test set is left out where it was in training or validation, in a test set before, or in its own: the
    accuracy on it says nothing new, and an interval that counts it twice is too narrow.

    Args:
        contents_of: Returns the contents of a set, as `hash_contents` does.
        beside: As in `find_copies`.

    Raises:
        UserError: No image of a test set is left, or a file cannot be read.
    """
    tests = dict(data.tests)
    copies = find_copies(counted_sets(data), tests, contents_of, beside)
    for in_set in copies:
        if (name := in_set.name) in tests:
            if len(in_set.originals) == in_set.total:
                others = " and ".join(Counter(in_set.originals.values()))
                raise UserError(
                    f"data: every image of {name} is a copy of one of {others}: leave {name} out, or name it in "
                    "evaluate.beside if it has other labels"
                )
            tests[name] = Subset(tests[name], np.setdiff1d(np.arange(in_set.total), list(in_set.originals)))
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
        if len(near := np.flatnonzero(places >= 0)):
            if len(near) == total:
                raise UserError(f"data: every image of {name} is a near copy of a test image: add others")
            originals = {place: list(data.tests)[places[place]] for place in near.tolist()}
            copies.append(Copies(name, originals, total, left_out=True, near=True))
            kept[key] = Subset(sets[key], np.flatnonzero(places < 0))
    return replace(data, **kept), copies
