"""Pushing to a hub on this machine that keeps regular files: what arrives, what stays, and failures by name."""

from __future__ import annotations

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
        return run("--to", "parquet", "--push", repo, *words)

    return push


def test_an_export_arrives_whole_and_replaces_the_images_of_an_earlier_one(
    push: Push, hub: str, tmp_path: Path
) -> None:
    own = dict.fromkeys(
        ("own.txt", ".gitattributes", "data/validation-00000-of-00001.parquet", "data/map.csv"), b"mine"
    )
    Hub.files |= {**own, "README.md": b"old", "data/train-00000-of-00002.parquet": b"old", "train/cat/1.png": b"old"}
    done = push()
    assert done.exit_code == 0, done.stderr
    assert Hub.files == {**own, **contents(tmp_path / "out")}
    assert f"{hub}/datasets/me/icons" in done.stdout
    assert len(Hub.commits) == 1


@pytest.mark.parametrize(
    ("token", "repo", "code", "said"),
    [
        ("", "me/icons", 2, "hf auth login"),
        ("hf_invalid", "me/icons", 2, "401"),
        ("hf_invälid", "me/icons", 1, "cannot push"),
        ("hf_writes", "me/reserved", 2, "Invalid repo name"),
        ("hf_writes", "me/icons/again", 2, "me/icons/again"),
        ("hf_writes --private", "me/icons", 2, "is public"),
    ],
)
def test_a_failure_is_named_before_anything_is_made(
    push: Push, hub: str, tmp_path: Path, token: str, repo: str, code: int, said: str
) -> None:
    token, *more = token.split(" ")
    done = push(*more, repo=repo, token=token)
    refused(done, said, code=code)
    assert not token or token not in done.stdout + done.stderr
    assert not Hub.commits and not (tmp_path / "out").exists()


def test_an_export_that_cannot_be_uploaded_is_whole_and_its_upload_is_proposed(
    push: Push, hub: str, tmp_path: Path
) -> None:
    done = push(token="hf_reads")  # to a repository that is there
    refused(done, "403", f"hf upload me/icons {tmp_path / 'out'} --repo-type dataset")
    assert not Hub.commits and (tmp_path / "out" / "README.md").exists()


def test_no_hub_is_named(push: Push, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "answer", lambda self, *_: self.reply(200, b"<html>log in</html>"))
    refused(push(), f"cannot push to me/icons on {hub}", code=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    use(closed, monkeypatch, tmp_path)
    refused(push(), closed, code=1)
