"""The part of the hub's interface that huggingface_hub uses to read one dataset repository."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants


class Hub(http.server.BaseHTTPRequestHandler):
    """A dataset repository: its `files`, and the names of those `fetched`."""

    repo: str
    files: dict[str, bytes]
    fetched: list[str]

    def do_GET(self) -> None:
        if f"/{self.repo}" not in self.path:
            return self.answer({"error": "Repository not found"}, 404)
        if named := re.search("/resolve/[^/]+/(.+)", self.path):
            found = self.files.get(name := named[1])
            if found is not None and self.command == "GET":
                self.fetched.append(name)
            code = "EntryNotFound" if found is None else ""
            headers = {"ETag": f'"{name.replace("/", "-")}"', "X-Repo-Commit": "0" * 40, "X-Error-Code": code}
            return self.reply(404 if found is None else 200, found or b"", **headers)
        entries = [{"type": "file", "path": name, "size": len(of), "oid": name} for name, of in self.files.items()]
        siblings = [{"rfilename": name} for name in self.files]
        about = {"id": self.repo, "sha": "0" * 40, "private": False, "siblings": siblings}
        self.answer(entries if "/tree/" in self.path else about)

    do_HEAD = do_GET

    def answer(self, value: object, status: int = 200) -> None:
        self.reply(status, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(repo: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Serve an empty hub with `repo`, the one that huggingface_hub uses; `folder` is for its cache."""
    Hub.repo, Hub.files, Hub.fetched = repo, {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        # As HF_ENDPOINT and HF_HOME, which are read when huggingface_hub is imported.
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        yield
        server.shutdown()
        thread.join()
