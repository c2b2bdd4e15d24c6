"""The folders that init is given: each shifted set has a name of its own, and a study has a test set."""

from pathlib import Path

import pytest

from genrobust.core import UserError
from genrobust.tools.init.folders import name_folders


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
        name_folders(Path("train"), {"test": Path("test")}, shifts, print)


def test_validation_images_alone_test_and_never_choose():
    lines = []
    both = {"test": Path("test"), "val": Path("val")}
    named = name_folders(Path("train"), both, ["a=x=y"], lines.append).places
    assert (named, lines) == ({"train": Path("train"), **both, "shift a": Path("x=y")}, [])
    assert name_folders(Path("train"), {"val": Path("val")}, [], lines.append).places == {
        "train": Path("train"),
        "test": Path("val"),
    }
    assert lines == ["no --test, so val is the unshifted test set"]
    with pytest.raises(UserError, match="--test DIR"):
        name_folders(Path("train"), {"test": None}, [], print)
