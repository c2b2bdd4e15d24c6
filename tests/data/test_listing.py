"""Folders of any shape: each image with its class, and nothing that blocks or leads in a circle."""

import os
import shutil

import pytest

from genrobust.core import UserError
from genrobust.data import open_stored
from genrobust.data.listing import ListedImages, list_folder


@pytest.fixture
def folder(tmp_path, save_jpeg):
    """Two classes of two images, and one image outside."""
    for name in ("cat/a", "cat/b", "dog/c", "dog/d", "../elsewhere/e"):
        save_jpeg(tmp_path / "set" / f"{name}.jpg")
    return tmp_path / "set"


def keys(folder):
    stored = open_stored(folder)
    return sorted(stored.listing(stored.groups).keys)


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (lambda f: (f / "cat" / "z.jpg").symlink_to("a.jpg"), ["cat/z.jpg"]),
        (lambda f: (f / "cat" / "more").symlink_to(f.parent / "elsewhere"), ["cat/more/e.jpg"]),  # subsets are made so
        (lambda f: (f / "eel").symlink_to(f.parent / "elsewhere"), ["eel/e.jpg"]),
        (lambda f: (f / "cat" / ".hidden").symlink_to(".."), []),
        (lambda f: (f / "cat" / "notes").symlink_to("/dev/zero"), []),
        (lambda f: shutil.copytree(f / "cat", f / "cat" / "deep.png"), ["cat/deep.png/a.jpg", "cat/deep.png/b.jpg"]),
    ],
)
def test_links_are_followed_and_hidden_files_left_out(folder, change, more):
    change(folder)
    assert keys(folder) == sorted(["cat/a.jpg", "cat/b.jpg", "dog/c.jpg", "dog/d.jpg", *more])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: (f / "cat" / "loop").symlink_to(".."), "cat/loop leads back to"),
        (lambda f: (f / "cat" / "x").symlink_to(f / "cat"), "cat/x leads back to"),
        (lambda f: (f / "cat" / "loop.jpg").symlink_to("loop.jpg"), r"loop\.jpg"),
        (lambda f: (f / "cat" / "gone.jpg").symlink_to("none.jpg"), r"gone\.jpg"),
        (lambda f: os.mkfifo(f / "cat" / "fifo.png"), r"fifo\.png: it is no regular file"),
        (lambda f: (f / "cat" / "zero.png").symlink_to("/dev/zero"), r"zero\.png: it is no regular file"),
        (lambda f: (f / "cat" / "empty.png").touch(), r"empty\.png: it is empty"),
        (lambda f: shutil.copytree(f / "dog", f / "cat" / "tame" / "Dog"), r"cat/tame/Dog lies in .*'cat'.*another"),
        (lambda f: (f / "cat" / "\udcff.jpg").write_bytes((f / "cat" / "a.jpg").read_bytes()), r"cat/\\udcff\.jpg"),
        (lambda f: ((f / "caf\u00e9").mkdir(), (f / "cafe\u0301").mkdir()), "'caf.* and 'caf.* differ by case"),
        (lambda f: (f / "a\nb").mkdir(), r"class 'a\\nb'"),
        (lambda f: (f / " ").mkdir(), "class ' '"),
        (lambda f: (f / "\udcff").mkdir(), r"class '\\udcff'"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(folder, change, named):
    change(folder)
    for by_name in (False, True):
        with pytest.raises(UserError, match=named):
            stored = open_stored(folder)
            ListedImages("x", stored.listing(stored.groups), dict.fromkeys(stored.groups, (0,)), by_name=by_name)


def test_folders_inside_class_folders_are_of_the_class(folder, save_jpeg, caplog):
    for name in ("cat/cat/a", "cat/session 1/a", "1/2/a", "2/2/a"):
        save_jpeg(folder / f"{name}.jpg")
    listing = list_folder(folder, ["1", "2", "cat", "dog"])
    assert all(key.startswith(f"{group}/") for key, group in zip(listing.keys, listing.groups, strict=True))
    assert len(listing.keys) == 8
    assert "the images in 1/2 count" in caplog.text  # the inner number may be a severity
    with pytest.raises(UserError, match="session 1 lies in"):
        list_folder(folder, ["cat", "dog"], ["Session_1"])
