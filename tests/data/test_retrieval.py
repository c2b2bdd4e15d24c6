"""Retrieved images are as many of each class and style as are wanted, and how far that succeeds is a share."""

import numpy as np
import pytest

from genrobust.core import Subset, UserError
from genrobust.data import MemoryImages, filled_quotas, retrieve


def images(*of):
    """Images of these classes and styles, such as ``"0 solid"``."""
    labels, styles = zip(*(word.split() for word in of), strict=True)
    return MemoryImages("some", [b"x"] * len(of), [int(n) for n in labels], [str(i) for i in range(len(of))], styles)


@pytest.mark.parametrize(
    ("pool", "wanted", "filled"),
    [
        (["0 solid", "0 emoji", "1 solid"], ["0 emoji", "1 solid"], 1),
        (["0 solid", "0 solid", "1 solid"], ["0 solid", "0 emoji", "1 solid", "1 emoji"], 0.5),
        (["0 solid"], ["0 solid", "0 solid", "0 solid"], 1 / 3),  # stays short rather than repeat
        (["0 pixel", "1 pixel"], ["0 solid", "1 emoji"], 0),
        (["0 solid", "0 solid", "0 solid"], ["0 solid", "0 emoji", "0 emoji"], 1 / 3),  # filled up, and not counted
    ],
)
def test_a_quota_counts_as_far_as_its_class_and_style_are_found(pool, wanted, filled):
    found = retrieve(images(*pool), images(*wanted))
    assert filled_quotas(found, images(*wanted)) == pytest.approx(filled)
    assert len(found) == len(set(found.keys)) <= len(wanted)


def test_a_class_of_which_there_is_no_image_is_an_error():
    with pytest.raises(UserError, match="class number 1"):
        retrieve(images("0 solid"), images("0 solid", "1 solid"))


def test_of_images_in_the_order_of_their_files_a_fair_sample_is_retrieved():
    """As of tars and parquet files, in which one artist's images may lie together."""
    taken = []
    for step in (1, -1):
        pool = Subset(images(*["0 solid"] * 40, *["1 emoji"] * 40), np.arange(80)[::step])
        assert set(retrieve(pool, images("0 solid", "1 emoji")).keys) == {pool.keys[0], pool.keys[40]}
        pool.as_stored = True
        taken.append(set(retrieve(pool, images(*["0 solid"] * 5, *["1 emoji"] * 5)).keys))
    assert taken[0] == taken[1] and len(taken[0]) == 10
