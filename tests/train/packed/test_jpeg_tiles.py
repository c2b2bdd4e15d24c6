"""The tiles under a box of a packed image are a JPEG of their own, hardly larger than the box."""

import io

import numpy as np
from photographs import photograph
from PIL import Image

from genrobust.train.packed.jpeg_tiles import encode, tiles_under


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)))  # any decoder reads it


def test_little_more_than_the_box_is_decoded():
    jpeg, left, top = tiles_under((100, 60, 160, 100), encode(photograph(200, 150, 0)), 200, 150)
    assert (left, top, opened(jpeg).shape) == (96, 48, (64, 96, 3))
