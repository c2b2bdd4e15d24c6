"""Images from a server with the images API of OpenAI, asked by OpenAI's own client, which repeats what failed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx2
import numpy as np
import openai
from anyio.from_thread import start_blocking_portal
from pydantic import BaseModel, Field, ValidationError

from genrobust.core import GenrobustError, UserError, some_of
from genrobust.data import read_image
from genrobust.generate.server import ServerConfig

CONNECT_S = 10.0
UNAVAILABLE = 503  # after another status from 500 on, an image may have been drawn that is to be paid
PASSING = {408, 409, 429}  # statuses below 500 that the client tries again
REFUSED = ("content_policy_violation", "moderation_blocked", "content_filter")  # codes of a safety checker
UNREADABLE = 8  # answers to one request: each may have to be paid
UNPAID = ("insufficient_quota", "billing_hard_limit_reached")
SHOWN = 200  # characters of what a server says
Images = list[np.ndarray | None]
T = TypeVar("T")


class _ImageItem(BaseModel):
    b64_json: str | None = None
    url: str | None = None


class _ImageAnswer(BaseModel):
    """An answer to a request for images; the client would return any JSON as one."""

    data: list[_ImageItem] = Field(min_length=1)


class _ModelItem(BaseModel):
    id: str


class _ModelAnswer(BaseModel):
    data: list[_ModelItem]


class _LimitReached(openai.OpenAIError):
    """This run has asked for as many images as it may."""


class _HttpClient(openai.DefaultAsyncHttpxClient):
    """Ends each request within `seconds`, and counts the images that requests ask for.

    Repeated requests count, too: each may have to be paid.
    """

    def __init__(self, seconds: float, count: Callable[[int], None], with_key: bool) -> None:
        super().__init__(follow_redirects=False, timeout=openai.Timeout(seconds, connect=min(CONNECT_S, seconds)))
        self._seconds, self._count_images, self._with_key = seconds, count, with_key

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        if not self._with_key:  # the client insists on one
            request.headers.pop("Authorization", None)
        images = json.loads(request.content)["n"] if request.method == "POST" else 0
        self._count_images(images)
        try:
            async with asyncio.timeout(self._seconds):  # that of the library begins again at each byte
                response = await super().send(request, **options, stream=stream)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"timed out after {self._seconds:g} s", request=request) from error
        if 400 <= response.status_code < 500 or response.status_code == UNAVAILABLE:
            self._count_images(-images)  # a server that refuses has drawn nothing
        return response


class ImageApi:
    """The images API at a server.

    Args:
        model: The server's name of the model.
        key: The API key, None where the server wants none.
    """

    def __init__(self, config: ServerConfig, model: str, key: str | None) -> None:
        self._config, self._model, self._key = config, model, key
        self._server = f"the server at {config.url}"
        self._asked = 0

    def check(self) -> None:
        """Raise UserError where no server answers, it refuses the key, or it lists its models and has not this one."""

        async def list_models(client: openai.AsyncOpenAI, http: _HttpClient) -> list[str]:
            try:
                answer = await client.with_options(max_retries=2).models.with_raw_response.list()
                return [model.id for model in _ModelAnswer.model_validate_json(answer.content).data]
            except openai.APIConnectionError as error:
                raise UserError(
                    f"generator.server.url: no server answers at {self._config.url} ({self._sanitize(str(error))}): "
                    "start it, or give its address"
                ) from error
            except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
                raise self._translate_error(error) from error
            except (openai.OpenAIError, ValidationError):
                return []  # not every server lists its models

        model_names = self._run(list_models)
        if model_names and self._model not in model_names:
            listed = some_of(map(self._sanitize, model_names))
            raise UserError(
                f"{self._server} has no model {self._model!r}; it has {listed}: set generator.server.model to one of "
                "these, or start the server with that model"
            )

    def draw(self, bodies: Sequence[Mapping[str, Any]], size: tuple[int, int] | None) -> list[Images]:
        """Return the images of each request, as many as its ``n``: RGB uint8 [H, W, 3], or None for a refused one.

        Args:
            bodies: The fields of the requests, beside the model.
            size: Width and height that the images must have; None takes any.

        Raises:
            UserError: The server refuses the key, the model or a field, or draws another size.
            GenrobustError: It failed too often, or `max_images` is reached.
        """

        async def draw_all(client: openai.AsyncOpenAI, http: _HttpClient) -> list[Images]:
            slots = asyncio.Semaphore(self._config.concurrency)

            async def draw_one(body: Mapping[str, Any]) -> Images:
                images: Images = []
                async with slots:
                    while missing := body["n"] - len(images):
                        images += await self._request_images(client, http, {**body, "n": missing}, size)
                return images

            return await asyncio.gather(*map(draw_one, bodies))

        return self._run(draw_all)

    def _run(self, work: Callable[[openai.AsyncOpenAI, _HttpClient], Awaitable[T]]) -> T:
        """Run `work` in an event loop of its own thread: notebooks have one already, and an interrupt cancels all."""
        config = self._config

        async def run() -> T:
            http = _HttpClient(config.timeout, self._count_images, with_key=self._key is not None)
            # The environment may hold OpenAI's, and this is another server.
            left_out: Any = dict.fromkeys(("OpenAI-Organization", "OpenAI-Project"), openai.Omit())
            async with openai.AsyncOpenAI(
                api_key=self._key or "none",
                base_url=f"{config.url}/v1",
                default_headers=left_out,
                timeout=http.timeout,
                max_retries=config.retries,
                http_client=http,
            ) as client:
                return await work(client, http)

        with start_blocking_portal() as portal:
            return portal.call(run)

    async def _request_images(
        self, client: openai.AsyncOpenAI, http: _HttpClient, body: dict[str, Any], size: tuple[int, int] | None
    ) -> Images:
        """Return one image or more of a request, no more than its ``n``."""
        required = {name: body.pop(name) for name in ("prompt", "n")}
        for _ in range(min(self._config.retries + 1, UNREADABLE)):
            try:
                create = client.images.with_raw_response.generate
                answer = await create(model=self._model, **required, extra_body=body)
                items = _ImageAnswer.model_validate_json(answer.content).data[: required["n"]]
                images = [await self._decode_item(http, item) for item in items]
            except openai.OpenAIError as error:
                if isinstance(error, openai.APIError) and error.code in REFUSED:
                    return [None] * required["n"]
                raise self._translate_error(error) from error
            except ValidationError:
                fault = self._sanitize(answer.text)
                continue
            except (ValueError, UserError) as error:  # an answer that cannot be read may be another the next time
                fault = self._sanitize(str(error).partition(". Replace")[0])
                continue
            for image in images:
                height, width = image.shape[:2]
                if size is not None and (width, height) != size:
                    raise UserError(
                        f"{self._server} sends an image of {width} x {height} pixels in place of {size[0]} x "
                        f"{size[1]}: give generator.width and generator.height that it draws, or leave size out of "
                        "generator.server.sends"
                    )
            return [*images]
        raise GenrobustError(
            f"{self._server} sends answers without an image that can be read ({fault}): look at its log, or correct "
            "generator.server.url, and rerun: completed shards are kept"
        )

    async def _decode_item(self, http: _HttpClient, item: _ImageItem) -> np.ndarray:
        """Decode an item of an answer: base64, or behind a URL, which another server gets without the key."""
        if item.b64_json:
            return np.asarray(read_image(base64.b64decode(item.b64_json, validate=True), "of the server's answer"))
        url = urljoin(f"{self._config.url}/", item.url or "")
        is_same_server = urlsplit(url)[:2] == urlsplit(self._config.url)[:2]
        headers = {"Authorization": f"Bearer {self._key}"} if is_same_server and self._key else {}
        try:
            response = (await http.get(url, headers=headers)).raise_for_status()
        except Exception as error:  # of the HTTP library that the client brings
            raise ValueError(f"its URL: {error or type(error).__name__}") from error
        return np.asarray(read_image(response.content, "of the server's answer"))

    def _count_images(self, images: int) -> None:
        """Count images before they are asked for, and back where none were drawn."""
        if images > 0 and self._asked + images > self._config.max_images:
            raise _LimitReached(f"this run has asked for {self._asked:,} images")
        self._asked += images

    def _translate_error(self, error: openai.OpenAIError) -> GenrobustError:
        """Translate what the client raises."""
        message, status = self._sanitize(str(error)), getattr(error, "status_code", None)
        if isinstance(error, _LimitReached):
            return GenrobustError(
                f"generator.server.max_images: {message}, repeated ones among them, and needs more: look at what they "
                "cost, raise it, and rerun: completed shards are kept"
            )
        if isinstance(error, openai.APIError) and error.code in UNPAID:
            return GenrobustError(f"{self._server} wants to be paid ({message}): completed shards are kept")
        if status is None or status >= 500 or status in PASSING:
            return GenrobustError(
                f"{self._server} fails ({message}): look at its log, and rerun: completed shards are kept"
            )
        if status in (401, 403):
            name = self._config.key_variable
            remedy = f"look at the environment variable {name}" if name else "name its variable in server.key_variable"
            return UserError(f"{self._server} refuses the API key, or wants one ({message}): {remedy}")
        if status == 404:
            return UserError(
                f"{self._server} has no /v1/images/generations, or no model {self._model!r} ({message}): correct "
                "generator.server.url or generator.server.model"
            )
        if status < 400:
            return UserError(f"{self._server} sends elsewhere ({message}): give that address as generator.server.url")
        return UserError(
            f"{self._server} refuses the request ({message}): correct generator, or leave what it does not take out of "
            "generator.server.sends"
        )

    def _sanitize(self, text: str) -> str:
        """Return what a server says, on one line of visible characters, without the key, which some servers repeat."""
        text = "".join(c if c.isprintable() else " " for c in text[: 20 * SHOWN])
        text = " ".join((text.replace(self._key, "***") if self._key else text).split())
        return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
