"""Pushing to a hub on this machine that keeps regular files: what arrives, what stays, and failures by name."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Hub, serving, use
from made import contents, refused
from typer.testing import Result

Push = Callable[..., Result]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of an empty hub, the one that huggingface_hub uses."""
    with serving("me/icons", monkeypatch, tmp_path) as address:
        yield address


@pytest.fixture
def push(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Push:
    def push(*words: str, repo: str = "me/icons", token: str = Hub.token) -> Result:
        monkeypatch.setenv("HF_TOKEN", token)
        return run("--to", "webdataset", "--push", repo, *words)

    return push


def test_an_export_arrives_whole_and_replaces_the_images_of_an_earlier_one(
    push: Push, hub: str, tmp_path: Path
) -> None:
    own = dict.fromkeys(
        ("own.txt", ".gitattributes", "data/validation-00000-of-00001.parquet", "data/map.csv"), b"mine"
    )
    Hub.files |= {**own, "README.md": b"old", "data/train-00000-of-00002.tar": b"old", "train/cat/1.png": b"old"}
    done = push()
    assert done.exit_code == 0, done.stderr
    assert Hub.files == {**own, **contents(tmp_path / "out")}
    assert f"{hub}/datasets/me/icons" in done.stdout
    shutil.rmtree(tmp_path / "out")
    refused(push("--private"), "is public")
    assert len(Hub.commits) == 1


@pytest.mark.parametrize(
    ("token", "repo", "code", "said"),
    [
        ("", "me/icons", 2, "hf auth login"),
        ("hf_invalid", "me/icons", 2, "401"),
        ("hf_reads", "me/icons", 2, "403"),
        ("hf_invälid", "me/icons", 1, "cannot push"),
        ("hf_writes", "me/reserved", 2, "Invalid repo name"),
    ],
)
def test_a_failure_is_named_and_nothing_is_pushed(
    push: Push, hub: str, tmp_path: Path, token: str, repo: str, code: int, said: str
) -> None:
    done = push(repo=repo, token=token)
    refused(done, said, code=code)
    assert not token or token not in done.stdout + done.stderr
    assert Hub.commits == []
    if token:  # the export is whole, and the message says how it goes on
        assert (tmp_path / "out" / "README.md").exists() and f"hf upload {repo}" in done.stderr


def test_no_hub_is_named(push: Push, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "answer", lambda self, *_: self.reply(200, b"<html>log in</html>"))
    refused(push(), f"{hub} answers with no JSON", code=1)
    shutil.rmtree(tmp_path / "out")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    use(closed, monkeypatch, tmp_path)
    refused(push(), closed, code=1)
