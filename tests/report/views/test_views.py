"""What a notebook shows of results, images and studies: the report's metrics, real images, and names as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genrobust import MemoryImages
from genrobust.core import JoinedImages, StudyData, StudyRecord, Subset, Summary
from genrobust.data import ShardDataset
from genrobust.report.score_tables import main_tables
from genrobust.report.views.image_set_view import SHOWN
from genrobust.robustness import list_metrics

EVIL = "<script>alert(1)</script>\" onerror='x' {{ 7*7 }} &amp;"


def check_text(html: str) -> str:
    """The page, which has names from outside as text alone, and loads nothing."""
    assert "<script" not in html and "onerror='" not in html
    assert all(uri.startswith("data:image/") for uri in re.findall(r'src="([^"]*)"', html))
    assert not re.search(r"<(link|style|iframe|script)", html)
    return html


def test_a_summary_is_short_in_a_terminal_and_has_the_report_s_tables_in_a_notebook(grouped: StudyRecord) -> None:
    for summary in (grouped.summary, replace(grouped.summary, groups={}, lines={})):
        assert len(repr(summary)) < 100 and f"scores={len(summary.scores)}" in repr(summary)
    plain = replace(grouped.summary, groups={})
    html = check_text(plain._repr_html_())
    for table in main_tables(plain, list_metrics()).values():
        assert all(entry.text in html for _, entries in table.rows for entry in entries)
    assert "pixel†" in html and "† left out" in html
    assert "any real+generated" in grouped.summary._repr_html_()  # groups in place of their arms


def test_names_in_a_summary_are_text(renamed: Callable[[str], Summary]) -> None:
    html = check_text(renamed(EVIL)._repr_html_())
    assert html.count("&lt;script&gt;") >= 4


def test_an_image_set_is_indexed_and_iterated(pictogram_data: StudyData) -> None:
    test, solid = pictogram_data.tests["test"], pictogram_data.tests["solid"]
    for images in (test, Subset(test, [5, 3, 4]), JoinedImages("both", [test, solid])):
        image, label = images[-1]
        assert image.tobytes() == images.image(len(images) - 1).tobytes() and label == images.labels[-1]
        assert [label for _, label in images[2::-1]] == images.labels[2::-1].tolist()
        assert list(images[1:3].keys) == list(images.keys[1:3])
        with pytest.raises(IndexError):
            images[len(images)]
        assert len(repr(images)) < 100 and f"images={len(images)}" in repr(images)
    assert sum(1 for _ in test) == len(test)


def test_an_image_set_shows_some_of_its_images(pictogram_data: StudyData) -> None:
    html = check_text(pictogram_data.tests["solid"]._repr_html_())
    assert html.count("<img") == SHOWN and len(html) < 100_000
    assert check_text(pictogram_data.train[:3]._repr_html_()).count("<img") == 3
    assert "<img" not in pictogram_data.train[:0]._repr_html_()
    array = np.zeros((4, 4, 3), np.uint8)
    evil = check_text(MemoryImages(EVIL, [array], [0], [EVIL])._repr_html_())
    assert evil.count("&lt;script&gt;") >= 2


def test_a_generated_dataset_shows_its_classes_and_names_a_damaged_image(
    pictogram_data: StudyData, write_shards: Callable[..., Path], tmp_path: Path
) -> None:
    icons = [pictogram_data.train.image(i) for i in range(4)]
    folder = write_shards(tmp_path / "made", icons, ["cat", "bell"])
    dataset = ShardDataset(folder)
    dataset.label_names = ("<script>", "bell")
    html = check_text(dataset._repr_html_())
    assert html.count("<img") == len(dataset) == 4
    assert html.count(">&lt;script&gt;<") == html.count(">bell<") == 2
    image, label = dataset[1]
    assert isinstance(image, Image.Image) and dataset.class_ids[label] == "bell"
    (tar,) = folder.glob("*.tar")
    tar.write_bytes(tar.read_bytes().replace(b"IDAT", b"IDOT"))
    damaged = check_text(dataset._repr_html_())
    assert "<img" not in damaged and damaged.count("has changed since") == 4
