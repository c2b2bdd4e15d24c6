"""A server process with the images API of OpenAI, which fails at a given rate.

    with Server(faults=0.2) as server:
        GeneratorConfig(engine="openai", server={"url": server.url}, ...)

Its images are a square in a color and at a place that follow from prompt, seed and model; without a seed, from chance.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

from PIL import Image

SIDE = 16
FAULTS = ("429", "500", "503", "slow", "drop", "cut")  # what another try mends
SHAPES = {  # of answers that no images API has
    "list": [],
    "numbers": {"data": [1]},
    "base64": {"data": [{"b64_json": 5}]},
}


class Server:
    """The process. `faults` is the share of requests that fail; of `kinds`, one after another."""

    def __init__(self, faults: float = 0.0, kinds: tuple[str, ...] = FAULTS, port: int = 0, **options: Any) -> None:
        self._options = {"faults": faults, "kinds": ",".join(kinds), **options}
        self.port = port

    def __enter__(self) -> Server:
        words = [f"--{name}={value}" for name, value in self._options.items()]
        command = [sys.executable, "-u", __file__, f"--port={self.port}", *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seen(self) -> list[dict[str, Any]]:
        """The bodies of all requests, each with what became of it under ``fate`` ("ok", or the fault)."""
        with urlopen(f"{self.url}/seen") as answer:
            return json.load(answer)


def painted(body: dict[str, Any], number: int) -> bytes:
    """A PNG that follows from the request."""
    seed = body.get("seed", random.random())
    drawn = hashlib.sha256(json.dumps([body["model"], body["prompt"], seed, number]).encode()).digest()
    width, height = map(int, body.get("size", f"{SIDE}x{SIDE}").split("x"))
    image = Image.new("RGB", (width, height), "white")
    x, y = drawn[0] % (width // 2), drawn[1] % (height // 2)
    image.paste(tuple(drawn[2:5]), (x, y, x + width // 2, y + height // 2))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace
    lock = threading.Lock()
    chance = random.Random(0)
    seen: list[dict[str, Any]] = []  # noqa: RUF012
    failed = 0

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.answer(200, {"data": [{"id": self.options.model}]} if self.authorized() else _error("no such key"))
        elif self.path == "/seen":
            self.answer(200, self.seen)
        else:
            self.answer(404, _error("not found"))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kinds = self.options.kinds.split(",")
        with self.lock:
            fate = "ok"
            if self.chance.random() < self.options.faults:
                fate, Handler.failed = kinds[self.failed % len(kinds)], self.failed + 1
            self.seen.append({**body, "fate": fate, "authorization": self.headers.get("Authorization")})
        if not self.authorized():
            self.answer(401, _error(f"wrong key {self.headers.get('Authorization')}\n\x1b[31m"))
        elif self.path != "/v1/images/generations" or body["model"] != self.options.model:
            self.answer(404, _error(f"The model {body.get('model')} does not exist", "model_not_found"))
        elif unknown := sorted(body.keys() - {"model", "prompt", "n", *self.options.takes.split(",")}):
            self.answer(400, _error(f"Unknown parameter: {unknown[0]}", "unknown_parameter"))
        elif "forbidden" in body["prompt"]:
            self.answer(400, _error("blocked", "moderation_blocked"))
        else:
            self.fail(fate, body) if fate != "ok" else self.answer(200, self.drawn(body))

    def authorized(self) -> bool:
        return not self.options.key or self.headers.get("Authorization") == f"Bearer {self.options.key}"

    def drawn(self, body: dict[str, Any], change: Any = lambda png: png) -> dict[str, Any]:
        pngs = [change(painted(body, number)) for number in range(body["n"])]
        return {"data": [{"b64_json": base64.b64encode(png).decode()} for png in pngs]}

    def fail(self, fate: str, body: dict[str, Any]) -> None:
        if fate == "429-unpaid":
            self.answer(429, _error("You exceeded your current quota", "insufficient_quota"))
        elif fate.isdecimal():
            self.answer(int(fate), {"detail": "CUDA out of memory"})
        elif fate == "slow":
            time.sleep(self.options.slow)
            self.answer(200, self.drawn(body))
        elif fate == "drop":
            self.close_connection = True
        elif fate == "cut":
            content = json.dumps(self.drawn(body)).encode()
            self.send(200, content[: len(content) // 2], length=len(content))
            self.close_connection = True
        elif fate == "truncated":
            self.answer(200, self.drawn(body, lambda png: png[: len(png) // 2]))
        elif fate == "wrong-size":
            self.answer(200, self.drawn({**body, "size": f"{SIDE * 2}x{SIDE}"}))
        elif fate == "no-json":
            self.send(200, b"<html>a proxy</html>", kind="text/html")
        else:
            self.answer(200, SHAPES[fate])

    def answer(self, status: int, content: Any) -> None:
        self.send(status, json.dumps(content).encode(), kind="application/json")

    def send(self, status: int, content: bytes, length: int | None = None, kind: str = "image/png") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Retry-After-Ms", "10")  # of what another try may get
        self.end_headers()
        self.wfile.write(content)


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "type": None}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--faults", type=float)
    parser.add_argument("--kinds")
    parser.add_argument("--model", default="painter")
    parser.add_argument("--key", default="")
    parser.add_argument("--slow", type=float, default=1.0)  # seconds
    parser.add_argument(
        "--takes",
        default="size,response_format,output_format,seed,num_inference_steps,guidance_scale,negative_prompt,quality",
    )
    Handler.options = parser.parse_args()
    ThreadingHTTPServer.request_queue_size = 100
    server = ThreadingHTTPServer(("127.0.0.1", Handler.options.port), Handler)
    print(server.server_address[1])
    parent = os.getppid()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:  # it ends with the tests, however they end
        time.sleep(0.2)
