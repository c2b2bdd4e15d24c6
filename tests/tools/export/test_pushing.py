"""Pushing to a hub on this machine that keeps regular files: what arrives, what stays, and failures by name."""

import socket

import pytest
from hub_server import Hub, serving, use
from made import contents, refused


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The address of an empty hub, the one that huggingface_hub uses."""
    with serving("me/icons", monkeypatch, tmp_path) as address:
        yield address


@pytest.fixture
def push(run, monkeypatch):
    def push(*words, repo="me/icons", token=Hub.token):
        monkeypatch.setenv("HF_TOKEN", token)
        return run("--to", "parquet", "--push", repo, *words)

    return push


def test_an_export_arrives_whole_and_replaces_the_images_of_an_earlier_one(push, hub, tmp_path):
    names = ("own.txt", ".gitattributes", "data/validation-00000-of-00001.parquet", "data/map.csv")
    own = dict.fromkeys(names, b"mine")
    Hub.files |= {**own, "README.md": b"old", "data/train-00000-of-00002.parquet": b"old", "train/cat/1.png": b"old"}
    done = push()
    assert done.exit_code == 0, done.stderr
    assert Hub.files == {**own, **contents(tmp_path / "out")}
    assert f"{hub}/datasets/me/icons" in done.stdout
    assert len(Hub.commits) == 1


@pytest.mark.parametrize(
    ("token", "repo", "said"),
    [
        ("", "me/icons", "hf auth login"),
        ("hf_invalid", "me/icons", "401"),
        ("hf_reads", "me/icons", "403"),
        ("hf_invälid", "me/icons", "cannot push"),
        ("hf_writes", "me/reserved", "Invalid repo name"),
        ("hf_writes", "me/icons/again", "me/icons/again"),
    ],
)
def test_an_export_that_cannot_be_pushed_is_whole_and_a_push_proposed(push, hub, tmp_path, token, repo, said):
    done = push(repo=repo, token=token)
    refused(done, said, f"hf upload {repo} {tmp_path / 'out'} --repo-type dataset --private", code=1)
    assert not token or token not in done.stdout + done.stderr
    assert not Hub.commits and (tmp_path / "out" / "README.md").exists()


def test_no_hub_is_named(push, hub, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    use(closed, monkeypatch, tmp_path)
    refused(push(), closed, code=1)
