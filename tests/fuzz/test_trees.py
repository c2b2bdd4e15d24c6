"""Folders of images with odd names, links and files: each image once and with its label, or an error that names one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from bounded import bounded
from hostile_files import png
from hypothesis import given, settings, strategies as st

from genrobust.core import GenrobustError
from genrobust.data import load_data
from genrobust.recipe import DataConfig

FOLDERS = ("a", "b", "A", "a b", "a-b", "caf\u00e9", "cafe\u0301", ".hidden", "a/inner", "a/.hidden", "-", "\udce9")
FILES = ("0.png", "1.png", "2.PNG", "0.jpg", "\udce9.png", "a\nb.png", ".png", "x.txt", "=1.png", "n" * 200 + ".png")
LINKS = ("link to itself", "link up", "link to an image")
KINDS = (*["image"] * 4, "text", "empty", "folder", *LINKS, "pipe")
TREE = st.lists(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(FILES), st.sampled_from(KINDS)), max_size=8)
FEW = settings(max_examples=20)
MANY = settings(FEW, max_examples=600)


def build(root: Path, tree: list[tuple[str, str, str]]) -> None:
    """Class folders a and b of two images each, and what `tree` adds; what is there already stays."""
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in (8, 9):
            (root / name / f"{number}.png").write_bytes(png(number))
    for folder, name, kind in tree:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind.startswith("link"):
            path.symlink_to({"link to itself": path, "link up": root, "link to an image": root / "a" / "8.png"}[kind])
        else:
            path.write_bytes({"image": png(), "text": b"text", "empty": b""}[kind])


@pytest.mark.parametrize("amount", [FEW, pytest.param(MANY, marks=pytest.mark.thorough)], ids=["few", "many"])
def test_each_image_of_a_tree_has_one_key_and_its_label(amount: settings) -> None:
    @amount
    @given(TREE)
    def holds(tree: list[tuple[str, str, str]]) -> None:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place) / "photos"
            root.mkdir()
            build(root, tree)
            try:
                with bounded():
                    data = load_data(DataConfig(source="folders", train=root, val=root, test=root))
                    images = data.tests["test"]
                    fingerprint = images.fingerprint
            except GenrobustError as error:
                text = str(error)
                assert 0 < len(text.splitlines()) <= 3, text
                known = {word for folder, name, _ in tree for word in (*folder.split("/"), name)}
                # a name that is no UTF-8, or breaks the line, is shown escaped
                shown = {word.encode("unicode_escape", "backslashreplace").decode() for word in known} | known
                assert "photos" in text or "two classes share" in text or any(word in text for word in shown), text
                return
            keys = list(images.keys)
            assert len(set(keys)) == len(keys) == len(images.labels)
            real = [os.path.realpath(root / key) for key in keys]
            assert len(set(real)) == len(real), "an image was counted twice"
            ids = data.labels.ids
            assert len(set(ids)) == len(ids) and set(images.labels.tolist()) <= set(range(len(ids)))
            assert (
                fingerprint
                == load_data(DataConfig(source="folders", train=root, val=root, test=root)).tests["test"].fingerprint
            )

    holds()
