"""Copies among the sets of a study: test images that it learns from, and images whose files hold the same bytes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrobust.core import ImageSet, StudyData, hash_file, progress_bar, reading
from genrobust.data import leave_out

BYTES = 32  # of a SHA-256
WORKERS = 8  # files read at once: a network file system answers each slowly, and several together
BATCH = 10_000  # images that a pool of threads is given at once: it keeps a kilobyte for each
ContentsOf = Callable[[ImageSet], np.ndarray | None]  # as `hash_contents`
# For each image of a set the place of the test set with its near copy, -1 for none; None where it was not looked for.
NearCopiesOf = Callable[[ImageSet, Mapping[str, ImageSet]], np.ndarray | None]


@dataclass(frozen=True, slots=True)
class Copies:
    """Images of the set `name` that are copies of others.

    Attributes:
        originals: The places of the copies, each with the set of its original, which may be `name` itself.
        total: The number of images of `name`.
        left_out: Whether they are left out of `name`.
        near: How many of them are near copies: the same picture resized, mirrored, moved or saved again.
        learned: Whether `name` is learned from, and the originals are test images.
    """

    name: str
    originals: Mapping[int, str]
    total: int
    left_out: bool
    near: int = 0
    learned: bool = False

    def __str__(self) -> str:
        count = len(self.originals)
        number = f"{count:,} of the {self.total:,} images of {self.name}"
        near = "near " if self.near == count else ""
        copies = f"is a {near}copy" if count == 1 else f"are {near}copies"
        of = ("a test image" if count == 1 else "test images") if self.learned else "others, byte for byte"
        sets = ", ".join(f"{n:,} of {name}" for name, n in Counter(self.originals.values()).items())
        some = f"; {self.near:,} near copies" if 0 < self.near < count else ""
        then = "left out" if self.left_out else "not left out"
        if self.learned and not self.left_out:
            then += ": accuracies on these sets are too high"
        return f"{number} {copies} of {of} ({sets}{some}), {then}"


def hash_contents(images: ImageSet) -> np.ndarray | None:
    """Return the SHA-256 of the file of each image, uint8 [N, 32]; None where the images are no files.

    Raises:
        UserError: A file cannot be read.
    """
    if not len(images) or images.encoded(0) is None:
        return None
    hashes = np.zeros((len(images), BYTES), dtype=np.uint8)

    def hash_one(index: int) -> None:
        source = images.encoded(index)
        assert source is not None
        with reading(f"the image {source if isinstance(source, Path) else images.keys[index]}"):
            digest = hash_file(source) if isinstance(source, Path) else hashlib.sha256(source).hexdigest()
        hashes[index] = np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)

    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"reading {images.name}", len(images), "images") as bar:
        for start in range(0, len(images), BATCH):
            for _ in pool.map(hash_one, range(start, min(start + BATCH, len(images)))):
                bar.advance()
    return hashes


def without_copies(
    data: StudyData, contents_of: ContentsOf, beside: Collection[str] = ()
) -> tuple[StudyData, list[Copies]]:
    """Return `data` without the copies in its test sets, and all copies in its training, validation and test sets.

    An image of a test set is left out where it was in training or validation, in a test set before, or before in its
    own: the accuracy on it says nothing new, and an interval that counts it twice is too narrow.

    Args:
        contents_of: Returns the contents of a set, as `hash_contents` does.
        beside: Test sets that count in no mean and may hold the images of others, such as with other labels.

    Raises:
        UserError: No image of a test set is left, or a file cannot be read.
    """
    tests, first, copies = dict(data.tests), dict[bytes, str](), list[Copies]()
    for name, images in {"train": data.train, "val": data.val, **data.tests}.items():
        if (hashes := contents_of(images)) is None:
            continue
        met = {content: other for content, other in first.items() if other not in tests} if name in beside else first
        originals: dict[int, str] = {}
        for place, content in enumerate(map(bytes, hashes)):
            if content in met:
                originals[place] = met[content]
            met.setdefault(content, name)
        if originals:
            copies.append(Copies(name, originals, len(images), name in tests))
        if originals and name in tests:
            others = " and ".join(Counter(originals.values()))
            then = f"leave {name} out, or name it in evaluate.beside if it has other labels"
            tests[name] = leave_out(originals, data, name, images, f"is a copy of one of {others}: {then}")
    return replace(data, tests=tests), copies


def copies_of_tests(
    name: str, images: ImageSet, tests: Mapping[str, ImageSet], contents_of: ContentsOf, near_copies_of: NearCopiesOf
) -> Copies | None:
    """Return the images of the set called `name` that are copies or near copies of images in `tests`; None for none.

    Raises:
        UserError: A file cannot be read.
    """
    originals: dict[int, str] = {}
    if (mine := contents_of(images)) is not None:
        first: dict[bytes, str] = {}
        for test, others in tests.items():
            if (theirs := contents_of(others)) is not None:
                for content in map(bytes, theirs):
                    first.setdefault(content, test)
        originals = {place: first[content] for place, content in enumerate(map(bytes, mine)) if content in first}
    near, names = near_copies_of(images, tests), list(tests)
    places = [] if near is None else [place for place in np.flatnonzero(near >= 0).tolist() if place not in originals]
    originals |= {place: names[near[place]] for place in places} if near is not None else {}
    return Copies(name, originals, len(images), True, len(places), learned=True) if originals else None


def without_leaks(
    data: StudyData,
    contents_of: ContentsOf,
    near_copies_of: NearCopiesOf,
    chosen_by: Collection[str] = (),
    scored: Collection[str] = (),
) -> tuple[StudyData, list[Copies]]:
    """Return `data` without the copies of test images in all that is learned from, and these copies.

    What is learned from are all sets but the test sets, whether a classifier, a generator, a filter or a choice does.

    Args:
        chosen_by: The sets that something is chosen by, a test set or the shifted validation set: they hold no copy of
            another test image, and no other set holds one of theirs.
        scored: The sets that are scored, as which the shifted validation set may serve.

    Raises:
        UserError: No image of a set is left, or no training image of a class; or a file cannot be read.
    """
    learned, tests, changed = data.learned, dict(data.tests), dict[str, ImageSet]()
    own = data.shifted_val
    if own is not None and own.name in {*scored, *chosen_by}:
        tests[own.name] = learned.pop("shifted_val")
    copies = []

    def without(key: str, images: ImageSet, others: Mapping[str, ImageSet]) -> ImageSet:
        found = copies_of_tests(images.name, images, others, contents_of, near_copies_of)
        if found is None:
            return images
        copies.append(found)
        where = " and ".join(Counter(found.originals.values()))
        then = ", or set data.near_copies: keep" if found.near else ""
        return leave_out(found.originals, data, key, images, f"is a copy of a test image ({where}): add others{then}")

    chosen = {name: tests[name] for name in chosen_by if name in tests}
    others = {name: images for name, images in tests.items() if name not in chosen}
    for name, images in chosen.items():
        tests[name] = without(name, images, others)
    for key, images in learned.items():
        changed[key] = without(key, images, others if key == "shifted_val" else tests)
    if own is not None and own.name in chosen:
        changed["shifted_val"] = tests[own.name]
    return replace(data.replaced(changed), tests={name: tests[name] for name in data.tests}), copies


def without_withheld(data: StudyData, contents_of: ContentsOf) -> StudyData:
    """Return `data` without the copies of withheld images, byte for byte, among the images to search.

    Args:
        contents_of: As for `without_copies`.

    Raises:
        UserError: No image is left, or a file cannot be read.
    """
    pool, withheld = data.unlabeled, data.withheld
    if pool is None or withheld is None or (hidden := contents_of(withheld)) is None:
        return data
    hashes, contents = {*map(bytes, hidden)}, contents_of(pool)
    if contents is None:
        return data
    places = [place for place, content in enumerate(map(bytes, contents)) if content in hashes]
    if not places:
        return data
    why = "is a copy of a withheld image: remove a pattern from data.retrieved.without"
    return replace(data, unlabeled=leave_out(places, data, "unlabeled", pool, why))
