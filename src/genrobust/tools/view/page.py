"""A local page on which a person looks at images, and accepts or rejects those of a generated dataset."""

from __future__ import annotations

import io
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from genrobust.core import GenrobustError, ImageSet, UserError
from genrobust.data import OK, Review, ShardDataset, decide, review_of
from genrobust.report import media_type, own_script, render, thumbnail_bytes

HOST = "127.0.0.1"
PAGE = 200  # images at once
SIDE, LARGE = 256, 2048  # pixels: what is larger is shown smaller, in the grid and alone
REASONS = ("wrong class", "artifacts", "duplicate", "other")
UNREVIEWED, ACCEPTED, REJECTED = STATES = ("unreviewed", "accepted", "rejected")
# Beside the policy in the page: it lies in no frame of another one, and no link tells its address, which has the token.
PAGE_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PICTURE_HEADERS = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}


class Viewer:
    """The images at `folder`, of classes called `names`, by what a person looks for; those of shards can be reviewed.

    `by_image` is what an audit knows of each image, by column; see `Audit.by_image`.
    """

    def __init__(self, folder: Path, images: ImageSet, names: Sequence[str], by_image: Mapping[str, list[Any]]) -> None:
        self.images, self._folder, self._names, self._by_image = images, folder, names, by_image
        self._shards = images if isinstance(images, ShardDataset) else None
        self._styles = np.array(images.styles)
        self._scores = {name: np.array(of) for name, of in by_image.items() if of and isinstance(of[0], float)}

    @cached_property
    def _prompts(self) -> list[str]:
        if self._shards is None:
            return [""] * len(self.images)
        rows = self._shards.metadata(("prompt", "status"))
        return [prompt or "" for prompt in rows.filter(pc.equal(rows["status"], OK))["prompt"].to_pylist()]

    def html(self) -> str:
        """Render the page, which asks for everything else."""
        return render(
            "tools/view/viewer.html.j2",
            name=self._folder.resolve().name,
            total=len(self.images),
            classes=self._names,
            styles=sorted({*self.images.styles} - {""}),
            states=STATES,
            scores=list(self._scores),
            reasons=() if self._shards is None else REASONS,
            page=PAGE,
            **own_script(Path(__file__).with_name("viewer.js")),
        )

    def find(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of the images that a query asks for, from `start` on, with how many there are.

        `class`, `style`, `state` and `text` (a part of the prompt) choose; `sort` is "class", or a score of the audit,
        with ``-`` in front for the highest first.
        """
        images, review = self.images, None if self._shards is None else review_of(self._shards)
        # reasons by key, "" for an accepted image
        decisions = {} if review is None else dict.fromkeys(review.accepted, "") | review.rejected
        chosen = np.ones(len(images), dtype=bool)
        if name := query.get("class"):
            chosen &= images.labels == self._names.index(name)
        if style := query.get("style"):
            chosen &= self._styles == style
        if text := query.get("text", "").strip().casefold():
            chosen &= np.array([text in prompt.casefold() for prompt in self._prompts], dtype=bool)
        if state := query.get("state"):
            chosen &= np.array([_state(decisions.get(key)) == state for key in images.keys], dtype=bool)
        order = self._order(query.get("sort", ""))
        found = order[chosen[order]]
        start = min(int(query.get("start", 0)), max(0, len(found) - 1) // PAGE * PAGE)
        shown = [self._describe(i, decisions) for i in found[start : start + PAGE].tolist()]
        return {"total": len(found), "start": start, "images": shown, "counts": review and _counts(review)}

    def decide(self, index: int, reason: str | None) -> dict[str, int]:
        """Decide about an image, as `data.decide`; returns how many images are decided, by state."""
        assert self._shards is not None  # the page of other images has no buttons
        return _counts(decide(self._shards, [self.images.keys[index]], reason))

    def picture(self, index: int, side: int) -> bytes:
        """Return an image as shards store it, or as a WebP of at most `side` pixels."""
        if self._shards is not None:
            data = self._shards.encoded(index)
            with Image.open(io.BytesIO(data)) as image:
                if max(image.size) <= side:
                    return data
        return thumbnail_bytes(self.images.image(index), side)

    def _order(self, sort: str) -> np.ndarray:
        values = self.images.labels if sort == "class" else self._scores.get(sort.removeprefix("-"))
        if values is None:
            return np.arange(len(self.images))
        return np.argsort(-values if sort.startswith("-") else values, kind="stable")

    def _describe(self, index: int, decisions: Mapping[str, str]) -> dict[str, Any]:
        key = self.images.keys[index]
        return {
            "index": index,
            "key": key,
            "class": self._names[self.images.labels[index]],
            "style": self.images.styles[index],
            "prompt": self._prompts[index],
            "reason": decisions.get(key),
            "facts": {name: values[index] for name, values in self._by_image.items()},
        }


def viewer_app(viewer: Viewer, token: str) -> Starlette:
    """Return the web application below ``/token/``, which no page from elsewhere can guess; all else is forbidden."""
    html = viewer.html()

    def page(request: Request) -> Response:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    def images(request: Request) -> Response:
        return JSONResponse(viewer.find(request.query_params), headers={"Cache-Control": "no-store"})

    def picture(request: Request) -> Response:
        side = SIDE if request.path_params["kind"] == "thumbnails" else LARGE
        data = viewer.picture(request.path_params["index"], side)
        return Response(data, media_type=media_type(data), headers=PICTURE_HEADERS)

    def decision(request: Request) -> Response:
        return JSONResponse(viewer.decide(request.path_params["index"], request.query_params.get("reason")))

    def failed(request: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), 500)

    routes = [
        Route("/", page),
        Route("/images", images),
        Route("/{kind}/{index:int}", picture),
        Route("/decisions/{index:int}", decision, methods=["POST"]),
    ]
    return Starlette(
        routes=[
            Mount(f"/{token}", routes=routes),
            Mount("/", PlainTextResponse("forbidden: open the address that genrobust view printed", 403)),
        ],
        exception_handlers={GenrobustError: failed},
    )


def serve(viewer: Viewer, port: int, opened: Callable[[str], None]) -> None:
    """Serve the page on this machine alone until Ctrl-C; `opened` gets its address, with a token. Port 0 is a free one.

    Raises:
        UserError: The port is in use, or may not be used.
    """
    try:
        listener = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--port {port}: {reason}: choose another, or leave it out for a free one") from None
    with listener, suppress(KeyboardInterrupt):
        token = secrets.token_urlsafe(24)
        opened(f"http://{HOST}:{listener.getsockname()[1]}/{token}/")
        app = viewer_app(viewer, token)
        # Its own set-up of logging would close the handlers that are there.
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


def _state(reason: str | None) -> str:
    return UNREVIEWED if reason is None else REJECTED if reason else ACCEPTED


def _counts(review: Review) -> dict[str, int]:
    return {ACCEPTED: len(review.accepted), REJECTED: len(review.rejected)}
