"""ImageNet's classes, their names and the subsets of them agree with what others publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published_tables import CLASSMAPS, needs_tables

from genrobust.core import LabelSpace, UserError
from genrobust.data.imagenet_classes import descriptions, label_space, listed_by_timm, prompt_names, wnids


def labels_of(classes: str = "all", class_names: Any = "unique") -> LabelSpace:
    return label_space(classes, class_names)


@needs_tables
@pytest.mark.parametrize(("list_name", "count"), [("imagenet", 1000), ("imagenet_r", 200), ("imagenet_a", 200)])
def test_class_lists_are_the_published_ones(list_name: str, count: int) -> None:
    published = (CLASSMAPS / f"timm_{list_name}_synsets.txt").read_text().split()
    found = wnids() if list_name == "imagenet" else listed_by_timm(list_name)
    assert len(found) == count
    assert list(found) == published == sorted(published)


@needs_tables
def test_imagenet100_is_that_of_the_study() -> None:
    ids = labels_of(classes="imagenet100").ids
    assert set(ids) == set((CLASSMAPS / "bansal_imagenet100.txt").read_text().split())
    published = json.loads((CLASSMAPS / "bansal_imagenet100_to_labels.json").read_text())
    assert {str(wnids().index(wnid)): descriptions()[wnids().index(wnid)] for wnid in ids} == published
    assert len(set(ids) & set(listed_by_timm("imagenet_r"))) == 19


def test_unique_names_are_all_different() -> None:
    names = prompt_names("unique")
    assert len(names) == len({name.casefold() for name in names.values()}) == 1000
    assert (names["n03773504"], names["n04008634"]) == ("missile", "projectile")
    assert (names["n04355933"], names["n04356056"]) == ("sunglass", "sunglasses")
    assert (names["n02012849"], names["n03126707"]) == ("crane bird", "construction crane")
    assert (names["n03710637"], names["n03710721"]) == ("maillot swimsuit", "one-piece bathing suit")  # 638 and 639


def test_a_mapping_changes_single_names() -> None:
    labels = labels_of(class_names={"n01440764": "a tench held by an angler"})
    assert labels.names[:2] == ("a tench held by an angler", "goldfish")
    with pytest.raises(UserError, match="'tench' is no WordNet id"):
        labels_of(class_names={"tench": "a fish"})
    with pytest.raises(UserError, match="share the prompt 'goldfish'"):
        labels_of(class_names={"n01440764": "goldfish"})


def test_a_file_lists_classes_by_id_or_number_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("# mine\n134 crane bird\n\nn01440764, tench\nn03126707 # the machine\n")
    labels = labels_of(classes=str(path))
    assert labels.ids == ("n01440764", "n02012849", "n03126707")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n01440764\nn00000001\n", "line 2: 'n00000001' is neither"),
        ("0\n1\n000\n", "line 3: n01440764 is listed before, as '0'"),
        ("0\n", "two classes or more"),
        (None, "a text file of them, all, imagenet100"),
    ],
)
def test_a_bad_class_list_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "classes.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        labels_of(classes=str(path))
