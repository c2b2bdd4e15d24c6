"""The part of the hub's interface that huggingface_hub uses to read one dataset repository and to push to it."""

from __future__ import annotations

import base64
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
    """A dataset repository: its `files`, the summaries of its `commits`, and the names of those `fetched`."""

    token = "hf_writes"
    readers = (token, "hf_reads")  # who may read; without names here, everyone may
    repo: str
    files: dict[str, bytes]
    commits: list[str]
    fetched: list[str]

    def do_GET(self) -> None:
        if self.readers and self.headers.get("Authorization") not in [f"Bearer {token}" for token in self.readers]:
            return self.answer({"error": "Invalid username or password."}, 401)
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

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            return self.answer({"error": "no"}, 403 if "read" in str(self.headers.get("Authorization")) else 401)
        address = f"http://{self.headers['Host']}/datasets/{self.repo}"
        if self.path.endswith("/repos/create"):
            name = json.loads(body)
            if f"{name.get('organization')}/{name['name']}" != self.repo:
                return self.answer({"error": "Invalid repo name"}, 400)
            return self.answer({"url": address})
        if self.path.endswith("/validate-yaml"):
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
                else:
                    self.commits.append(line["value"]["summary"])
            return self.answer({"commitUrl": f"{address}/commit/1", "commitOid": "1"})
        self.answer({"error": self.path}, 404)

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
def serving(repo: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[str]:
    """Yield the address of an empty hub with `repo`, the one that huggingface_hub uses; `folder` is for its cache."""
    Hub.repo, Hub.files, Hub.commits, Hub.fetched = repo, {}, [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        use(address, monkeypatch, folder)
        yield address
        server.shutdown()
        thread.join()


def use(address: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Do what HF_ENDPOINT and HF_HOME do: they are read when huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
