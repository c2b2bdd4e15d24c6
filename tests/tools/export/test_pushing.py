"""Pushing to a hub on this machine that keeps regular files: what arrives, what stays, and failures by name."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Hub, serving, use
from made import contents, refused
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core import SYSTEM_FILES


@pytest.fixture
def folder(export: Callable[..., Path]) -> Path:
    return export("--to", "webdataset", "--val", 0.25)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of an empty hub, the one that huggingface_hub uses."""
    with serving("me/icons", monkeypatch, tmp_path) as address:
        yield address


def push(folder: Path, *words: str, token: str = Hub.token) -> Result:
    return CliRunner().invoke(app, ["export", str(folder), "--push", *words], env={"HF_TOKEN": token})


def test_an_export_arrives_whole_and_replaces_only_an_earlier_one(export: Callable[..., Path], hub: str) -> None:
    Hub.files |= {"own.txt": b"mine", ".gitattributes": b"mine"}
    foreign = dict(Hub.files)
    for to in ("webdataset", "parquet"):
        out = export("--to", to, "--overwrite")
        exported = contents(out)
        for name in SYSTEM_FILES:
            (out / name).write_bytes(b"of a system")
            (next(path for path in out.iterdir() if path.is_dir()) / name).write_bytes(b"of a system")
        done = push(out, "me/icons")
        assert done.exit_code == 0, done.stderr
        assert Hub.files == {**foreign, **exported}
    assert f"{hub}/datasets/me/icons" in done.stdout
    assert push(out, "me/icons", "--private").exit_code == 2  # it is public
    assert len(Hub.commits) == 2


@pytest.mark.parametrize(
    ("token", "name", "code", "said"),
    [
        ("", "me/icons", 2, "hf auth login"),
        ("hf_invalid", "me/icons", 2, "(401)"),
        ("hf_reads", "me/icons", 2, "(403)"),
        ("hf_inva lid", "me/icons", 2, "(401)"),
        ("hf_invälid", "me/icons", 1, "cannot push"),
        ("hf_writes", "me/icons/again", 2, "me/icons/again"),
        ("hf_writes", "me/reserved", 2, "me/reserved: http://127.0.0.1"),
    ],
)
def test_a_failure_is_named_and_nothing_is_pushed(
    folder: Path, hub: str, token: str, name: str, code: int, said: str
) -> None:
    done = push(folder, name, token=token)
    refused(done, said, code=code)
    assert not token or token not in done.stdout + done.stderr
    assert Hub.commits == []


def test_a_login_page_in_place_of_the_hub_is_named(folder: Path, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "answer", lambda self, *_: self.reply(200, b"<html>log in</html>"))
    refused(push(folder, "me/icons"), f"{hub} answers with no JSON", "no file was pushed", code=1)


def test_a_commit_whose_answer_is_lost_may_be_there(folder: Path, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Hub, value: dict[str, object], status: int = 200) -> None:
        Hub.reply(self, 400 if "commitUrl" in value else status, json.dumps(value).encode())

    monkeypatch.setattr(Hub, "answer", answer)
    refused(push(folder, "me/icons"), "may be there", code=1)
    assert Hub.files == contents(folder)


def test_no_network_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    use(closed, monkeypatch, tmp_path)
    refused(push(folder, "me/icons"), closed, code=1)


def test_what_is_no_export_is_refused(tmp_path: Path, dataset: Path) -> None:
    for place in (tmp_path / "none", dataset):
        refused(push(place, "me/icons"), place.name, "--to FORMAT")
