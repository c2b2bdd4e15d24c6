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
from made import refused
from typer.testing import CliRunner

from genrobust.cli import app
from genrobust.core.errors import UserError
from genrobust.release import pushing


@pytest.fixture
def folder(export: Callable[..., Path]) -> Path:
    return export("--to", "webdataset", "--val", 0.25)


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


READ_ONLY = {"GET /api/whoami": 200, "GET /api/datasets/": 404, "POST": 403}


@pytest.mark.parametrize(
    ("answers", "token", "code", "said", "changed"),
    [
        (None, None, 2, "hf auth login", []),
        (None, "hf_inva lid", 2, "the token for the hub holds", []),
        (None, "hf_invälid", 2, "the token for the hub holds", []),
        (None, "hf_invalid", 1, "cannot reach the hub at http://127.0.0.1", []),
        ({}, "hf_invalid", 2, "(401)", []),
        (READ_ONLY, "hf_readonly", 2, "me/icons (403)", ["POST /api/repos/create"]),
    ],
    ids=["no token", "space in it", "no ASCII", "no network", "wrong token", "token that may not write"],
)
def test_a_failure_is_named_and_nothing_is_half_pushed(
    folder: Path, tmp_path: Path, refusing, answers, token, code: int, said: str, changed: list[str]
) -> None:
    address, asked = refusing
    _Refusing.answers = answers or {}
    variables = {**({"HF_TOKEN": token} if token else {}), **({} if answers is None else {"HF_ENDPOINT": address})}
    done = push(folder, tmp_path, **variables)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in " ".join(done.stderr.split())
    assert not token or token not in done.stdout + done.stderr
    assert [line for line in asked if not line.startswith("GET ")] == changed


def test_what_is_no_export_is_refused(tmp_path: Path, dataset: Path) -> None:
    for place in (tmp_path / "none", dataset):
        refused(CliRunner().invoke(app, ["push", str(place), "me/icons", "--dry-run"]), place.name, "genrobust export")


def test_an_impossible_name_and_too_many_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="me/icons/again"):
        pushing.push(folder, "me/icons/again")
    monkeypatch.setattr(pushing, "FILES", 3)
    with pytest.raises(UserError, match="parquet"):
        pushing.files_of(folder)


def test_what_an_earlier_export_left_goes_in_the_same_commit() -> None:
    there = [".gitattributes", "README.md", "data/own.tar", "data/train-00000-of-00002.tar", "_info.json"]
    earlier = {"README.md", "data/train-00000-of-00002.tar", "_info.json"}
    assert pushing._outdated(there, {"README.md", "data/train-00000-of-00001.tar"}, earlier) == there[3:]
    assert pushing._outdated(there, {"README.md"}, {}) == []
