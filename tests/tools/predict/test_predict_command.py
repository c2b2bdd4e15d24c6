"""The command predict: a table on a terminal, CSV elsewhere, and a page with thumbnails."""

from __future__ import annotations

import csv
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from html_page import EVIL, Page
from small_study import genrobust

REAL = "own.yaml:real"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.usefixtures("own_run")
def test_a_csv_has_no_column_twice_and_a_page_shows_the_same_answers() -> None:
    shutil.copytree("test", "photos")
    Path("photos/broken.png").write_bytes(b"no image")
    Path("photos/bell").rename(f"photos/{EVIL.replace('/', '')}")
    printed = rows(genrobust("predict", REAL, "photos", "--top", "2", code=1).stdout)
    assert list(printed[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2", "error"]
    assert len(printed) == 10 and [row["path"] for row in printed if row["error"]] == ["broken.png"]
    genrobust("predict", REAL, "photos", "--top", "2", "--out", "page", code=1)
    assert rows(Path("page/answers.csv").read_text()) == printed
    text = Path("page/answers.html").read_text()
    page = Page(text)
    shown = {str(image["title"]).partition(": ")[0] for image in page.all("img")}
    assert shown == {row["path"] for row in printed if not row["error"]}
    assert "broken.png" in page.text and not page.all("script")
    confidences = [int(caption.split()[0]) for caption in re.findall(r"<figcaption>(.*?)</figcaption>", text)]
    of_class = [len(part.split("<figcaption>")) - 1 for part in text.split("<section")[1:]]
    for size in of_class:
        first, confidences = confidences[:size], confidences[size:]
        assert first == sorted(first)


@pytest.mark.usefixtures("own_run")
def test_a_terminal_shows_a_table_of_the_likeliest_class() -> None:
    answer = {row["path"]: row["class_1"] for row in rows(genrobust("predict", REAL, "test").stdout)}
    terminal, shown = pty.openpty()
    command = [sys.executable, "-m", "genrobust", "predict", REAL, "test"]
    done = subprocess.run(
        command, stdout=shown, stderr=subprocess.PIPE, env={**os.environ, "COLUMNS": "80"}, timeout=300
    )
    os.close(shown)
    text = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert {path: name for path, name, _ in table} == answer
    assert all(0 < float(percent) <= 100 for _, _, percent in table)


@pytest.mark.usefixtures("own_run")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--out", "answers.txt"), "answers.txt"),
        (("--out", "test/page"), "FOLDER"),
        (("--out", "train"), "the output folder train holds images, such as "),
        (("--out", "train/bell/0.csv", "--labels", "train/bell/0.csv"), "train/bell/0.csv"),
        (("--out", "made.csv"), "--overwrite"),
    ],
)
def test_options_are_checked_before_images_are_read(words: tuple[str, ...], named: str) -> None:
    """Without images, each error is about the options."""
    for path in Path("test").rglob("*.png"):
        path.unlink()
    Path("made.csv").touch()
    genrobust("predict", REAL, "test", *words, code=2, said=named)
