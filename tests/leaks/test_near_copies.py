"""Near copies: planted ones are found, and lead to their original; other images are not taken for copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg, picture
from PIL import Image, ImageDraw, ImageOps
from planted_copies import CHANGES, cropped, images_of, moved, photographs, thumbnails_of

from genrobust.core import StudyData
from genrobust.data.listing import ListedImages, list_folder
from genrobust.leaks import NEAR, NEAR_VERSION, find_near_copies, nearest, thumbnail, thumbnails
from genrobust.store import no_progress

PLANTED = 24
FOUND = 20  # of the planted copies, at least
# White paper gets no lighter: pale drawings lose most of their contrast.
FEWER = {("emoji", "brightness x1.15"): 18}


@pytest.fixture(scope="module")
def originals(pictogram_data: StudyData) -> dict[str, list[Image.Image]]:
    """Eighty images of each kind."""
    kinds = {name: images_of(pictogram_data.tests[name][:80]) for name in ("outline-v2", "solid", "emoji")}
    return {"photographs": photographs(0, 80), **kinds}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["photographs", "outline-v2", "solid", "emoji"])
def test_planted_copies_lead_to_their_originals(
    kind: str, change: str, originals: dict[str, list[Image.Image]]
) -> None:
    planted = [CHANGES[change](image) for image in originals[kind][10 : 10 + PLANTED]]
    found = find_near_copies(thumbnails_of(planted), thumbnails_of(originals[kind]))
    at_least = FEWER.get((kind, change), FOUND)
    assert (found == np.arange(10, 10 + PLANTED)).sum() >= at_least
    backwards = find_near_copies(thumbnails_of(originals[kind][10 : 10 + PLANTED]), thumbnails_of(planted))
    assert (backwards == np.arange(PLANTED)).sum() >= at_least, "whichever of the two was changed"


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("kind", ["photographs", "solid"])
def test_crops_of_every_corner_lead_to_their_originals(
    kind: str, corner: tuple[float, float], mirrored: bool, originals: dict[str, list[Image.Image]]
) -> None:
    planted = [cropped(image, *corner) for image in originals[kind][:PLANTED]]
    if mirrored:
        planted = [ImageOps.mirror(image) for image in planted]
    everything = thumbnails_of(originals[kind])
    found = find_near_copies(thumbnails_of(planted), everything)
    assert (found == np.arange(PLANTED)).sum() >= FOUND
    backwards = find_near_copies(everything[:PLANTED], thumbnails_of(planted))
    assert (backwards == np.arange(PLANTED)).sum() >= FOUND


def test_other_images_are_no_copies(originals: dict[str, list[Image.Image]], pictogram_data: StudyData) -> None:
    photos, others = thumbnails_of(originals["photographs"]), thumbnails_of(photographs(1000, 40))
    assert (find_near_copies(photos, others) == -1).all()
    icons, tests = pictogram_data.train[:500], pictogram_data.tests["outline-v2"][:800]
    found = find_near_copies(thumbnails(icons, no_progress)[0], thumbnails(tests, no_progress)[0])
    assert (found == -1).all(), "designers draw one thing alike"


def test_drawings_that_look_alike_are_no_copies() -> None:
    def disc(radius: int, color: str, width: int = 0, size: tuple[float, float] = (1, 1)) -> Image.Image:
        image = Image.new("RGB", (64, 64), "white")
        x, y = radius * size[0], radius * size[1]
        box = (32 - x, 32 - y, 32 + x, 32 + y)
        ImageDraw.Draw(image).ellipse(box, fill=None if width else color, outline=color, width=width)
        return image

    drawn = disc(18, "red")
    alike = {
        "other color": disc(18, "blue"),
        "paler": disc(18, "lightpink"),
        "other shape": disc(18, "red", size=(1, 0.85)),
        "much larger": disc(26, "red"),
        "outline": disc(18, "red", width=3),
    }
    for name, image in alike.items():
        assert find_near_copies(thumbnails_of([drawn]), thumbnails_of([image])) == [-1], name
    for image in (disc(18, "red"), moved(drawn, 0.1, 0.1), ImageOps.grayscale(drawn).convert("RGB")):
        assert find_near_copies(thumbnails_of([drawn]), thumbnails_of([image])) == [0]


def test_the_original_is_found_among_images_that_are_more_alike_at_first_sight() -> None:
    """Images with its brightness and other colors have the same views: only the alignment tells them apart."""
    planes = np.asarray(picture(5).convert("YCbCr"))
    decoys = []
    for cb, cr in ((255 - planes[..., 1], planes[..., 2]), (planes[..., 1], 255 - planes[..., 2])):
        decoys.append(Image.fromarray(np.stack([planes[..., 0], cb, cr], -1), "YCbCr").convert("RGB"))
    copy = jpeg(picture(5))
    for place in range(3):
        images = [*decoys]
        images.insert(place, picture(5))
        assert find_near_copies(thumbnails_of([copy]), thumbnails_of(images)) == [place]


def test_flat_images_are_near_nothing() -> None:
    flat = thumbnails_of([Image.new("RGB", (64, 64), color) for color in ("white", "gray", "white")])
    assert (find_near_copies(flat, flat) == -1).all()
    assert nearest(flat, flat, itself=True).distance.tolist() == [1, 1, 1]


def test_nothing_depends_on_the_number_of_images_that_are_compared_at_once(
    originals: dict[str, list[Image.Image]], monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = thumbnails_of([*originals["solid"], *map(ImageOps.mirror, originals["solid"][:40])])
    others = everything[::-1].copy()
    found = find_near_copies(everything, others)
    itself = nearest(everything, everything, itself=True)
    counted: list[int] = []
    for place, number in {
        "near_copies._BLOCK": 7,
        "near_copies._PIECE": 4,
        "views._OWN": 5,
        "views._OTHERS": 11,
        "alignment._BATCH": 3,
    }.items():
        monkeypatch.setattr(f"genrobust.leaks.{place}", number)
    again = find_near_copies(everything, others, counted.append)
    assert ((again < 0) == (found < 0)).all(), "one of several copies of an image may be named"
    assert sum(counted) == len(everything)
    assert np.allclose(nearest(everything, everything, itself=True).distance, itself.distance, atol=1e-3)
    assert not (itself.index == np.arange(len(everything))).any(), "none is its own neighbor"
    assert (itself.distance[:40] < NEAR).all() and (itself.distance[80:] < NEAR).all()
    is_copy = itself.index[80:] == np.arange(40)
    assert is_copy.mean() > 0.8 and itself.mirrored[80:][is_copy].mean() > 0.5, "the others are symmetric"


def test_identical_thumbnails_are_told_from_similar_ones() -> None:
    images = thumbnails_of([picture(0), picture(1), jpeg(picture(2)), ImageOps.mirror(picture(3))])
    found = nearest(images, thumbnails_of([picture(seed) for seed in range(4)]))
    assert found.index.tolist() == [0, 1, 2, 3] and (found.distance < NEAR).all()
    assert found.identical.tolist() == [True, True, False, False]
    assert found.mirrored.tolist() == [False, False, False, True]


def test_searches_are_repeated_if_distances_change(originals: dict[str, list[Image.Image]]) -> None:
    """A study keeps what it found. If this test fails, raise NEAR_VERSION, and note the new distances."""
    measured = {}
    for kind, images in originals.items():
        planted = [change(images[place]) for place, change in enumerate(CHANGES.values())]
        measured[kind] = nearest(thumbnails_of(planted), thumbnails_of(images)).distance
    assert NEAR_VERSION == 3
    for kind, distances in measured.items():
        assert distances == pytest.approx(DISTANCES[kind], abs=0.001), kind


def test_a_jpeg_is_read_at_a_reduced_size_and_whatever_cannot_be_read_is_counted(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    for place in range(4):
        picture(place, 400).save(tmp_path / "class" / f"{place}.jpg", quality=90)
    damaged = tmp_path / "class" / "damaged.jpg"
    damaged.write_bytes((tmp_path / "class" / "0.jpg").read_bytes()[:3000])
    images = ListedImages("images", list_folder(tmp_path, ["class"]), {"class": (0,)}, by_name=True)
    assert {images.reduced(place, 48).size for place in range(4)} == {(50, 50)}
    counted: list[int] = []
    made, broken = thumbnails(images, counted.append)
    assert broken == [4] and sum(counted) == 5
    whole = np.stack([thumbnail(images.image(place)) for place in range(4)])
    assert np.abs(made[:4].astype(int) - whole).mean() < 3


# By kind, of one planted copy of each change in turn.
DISTANCES = {
    "photographs": [
        0.0003, 0.0000, 0.0000, 0.0000, 0.0005, 0.0064, 0.0108, 0.0044, 0.0096,
        0.0065, 0.0074, 0.0049, 0.0001, 0.0015, 0.0001, 0.0001, 0.0126,
    ],
    "outline-v2": [
        0.0159, 0.0004, 0.0017, 0.0000, 0.0012, 0.0035, 0.0009, 0.0000, 0.0014,
        0.0020, 0.0015, 0.0003, 0.0000, 0.0003, 0.0000, 0.0000, 0.0027,
    ],
    "solid": [
        0.0053, 0.0002, 0.0002, 0.0000, 0.0009, 0.0025, 0.0015, 0.0000, 0.0036,
        0.0067, 0.0036, 0.0007, 0.0000, 0.0002, 0.0000, 0.0000, 0.0025,
    ],
    "emoji": [
        0.0049, 0.0001, 0.0002, 0.0000, 0.0010, 0.0025, 0.0097, 0.0006, 0.0019,
        0.0012, 0.0049, 0.0287, 0.0000, 0.0005, 0.0004, 0.0001, 0.0025,
    ],
}  # fmt: skip
