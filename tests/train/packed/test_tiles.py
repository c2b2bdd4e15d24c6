"""The tiles under a box of a packed image are a JPEG of their own, with the pixels of the whole."""

import io

import numpy as np
import pytest
from photographs import photograph
from PIL import Image

from genrobust.train.packed.tiles import encoded, tiles_under


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)))  # any decoder reads it


@pytest.mark.parametrize(("width", "height"), [(200, 150), (97, 33), (2, 3)])
def test_the_tiles_under_a_box_have_the_pixels_of_the_whole(width, height):
    data = encoded(photograph(width, height, 0))
    whole = opened(data[2 * -(-width // 32) * -(-height // 16) :])  # two bytes a tile say where it ends
    boxes = [(0, 0, 1, 1), (width - 1, height - 1, width, height), (0, 0, width, height)]
    boxes += [(40, 20, 90, 60)] if width == 200 else []
    for box in boxes:
        jpeg, x, y = tiles_under(box, data, width, height)
        left, top, right, bottom = box
        part = opened(jpeg)[top - y : bottom - y, left - x : right - x]
        assert np.array_equal(part, whole[top:bottom, left:right])


def test_little_more_than_the_box_is_decoded():
    jpeg, left, top = tiles_under((100, 60, 160, 100), encoded(photograph(200, 150, 0)), 200, 150)
    assert (left, top, opened(jpeg).shape) == (96, 48, (64, 96, 3))
