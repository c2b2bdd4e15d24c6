"""Lists of class names: in the order of the logits, and no name for two of them."""

import numpy as np
import pytest

from genrobust.classifiers import OpenClassifier
from genrobust.classifiers.class_names import columns_of, read_class_names
from genrobust.core import ClassLabel, LabelSpace, UserError


@pytest.mark.parametrize(
    "content",
    [
        b"cat\ndog\n",
        b"cat\ndog",
        b"\xef\xbb\xbfcat\r\ndog\r\n",
        b"cat\rdog\r",
        b"\n cat \t\n\n\ndog\n\n",
        b"cat\ndog  ",
    ],
)
def test_the_usual_forms_of_a_list_are_one(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_class_names(tmp_path / "labels.txt") == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" \n\t\n", "names no class"),
        (b"cat\ndog\ncat\n", "'cat' on line 1 .* line 3"),
        (b"Cardigan\ncorgi\ncardigan\n", "'Cardigan' on line 1 .* line 3"),
        ("caf\u00e9\ncafe\u0301\n".encode(), "on line 1 and .* on line 2"),
        (b"cat\n\xff\n", "UTF-8"),
        ("cat\ndog\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(tmp_path, content, said):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"labels\.txt.*{said}"):
        read_class_names(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("own", "wanted", "columns"),
    [
        (["crane", "tench", "crane"], ["tench", "eel"], "does not know 1 of the 2"),
        (["crane", "tench", "crane"], ["tench", "crane"], "two logits for one class: 'crane', numbers 0 and 2"),
        (["crane", "tench", "crane", "eel"], ["eel", "tench"], [3, 1]),  # what is scored has one logit each
    ],
)
def test_a_class_of_the_data_has_one_logit(own, wanted, columns):
    model = OpenClassifier("m", tuple(own), "", prepare=np.asarray, preparation="", load=None)
    labels = LabelSpace(tuple(ClassLabel(name, name, name) for name in wanted))
    if isinstance(columns, list):
        assert model.columns(labels) == columns
    else:
        with pytest.raises(UserError, match=columns):
            model.columns(labels)


def test_a_renamed_class_has_its_old_name_under_class_names():
    model = OpenClassifier("m", ("crane", "tench"), "", prepare=np.asarray, preparation="", load=None)
    tench = ClassLabel("tench", "tench", "tench")
    with pytest.raises(UserError, match=r"crane\.\n.*class_names: {bird: NAME}"):
        model.columns(LabelSpace((ClassLabel("bird", "bird", "bird"), tench)))
    assert model.columns(LabelSpace((ClassLabel("bird", "crane", "crane"), tench))) == [0, 1]


def test_names_are_those_of_classes_but_for_case_and_what_stands_between_words():
    classes = (("star", "Star"), ("tea-pot", "tea pot"), ("c.1a2b3c4d", "C++"), ("c", "c"))
    labels = LabelSpace(tuple(ClassLabel(id, name, name) for id, name in classes))
    assert columns_of(("C++", "Teapot", "STAR", "c"), labels) == [2, 1, 0, 3]
    assert columns_of(("star", "Star", "tea_pot", "c"), labels) == [0, 2, None, 3]
    assert columns_of(("Star", "STAR", "cup"), labels) == [None] * 4
