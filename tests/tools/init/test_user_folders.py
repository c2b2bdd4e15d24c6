"""The folders that init is given: each shifted set has a name of its own, and a study has a test set."""

from pathlib import Path

import pytest

from genrobust.core import UserError
from genrobust.tools.init.user_folders import read_folders


@pytest.mark.parametrize(
    ("shifts", "named"),
    [
        (["data/x"], "write NAME=DIR"),
        (["=data/x"], "write NAME=DIR"),
        (["x="], "write NAME=DIR"),
        (["x=a", "x=b"], "--shift x=b"),
        (["caf\u00e9=a", "cafe\u0301=b"], "--shift cafe"),
        (["Sketch=a", "sketch=b"], "--shift sketch=b"),
        (["test=a"], "--shift test=a"),
        (["mean of shifts=a"], "--shift mean of shifts=a"),
        (["a\nb=a"], "--shift a"),
        ([" a=a"], "--shift  a=a"),
    ],
)
def test_shifts_need_names_of_their_own(shifts, named):
    with pytest.raises(UserError, match=named):
        read_folders(Path("train"), Path("test"), None, shifts, None, None, print)


def test_validation_images_alone_test_and_never_choose():
    lines = []
    both = read_folders(Path("train"), Path("test"), Path("val"), ["a=x=y"], None, None, lines.append)
    assert (both.test, both.val, both.shifts, lines) == (Path("test"), Path("val"), {"a": Path("x=y")}, [])
    alone = read_folders(Path("train"), None, Path("val"), [], None, None, lines.append)
    assert (alone.test, alone.val) == (Path("val"), None)
    assert lines == ["no --test, so val is the unshifted test set"]
    with pytest.raises(UserError, match="--test DIR"):
        read_folders(Path("train"), None, None, [], None, None, print)
