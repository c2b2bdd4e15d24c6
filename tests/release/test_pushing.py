"""Pushing: what would go, and the failures, which leave nothing half pushed."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made import exported
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.errors import UserError
from genrobust.release import pushing
from genrobust.release.pushing import File


@pytest.fixture
def folder(export: Callable[..., Result], tmp_path: Path) -> Path:
    return exported(export("--to", "webdataset", "--val", 0.25), tmp_path / "out")


def push(folder: Path, tmp_path: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """genrobust push in a process of its own: the hub's address is read when its package is loaded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": closed_port(), **variables}
    command = [sys.executable, "-m", "genrobust", "push", str(folder), "me/icons", *words]
    return subprocess.run(command, env={**kept, **own}, capture_output=True, text=True)


def closed_port() -> str:
    """The address of a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_dry_run_lists_every_file_with_its_size(folder: Path, tmp_path: Path) -> None:
    done = push(folder, tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {line[0]: int(line[1].replace(",", "")) for line in lines if line[0] in sizes} == sizes
    assert lines[-1] == [str(len(sizes)), "files,", f"{sum(sizes.values()):,}", "bytes,", "to", "datasets/me/icons"]


def test_without_a_token_it_says_how_to_get_one(folder: Path, tmp_path: Path) -> None:
    done = push(folder, tmp_path)
    assert done.returncode == 2
    assert "there is no token for the hub: run hf auth login" in done.stderr


def test_without_a_network_nothing_is_pushed(folder: Path, tmp_path: Path) -> None:
    done = push(folder, tmp_path, HF_TOKEN="hf_invalid")
    assert done.returncode == 1
    assert "cannot reach the hub at http://127.0.0.1" in done.stderr
    assert "nothing was pushed" in done.stderr
    assert "Traceback" not in done.stderr


class _Refusing(http.server.BaseHTTPRequestHandler):
    answers: dict[str, int]  # by the beginnings of requests
    asked: list[str]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = f"{self.command} {self.path}"
        self.asked.append(asked)
        self.send_response(next((code for start, code in self.answers.items() if asked.startswith(start)), 401))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that refuses every token, but for what _Refusing.answers says; and what it was asked."""
    _Refusing.asked, _Refusing.answers = [], {}
    with http.server.HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", _Refusing.asked
        server.shutdown()
        thread.join()


def test_a_wrong_token_is_told_before_anything_is_made(
    folder: Path, tmp_path: Path, refusing: tuple[str, list[str]]
) -> None:
    done = push(folder, tmp_path, HF_TOKEN="hf_invalid", HF_ENDPOINT=refusing[0])
    assert done.returncode == 2
    assert "the hub refuses the token (401)" in done.stderr
    assert "GET /api/whoami-v2" in refusing[1]
    assert not [line for line in refusing[1] if not line.startswith("GET ")]


def test_a_token_that_may_not_write_is_told_and_nothing_is_half_pushed(
    folder: Path, tmp_path: Path, refusing: tuple[str, list[str]]
) -> None:
    _Refusing.answers = {"GET /api/whoami": 200, "GET /api/datasets/": 404, "POST": 403}
    done = push(folder, tmp_path, HF_TOKEN="hf_readonly", HF_ENDPOINT=refusing[0])
    assert done.returncode == 2
    assert "the token may not write to me/icons (403)" in done.stderr
    assert [line for line in refusing[1] if not line.startswith("GET ")] == ["POST /api/repos/create"]


def test_what_is_no_export_is_refused(tmp_path: Path, dataset: Path) -> None:
    for place, said in ((tmp_path / "none", "there is no folder"), (dataset, "holds no export")):
        done = CliRunner().invoke(app, ["push", str(place), "me/icons", "--dry-run"])
        assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True)


def test_a_name_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="is no name of a repository"):
        pushing.push(folder, "me/icons/again")


def test_more_files_than_one_commit_takes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "FILES", 3)
    with pytest.raises(UserError, match="which are few files"):
        pushing.files_of(folder)


def test_what_an_earlier_export_left_goes_in_the_same_commit(tmp_path: Path) -> None:
    files = [File("README.md", tmp_path, 1), File("data/train-00000-of-00001.tar", tmp_path, 1)]
    there = [".gitattributes", "README.md", "notes.md", "data/train-00000-of-00002.tar", "train/a/b.png", "_info.json"]
    assert pushing._outdated(there, files) == there[3:]
