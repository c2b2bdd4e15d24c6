"""The files that a user names: written through links, and never over another file by surprise."""

from pathlib import Path

import pytest

from genrobust.core import UserError
from genrobust.store import OutputFile


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_user_names_is_written_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "broken").symlink_to("new/below")
    for name, target in (("link", "file"), ("chain", "file"), ("broken", "new/below"), ("a/b", "a/b")):
        with OutputFile(tmp_path / name, overwrite=True).writing() as file:
            file.write(name.encode())
        assert (tmp_path / target).read_bytes() == name.encode()
    assert all((tmp_path / name).is_symlink() for name in ("link", "chain", "broken"))


def test_a_dash_is_standard_output(capfdbinary):
    with OutputFile(Path("-"), ".csv").writing() as file:
        file.write(b"text")
    assert capfdbinary.readouterr() == (b"text", b"")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "is a folder"),
        (".", "is a folder"),
        ("file/below", "cannot write to .*/file: "),
        ("x" * 300, "File name too long"),
        ("x/" * 3000 + "x", "File name too long"),
        ("input", "is an input of this command"),
        ("link", "is an input of this command"),
        ("file", "--overwrite"),
        ("other", "--overwrite"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, why):
    (tmp_path / "folder").mkdir()
    for file in ("file", "input"):
        (tmp_path / file).write_bytes(b"old")
    (tmp_path / "link").symlink_to("input")
    (tmp_path / "other").symlink_to("file")
    before = names(tmp_path)
    with (
        pytest.raises(UserError, match=why),
        OutputFile(tmp_path / name, "", [tmp_path / "none", tmp_path / "input"]).writing(),
    ):
        pass
    assert names(tmp_path) == before
    assert all((tmp_path / file).read_bytes() == b"old" for file in ("file", "input"))


def test_a_file_of_another_kind_is_never_replaced(tmp_path):
    for file in ("photo.png", "page.html", "PAGE.HTML"):
        (tmp_path / file).write_bytes(b"old")
    (tmp_path / "photo.html").symlink_to("photo.png")
    (tmp_path / "page").symlink_to("page.html")
    for name in ("photo.png", "photo.html", "new"):
        with pytest.raises(UserError, match=r"\.html"), OutputFile(tmp_path / name, ".html", overwrite=True).writing():
            pass
    for name in ("page", "PAGE.HTML", "new.html"):
        with OutputFile(tmp_path / name, ".html", overwrite=True).writing() as file:
            file.write(b"new")
    assert (tmp_path / "photo.png").read_bytes() == b"old"
    assert (tmp_path / "page.html").read_bytes() == b"new"


def test_what_goes_wrong_in_the_block_is_not_the_file_s_fault(tmp_path):
    for error in (ValueError("in the block"), FileNotFoundError(2, "No such file", "another")):
        with pytest.raises(type(error)) as raised, OutputFile(tmp_path / "new").writing():
            raise error
        assert raised.value is error
    assert not names(tmp_path)
