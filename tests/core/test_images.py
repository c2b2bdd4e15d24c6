"""Parts of an image set: so many images of each class, and each smaller part within a larger one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from genrobust.core import count_taken, prefix
from genrobust.data import MemoryImages

SIZES = {0: 3, 1: 5, 2: 8}  # images by class


@pytest.fixture
def images() -> MemoryImages:
    labels = [label for label, size in SIZES.items() for _ in range(size)]
    pixel = np.zeros((1, 1, 3), dtype=np.uint8)
    return MemoryImages("some", [pixel] * len(labels), labels, [f"{n}.png" for n in range(len(labels))])


@pytest.mark.parametrize(
    ("fraction", "per_class", "counts"),
    [
        (0.55, None, [2, 3, 4]),  # 1.65, 2.75 and 4.4
        (0.9, None, [3, 4, 7]),  # 2.7, 4.5 and 7.2, a half to the even number
        (0.01, None, [1, 1, 1]),
        (None, 4, [3, 4, 4]),
        (0.9, 4, [3, 4, 4]),
        (0.3, 4, [1, 2, 2]),  # 0.9, 1.5 and 2.4
        (None, None, [3, 5, 8]),
    ],
)
def test_a_fraction_is_rounded_to_the_nearest_number_of_images(
    images: MemoryImages, fraction: float | None, per_class: int | None, counts: list[int]
) -> None:
    taken = prefix(images, per_class, fraction)
    assert np.bincount(images.labels[taken]).tolist() == counts
    assert [count_taken(size, per_class, fraction) for size in SIZES.values()] == counts


def test_a_smaller_part_is_within_a_larger_one(images: MemoryImages) -> None:
    parts = [set(prefix(images, None, share).tolist()) for share in (0.1, 0.3, 0.55, 0.9, 1)]
    assert all(small <= large for small, large in pairwise(parts))
    assert parts[-1] == set(range(len(images)))
