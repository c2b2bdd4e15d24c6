"""Folders of photographs of three classes, and a generated dataset of some of them."""

import pytest
from PIL import Image

from genrobust.core import LabelSpace

HOSTILE = '<script>alert("1")& {{ 7 * 7 }}'  # a folder's name holds no slash
FOLDERS = {"camera": "camera", HOSTILE: "envelope", "tree": "tree"}


@pytest.fixture
def photos(tmp_path, write_folder):
    """`real` (8 images a class), `test` (2), `wild` (8) and `made` (6), folders of three classes without a copy."""
    sources = {"real": "train", "test": "emoji", "wild": "retrieved", "made": "solid"}
    for (name, source), each in zip(sources.items(), (8, 2, 8, 6), strict=True):
        write_folder(name, source, each, FOLDERS)
    return tmp_path


def space(icons, *ids):
    return LabelSpace(tuple(icons.labels.classes[icons.labels.ids.index(id)] for id in ids))


@pytest.fixture
def shards(photos, write_shards):
    """The images of `made` as a generated dataset, one of each class in turn."""
    by_class = [sorted((photos / "made" / folder).iterdir()) for folder in sorted(FOLDERS, key=FOLDERS.__getitem__)]
    shown = [Image.open(path) for paths in zip(*by_class, strict=True) for path in paths]
    return write_shards(photos / "shards", shown, sorted(FOLDERS.values()))
