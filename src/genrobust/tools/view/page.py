"""A local page to look at images, and to accept or reject the images of a generated dataset."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genrobust.cli import NO_SNIFF, local_app
from genrobust.core import ImageSet, some_of
from genrobust.data import OK, Review, ShardDataset, decide, review_of
from genrobust.report import media_type, own_script, render, thumbnail_bytes

PAGE = 200  # images at once
SIDES = {"thumbnails": 256, "images": 2048}  # pixels: larger images are sent smaller
CLASS = "class"  # a sort order
NUMBER = re.compile("[0-9]{1,18}")
SHOWN = 80  # characters of a wrong value in a message
REASONS = ("wrong class", "artifacts", "duplicate", "other")
UNREVIEWED, ACCEPTED, REJECTED = STATES = ("unreviewed", "accepted", "rejected")
PICTURE_HEADERS = {"Cache-Control": "private, max-age=86400, immutable", **NO_SNIFF}


class Viewer:
    """Finds and shows the images at `folder`, of classes called `names`. Images in shards can be reviewed.

    `by_image` holds the columns of an audit; see `Audit.by_image`.
    """

    def __init__(self, folder: Path, images: ImageSet, names: Sequence[str], by_image: Mapping[str, list[Any]]) -> None:
        self.images = images
        self.shards = images if isinstance(images, ShardDataset) else None
        self._folder = folder
        self._names = names
        self._by_image = by_image
        self._styles = np.array(images.styles)
        self._scores = {
            name: np.array(values) for name, values in by_image.items() if values and isinstance(values[0], float)
        }

    @cached_property
    def _prompts(self) -> list[str]:
        """The prompt of each image, "" if there is none."""
        if self.shards is None:
            return [""] * len(self.images)
        rows = self.shards.metadata(("prompt", "status"))
        drawn = rows.filter(pc.equal(rows["status"], OK))
        return [prompt or "" for prompt in drawn["prompt"].to_pylist()]

    @property
    def _known_styles(self) -> list[str]:
        return sorted({*self.images.styles} - {""})

    @property
    def _sorts(self) -> list[str]:
        """The sort orders: by class, and by each score with the lowest or the highest first."""
        return [CLASS, *self._scores, *(f"-{name}" for name in self._scores)]

    def html(self) -> str:
        """Render the page. Its script requests everything else."""
        return render(
            "tools/view/viewer.html.j2",
            name=self._folder.resolve().name,
            total=len(self.images),
            classes=self._names,
            styles=self._known_styles,
            states=STATES,
            scores=list(self._scores),
            reasons=() if self.shards is None else REASONS,
            page=PAGE,
            **own_script(Path(__file__).with_name("viewer.js")),
        )

    def find(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the images that a query asks for, at most `PAGE` from `start` on, and their total number.

        `class`, `style`, `state` and `text` (a part of the prompt) choose images. `sort` is "class" or a score of the
        audit, with ``-`` in front for the highest first.

        Raises:
            HTTPException: A value of the query is not known.
        """
        images = self.images
        review = None if self.shards is None else review_of(self.shards)
        # reasons by key, "" for an accepted image
        if review is None:
            decisions = {}
        else:
            decisions = dict.fromkeys(review.accepted, "") | review.rejected
        chosen = np.ones(len(images), dtype=bool)
        name = _choice(query, "class", self._names)
        if name:
            chosen &= images.labels == self._names.index(name)
        style = _choice(query, "style", self._known_styles)
        if style:
            chosen &= self._styles == style
        text = query.get("text", "").strip().casefold()
        if text:
            chosen &= np.array([text in prompt.casefold() for prompt in self._prompts], dtype=bool)
        state = _choice(query, "state", STATES)
        if state:
            chosen &= np.array([_state(decisions.get(key)) == state for key in images.keys], dtype=bool)
        order = self._order(_choice(query, "sort", self._sorts))
        found = order[chosen[order]]
        last_page = max(0, len(found) - 1) // PAGE * PAGE
        start = min(_start(query), last_page)
        shown = [self._describe(index, decisions) for index in found[start : start + PAGE].tolist()]
        counts = None if review is None else _counts(review)
        return {"total": len(found), "start": start, "images": shown, "counts": counts}

    def index(self, number: str) -> int:
        """Return the index of the image that an address names by its `number`.

        Raises:
            HTTPException: There is no such image.
        """
        if not NUMBER.fullmatch(number) or int(number) >= len(self.images):
            raise HTTPException(404, f"there is no image {_shorten(number)}: the last one is {len(self.images) - 1}")
        return int(number)

    def decide(self, index: int, reason: str | None) -> dict[str, int]:
        """Decide about an image, as `data.decide`. Returns the number of images by state.

        Raises:
            HTTPException: The images cannot be reviewed.
        """
        if self.shards is None:
            raise HTTPException(404, "images of your own are shown, and cannot be accepted or rejected")
        return _counts(decide(self.shards, [self.images.keys[index]], reason))

    def picture(self, index: int, side: int) -> bytes:
        """Return an image as shards store it, or as a WebP of at most `side` pixels."""
        if self.shards is not None:
            data = self.shards.encoded(index)
            with Image.open(io.BytesIO(data)) as image:
                if max(image.size) <= side:
                    return data
        return thumbnail_bytes(self.images.image(index), side)

    def _order(self, sort: str) -> np.ndarray:
        """Return the indices of all images in the order `sort`, "" for the order of the set."""
        if not sort:
            return np.arange(len(self.images))
        if sort == CLASS:
            values = self.images.labels
        else:
            values = self._scores[sort.removeprefix("-")]
        return np.argsort(-values if sort.startswith("-") else values, kind="stable")

    def _describe(self, index: int, decisions: Mapping[str, str]) -> dict[str, Any]:
        """Return all that the page shows of an image."""
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
    """Return the web application."""

    def images(request: Request) -> Response:
        return JSONResponse(viewer.find(request.query_params), headers={"Cache-Control": "no-store"})

    def picture(request: Request) -> Response:
        side = SIDES.get(request.path_params["kind"])
        if side is None:
            raise HTTPException(404)
        data = viewer.picture(viewer.index(request.path_params["number"]), side)
        return Response(data, media_type=media_type(data), headers=PICTURE_HEADERS)

    def decision(request: Request) -> Response:
        index = viewer.index(request.path_params["number"])
        return JSONResponse(viewer.decide(index, request.query_params.get("reason")))

    routes = [
        Route("/images", images),
        Route("/{kind}/{number}", picture),
        Route("/decisions/{number}", decision, methods=["POST"]),
    ]
    return local_app(viewer.html(), routes, token)


def _choice(query: Mapping[str, str], key: str, known: Sequence[str]) -> str:
    """Return the value of `key` in a query, "" if it has none.

    Raises:
        HTTPException: It is not among the `known` values.
    """
    value = query.get(key, "")
    if value and value not in known:
        raise HTTPException(400, f"{key}: there is no {_shorten(value)!r}; there are {some_of(known) or 'none'}")
    return value


def _start(query: Mapping[str, str]) -> int:
    """Return the value of `start` in a query, by default 0.

    Raises:
        HTTPException: It is no whole number.
    """
    value = query.get("start", "0")
    if not NUMBER.fullmatch(value):
        raise HTTPException(400, f"start: {_shorten(value)!r} is no number of an image, 0 or more")
    return int(value)


def _shorten(value: str) -> str:
    """Return the first characters of a value that a request gave."""
    return value if len(value) <= SHOWN else f"{value[:SHOWN]}..."


def _state(reason: str | None) -> str:
    """Return the state of an image by the reason of its rejection, "" for an accepted one."""
    if reason is None:
        return UNREVIEWED
    return REJECTED if reason else ACCEPTED


def _counts(review: Review) -> dict[str, int]:
    return {ACCEPTED: len(review.accepted), REJECTED: len(review.rejected)}
