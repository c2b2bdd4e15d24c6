"""Planted copies are found, however they were disguised, and unlike images are not taken for copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg, picture
from PIL import Image, ImageOps

from genrobust.core import StudyData, UserError
from genrobust.data import NEAR, Neighbors, frame, nearest
from genrobust.tools.audit.duplicates import ITSELF, duplicates, memorization


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
    return np.stack([frame(image) for image in images])


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
    monkeypatch.setattr("genrobust.data.copies.fingerprint._BLOCK", 7)
    parts = nearest(some, some, itself=True)
    assert (whole.index.tolist(), whole.distance.tolist()) == (parts.index.tolist(), parts.distance.tolist())


def test_images_like_the_unseen_ones_are_not_taken_for_memorized_ones() -> None:
    """Few unseen images set the threshold, which is then uncertain however many images are generated."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(40):
        unseen, generated = (neighbors(NEAR + rng.gamma(3, 0.1, n)) for n in (100, 5000))
        alarms += memorization(generated, unseen).above_expected
    assert alarms <= 4  # one in forty is expected


def neighbors(distance: np.ndarray) -> Neighbors:
    return Neighbors(np.zeros(len(distance), int), distance, np.zeros(len(distance), bool))


def test_memorization_is_held_against_unseen_images(sets: dict[str, list[Image.Image]]) -> None:
    training = frames(sets["photographs"][:40])
    unseen, others = (nearest(frames(sets["photographs"][i : i + 10]), training) for i in (40, 50))
    drawn = nearest(frames([jpeg(i) for i in sets["photographs"][:20]]), training)
    copied = memorization(drawn, unseen)
    assert (copied.n, copied.count, copied.unseen, copied.share, copied.above_expected) == (20, 20, 10, 1.0, True)
    assert copied.lo == pytest.approx(0.025 ** (1 / 20))  # Clopper-Pearson of 20 in 20
    fresh = memorization(others, unseen)
    assert fresh.threshold == np.quantile(unseen.distance, 0.05)
    assert not fresh.above_expected
    mixed = nearest(frames([*sets["photographs"][40:50], *map(jpeg, sets["photographs"][:10])]), training)
    half = memorization(drawn, mixed)
    assert (half.unseen, half.threshold, half.share) == (10, fresh.threshold, 1.0), "copies among the unseen hide none"
    with pytest.raises(UserError, match="--unseen: all of its images are near copies"):
        memorization(others, nearest(training, training))
    itself = memorization(unseen, unseen)
    assert itself.lo <= itself.expected <= itself.hi and not itself.above_expected


@pytest.mark.thorough
def test_memorization_gives_the_expected_share_on_icons_that_were_never_trained_on(pictogram_data: StudyData) -> None:
    """Halves of *wild-val* against each other, drawn often enough that none decides."""
    assert pictogram_data.retrieval is not None and pictogram_data.shifted_val is not None
    wild, val = (
        frames([s.image(i) for i in range(len(s))]) for s in (pictogram_data.retrieval, pictogram_data.shifted_val)
    )
    near, rng = nearest(val, wild), np.random.default_rng(0)
    found = []
    for _ in range(200):
        order = rng.permutation(len(val))
        generated, unseen = (
            Neighbors(near.distance[half], near.index[half], near.mirrored[half]) for half in (order[::2], order[1::2])
        )
        found.append(memorization(generated, unseen))
    assert np.mean([f.share for f in found]) == pytest.approx(0.05, abs=0.01)
    assert np.mean([f.above_expected for f in found]) < 0.05, "a test at the level of 2.5 %"
