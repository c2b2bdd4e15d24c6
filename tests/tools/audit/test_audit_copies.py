"""Copies are counted: exact and near ones, and each pair inside a set once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pictures import picture
from PIL import Image, ImageOps

from genrobust.core import StudyData
from genrobust.leaks import nearest, thumbnail
from genrobust.tools.audit.copies import ITSELF, duplicates


def frames(images: list[Image.Image]) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


def test_inside_a_set_both_of_a_pair_count_and_the_pair_is_told_once() -> None:
    images = [picture(seed) for seed in range(10)]
    images += [images[3], ImageOps.mirror(images[5])]
    found = duplicates(ITSELF, len(images), nearest(frames(images), frames(images), itself=True))
    assert (found.exact, found.near, found.copies) == (2, 2, 4)
    assert {(*sorted((p.index, p.other)), p.mirrored) for p in found.pairs[:2]} == {(3, 10, False), (5, 11, True)}


def test_images_without_a_difference_are_exact_whatever_their_files(tmp_path: Path, icons: StudyData) -> None:
    image = icons.train.image(0)
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    image.save(tmp_path / "b.jpg", quality=80)
    again = frames([Image.open(tmp_path / name) for name in ("a.webp", "b.jpg")])
    found = duplicates("saved", 1, nearest(again, frames([image])))
    assert (found.exact, found.near) == (1, 1)
