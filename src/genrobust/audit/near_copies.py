"""Near copies of test images among others, class by class: for tens of thousands of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from genrobust.audit.fingerprint import NEAR, frame, nearest
from genrobust.core import ImageSet, check_not_empty, cores, progress_bar

# The coarse distance from which two images are not aligned, which takes most of the time. All 59 near copies that PACS
# holds without this limit lie below it.
COARSE = 0.2


def find_near_copies(sets: Sequence[ImageSet], tests: Sequence[ImageSet]) -> np.ndarray:
    """Return for each image of `sets` the place of the set in `tests` that has a near copy of it, -1 for none.

    Only images of one class are compared: a copy under another label raises no accuracy. An image that is in several of
    `sets` has the same key in each, and different images have different keys.

    Returns:
        int64 [N], for all images of the first set, then those of the second, and so on.

    Raises:
        UserError: A set is empty, or an image cannot be read.
    """
    for images in (*sets, *tests):
        check_not_empty(images)
    copies: dict[str, int] = {}
    queries, references = _by_class(sets), _by_class(tests)
    with progress_bar("looking for near copies", sum(map(len, queries.values()))) as bar:
        for label, mine in queries.items():
            if others := [place for of in references.get(label, {}).values() for place in of]:
                firsts = [places[0] for places in mine.values()]
                near = nearest(_frames(sets, firsts), _frames(tests, others), coarse=COARSE, advance=bar.advance)
                for key, index, distance in zip(mine, near.index.tolist(), near.distance.tolist(), strict=True):
                    if distance < NEAR:
                        copies[key] = others[index][0]
    return np.array([copies.get(key, -1) for images in sets for key in images.keys], dtype=np.int64)


def _by_class(sets: Sequence[ImageSet]) -> Mapping[int, dict[str, list[tuple[int, int]]]]:
    """The places of images by their class and key, each as the number of the set and the index in it."""
    by_class: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for number, images in enumerate(sets):
        for index, (key, label) in enumerate(zip(images.keys, images.labels.tolist(), strict=True)):
            by_class.setdefault(label, {}).setdefault(key, []).append((number, index))
    return by_class


def _frames(sets: Sequence[ImageSet], places: Sequence[tuple[int, int]]) -> np.ndarray:
    with ThreadPoolExecutor(min(8, cores())) as pool:
        return np.stack([*pool.map(lambda place: frame(sets[place[0]].image(place[1])), places)])
