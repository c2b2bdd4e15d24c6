"""The part of a picture inside its plain borders, at every size at which the picture is read."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from genrobust.leaks.borders import inner_boxes
from genrobust.leaks.thumbnails import luma_of, thumbnail


def found(image: Image.Image) -> np.ndarray:
    return inner_boxes(luma_of(thumbnail(image)[None]))[0].numpy()


@pytest.mark.parametrize("box", [(40, 60, 200, 180), (8, 8, 232, 232), (41, 33, 207, 187)])
def test_a_photograph_in_a_frame_is_found_to_a_fraction_of_a_pixel(box: tuple[int, int, int, int]) -> None:
    framed = Image.new("RGB", (240, 240), "black")
    framed.paste(Image.new("RGB", (240, 240), "white").crop(box), box)
    assert found(framed) == pytest.approx(np.array(box) / 240, abs=0.005)


def test_a_drawing_on_paper_in_a_frame_is_found_inside_both_borders() -> None:
    image = Image.new("RGB", (240, 240), "black")
    image.paste("white", (30, 30, 210, 210))
    image.paste("red", (90, 75, 150, 165))
    assert found(image) == pytest.approx(np.array([90, 75, 150, 165]) / 240, abs=0.005)


def test_a_picture_without_a_plain_border_and_a_tiny_or_flat_one_are_whole() -> None:
    speck = Image.new("RGB", (240, 240), "white")
    speck.paste("black", (110, 110, 130, 130))
    for image in (picture(0), speck, Image.new("RGB", (240, 240), "white")):
        assert found(image).tolist() == [0, 0, 1, 1]
