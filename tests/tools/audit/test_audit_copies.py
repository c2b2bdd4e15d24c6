"""Planted copies are found, however they were disguised, and unlike images are not taken for copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg, picture
from PIL import Image, ImageOps

from genrobust.core import StudyData
from genrobust.leaks import NEAR, nearest, thumbnail
from genrobust.tools.audit.copies import ITSELF, duplicates


def resized(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def moved(image: Image.Image) -> Image.Image:
    """By a thirtieth of the picture to the right and upwards, the edge drawn out."""
    step = max(1, image.width // 30)
    pixels = np.pad(np.asarray(image), ((0, step), (step, 0), (0, 0)), mode="edge")
    return Image.fromarray(pixels[step:, : image.width])


DISGUISES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "JPEG": jpeg,
    "half the size": lambda image: resized(image, 0.5),
    "larger": lambda image: resized(image, 1.7),
    "moved": moved,
    "mirrored, moved, JPEG": lambda image: jpeg(moved(ImageOps.mirror(image)), 70),
}


def frames(images: list[Image.Image]) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


@pytest.fixture(scope="module")
def sets(icons: StudyData) -> dict[str, list[Image.Image]]:
    """Sixty images of each kind that are not copies of each other: icons one a class, and busy pictures."""
    chosen = {"photographs": [picture(seed) for seed in range(60)]}
    for name in ("test", "emoji"):
        images = icons.tests[name]
        chosen[name] = [images.image(int(np.flatnonzero(images.labels == k)[0])) for k in np.unique(images.labels)[:60]]
    return chosen


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("kind", ["photographs", "test", "emoji"])
def test_planted_copies_are_found(sets: dict[str, list[Image.Image]], kind: str, disguise: str) -> None:
    originals = sets[kind]
    planted = [DISGUISES[disguise](image) for image in originals[::6]]
    neighbors = nearest(frames(planted), frames(originals))
    assert neighbors.index.tolist() == list(range(0, len(originals), 6))
    assert neighbors.distance.max() < NEAR
    assert duplicates(kind, len(originals), neighbors).copies == len(planted)
    if disguise == "mirrored":
        assert neighbors.mirrored.mean() > 0.5  # the others are symmetric


def test_unlike_pictures_are_not_near(sets: dict[str, list[Image.Image]]) -> None:
    some = frames(sets["photographs"])
    assert nearest(some, some, itself=True).distance.min() > 4 * NEAR
    assert nearest(frames(sets["emoji"]), frames(sets["test"])).distance.min() > NEAR


def test_the_same_shape_in_other_colors_is_not_a_copy() -> None:
    disc = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j]) < 0.7
    red, blue = (np.where(disc[..., None], color, 255).astype(np.uint8) for color in ((220, 40, 30), (30, 90, 220)))
    assert nearest(frames([Image.fromarray(red)]), frames([Image.fromarray(blue)])).distance[0] > NEAR


def test_inside_a_set_both_of_a_pair_count_and_the_pair_is_told_once(sets: dict[str, list[Image.Image]]) -> None:
    images = [*sets["photographs"][:10], sets["photographs"][3], ImageOps.mirror(sets["photographs"][5])]
    found = duplicates(ITSELF, len(images), nearest(frames(images), frames(images), itself=True))
    assert (found.exact, found.near, found.copies) == (2, 2, 4)
    assert {(*sorted((p.index, p.other)), p.mirrored) for p in found.pairs[:2]} == {(3, 10, False), (5, 11, True)}


def test_what_differs_in_nothing_is_exact_whatever_its_file(tmp_path: Path, icons: StudyData) -> None:
    image = icons.train.image(0)
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    image.save(tmp_path / "b.jpg", quality=80)
    again = frames([Image.open(tmp_path / name) for name in ("a.webp", "b.jpg")])
    found = duplicates("saved", 1, nearest(again, frames([image])))
    assert (found.exact, found.near) == (1, 1)


def test_flat_images_are_near_nothing() -> None:
    flat = frames([Image.new("RGB", (64, 64), color) for color in ("white", "gray", "white")])
    neighbors = nearest(flat, flat, itself=True)
    assert neighbors.distance.tolist() == [1, 1, 1]
    assert duplicates(ITSELF, 3, neighbors).copies == 0


def test_a_block_of_any_size_finds_the_same(
    sets: dict[str, list[Image.Image]], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = frames(sets["emoji"])
    whole = nearest(some, some, itself=True)
    monkeypatch.setattr("genrobust.leaks.near_copies._BLOCK", 7)
    parts = nearest(some, some, itself=True)
    assert (whole.index.tolist(), whole.distance.tolist()) == (parts.index.tolist(), parts.distance.tolist())
