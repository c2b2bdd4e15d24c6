"""The openai engine: any server with the images API of OpenAI, such as SGLang-Diffusion, vLLM-Omni or hosted ones."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import AfterValidator, Field, StrictFloat, StrictInt, model_validator

from genrobust.core import (
    GenrobustError,
    ImageSet,
    LabelSpace,
    Request,
    UserError,
    escape_unprintable,
    require_packages,
)
from genrobust.data import read_image
from genrobust.generate.engine import Engine, EngineConfig
from genrobust.generate.pipeline_config import GUIDANCE, SIZE, STEPS
from genrobust.recipe import ENGINES, GeneratorConfig, PlainValues, Section

if TYPE_CHECKING:
    import openai
    import torch

T = TypeVar("T")
# Error codes of safety checkers.
REFUSED = ("content_policy_violation", "moderation_blocked", "content_filter")
# The client sends this key to a server that wants none.
NO_KEY = "no-key"
MESSAGE_LENGTH = 200  # characters of a server's answer in a message
# All servers take seeds up to this. The seed of a request has 63 bits.
SEEDS = 2**31

Sent = Literal[
    "size", "response_format", "output_format", "seed", "num_inference_steps", "guidance_scale", "negative_prompt"
]
# Fields of every request.
OWN_FIELDS = ("model", "prompt", "n")
# Fields of a request, and the keys of the section that fill them in.
SENT_KEYS = {"num_inference_steps": "steps", "guidance_scale": "guidance_scale"}


def _address(text: str) -> str:
    """Remove a slash or ``/v1`` at the end of `text`. Raises ValueError, which never repeats a password in it."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", text):
        raise ValueError("give the server's address alone, such as http://127.0.0.1:30000; key_variable names the key")
    return text.rstrip("/").removesuffix("/v1").rstrip("/")


def _variable(text: str) -> str:
    # An API key does not match, and is not repeated in the message. A recipe cannot read other secrets, such as AWS's.
    if not re.fullmatch(r"([A-Z][A-Z0-9_]{0,80}_)?API_KEY", text):
        raise ValueError("give the name of an environment variable that ends in API_KEY, never the key itself")
    return text


class ServerConfig(Section):
    """A server with the images API of OpenAI, for ``engine: openai``.

    A dataset does not depend on address, limits or retries: another server with the same model can continue it.

    `url` is its address, without ``/v1/images/generations``.

    `key_variable` names the environment variable with the API key, and ends in API_KEY.

    `sends` lists the request fields that the recipe fills in, besides model, prompt and n. Without `seed`, a repeated
    request gives another image.

    `fields` are further fields, the same in all requests.
    """

    url: Annotated[str, AfterValidator(_address)]
    key_variable: Annotated[str, AfterValidator(_variable)] | None = None
    sends: tuple[Sent, ...] = get_args(Sent)
    fields: PlainValues = Field(default_factory=dict)
    concurrency: Annotated[StrictInt, Field(ge=1, le=1024)] = 8  # requests at a time
    timeout: Annotated[StrictFloat, Field(gt=0, le=3600)] = 300  # seconds
    retries: Annotated[StrictInt, Field(ge=0, le=100)] = 20  # of a request; twenty take about two minutes
    max_images: Annotated[StrictInt, Field(ge=1, le=10**9)] = 10_000  # of a dataset; a refused one takes six requests

    @model_validator(mode="after")
    def _check_fields(self) -> ServerConfig:
        doubled = sorted(self.fields.keys() & {*OWN_FIELDS, *self.sends})
        if doubled:
            raise ValueError(f"fields.{doubled[0]}: the recipe's own keys fill it in: leave it out, here or in sends")
        return self


class OpenAiConfig(EngineConfig):
    """A server with the images API of OpenAI.

    `model` is the server's name for it; of a path, the dataset keeps the last part. A key that `server.sends` leaves
    out is refused.
    """

    unsampled = ("server",)

    steps: Annotated[int, STEPS] = 15
    guidance_scale: Annotated[float, GUIDANCE] = 3.0
    width: Annotated[int, SIZE] | None = None
    height: Annotated[int, SIZE] | None = None
    server: ServerConfig

    @model_validator(mode="after")
    def _check_sent(self) -> OpenAiConfig:
        for key in self.unsent:
            default = type(self).model_fields[key].default
            if key in self.model_fields_set and getattr(self, key) != default:
                raise ValueError(f"{key}: server.sends leaves it out: leave it out here too")
        if (self.width is None) != (self.height is None):
            raise ValueError("give both width and height, or none")
        return self

    @property
    def unsent(self) -> set[str]:
        """The keys that the server does not get."""
        return {key for field, key in SENT_KEYS.items() if field not in self.server.sends}

    @property
    def size(self) -> tuple[int | None, int | None]:
        return self.width, self.height

    def sampling(self) -> dict[str, Any]:
        sampling = {key: value for key, value in super().sampling().items() if key not in self.unsent}
        sampling["sends"] = sorted(set(self.server.sends) - {"response_format"})
        sampling["fields"] = dict(sorted(self.server.fields.items()))
        return sampling


@ENGINES.register("openai")
class OpenAiEngine(Engine):
    """Asks a server for images: one request per image, each with its own seed, several at a time.

    OpenAI's client handles timeouts and retries. A repeated request gives the same image if the server is deterministic
    and takes a seed.
    """

    on_server = True
    options = OpenAiConfig
    config: OpenAiConfig

    def __init__(
        self, config: GeneratorConfig, labels: LabelSpace, sources: ImageSet | None, device: torch.device
    ) -> None:
        super().__init__(config, labels, sources, device)
        require_packages(["openai"], "api", "generator.engine: openai")
        self._server = self.config.server
        self._key = _read_key(self._server.key_variable)
        self._run(self._check)

    @classmethod
    def identity(cls, config: GeneratorConfig) -> dict[str, Any]:
        is_path = config.model.startswith(("/", "~", "."))
        return {"generator": Path(config.model).name if is_path else config.model}

    @classmethod
    def check_amount(cls, config: GeneratorConfig, images: int) -> None:
        assert isinstance(config, OpenAiConfig)
        limit = config.server.max_images
        if images > limit:
            raise UserError(
                f"generator.server.max_images is {limit:,}, and {images:,} images are to be drawn: check their cost "
                "and time, and raise it"
            )

    @property
    def record(self) -> dict[str, Any]:
        sent = {"width", "height", *SENT_KEYS.values()} - self.config.unsent
        return {**super().record, "device": None, **self.config.model_dump(include=sent)}

    def draw(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        async def draw_all(client: openai.AsyncOpenAI) -> list[np.ndarray | None]:
            slots = asyncio.Semaphore(self._server.concurrency)

            async def draw_one(request: Request) -> np.ndarray | None:
                async with slots:
                    return await self._draw(client, request)

            return await asyncio.gather(*(draw_one(request) for request in requests))

        return self._run(draw_all)

    def _run(self, work: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        """Run `work` in an event loop in its own thread: notebooks already have one, and an interrupt cancels all."""
        import openai
        from anyio.from_thread import start_blocking_portal

        server = self._server

        async def run() -> T:
            async with openai.AsyncOpenAI(
                api_key=self._key, base_url=f"{server.url}/v1", timeout=server.timeout, max_retries=server.retries
            ) as client:
                return await work(client)

        with start_blocking_portal() as portal:
            return portal.call(run)

    async def _check(self, client: openai.AsyncOpenAI) -> None:
        """Require a server that answers."""
        import openai

        try:
            await client.with_options(max_retries=2).models.list()
        except openai.APIConnectionError as error:
            raise UserError(
                f"generator.server.url: no server answers at {self._server.url} ({self._clean(error)}): start it, or "
                "give its address"
            ) from error
        except openai.OpenAIError:
            # Not every server lists its models.
            return

    async def _draw(self, client: openai.AsyncOpenAI, request: Request) -> np.ndarray | None:
        """Return the image of a request, RGB uint8 [H, W, 3], or None if a safety checker refuses it."""
        import openai

        try:
            answer: Any = await client.images.generate(
                model=self.config.model, prompt=request.prompt, n=1, extra_body=self._fields(request)
            )
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIError) and error.code in REFUSED:
                return None
            raise self._explain(error) from error
        image = self._decode(answer)
        height, width = image.shape[:2]
        if self.config.width is not None and (width, height) != self.config.size:
            raise UserError(
                f"the server at {self._server.url} sends an image of {width} x {height} pixels instead of "
                f"{self.config.width} x {self.config.height}: give generator.width and generator.height that it draws"
            )
        return image

    def _decode(self, answer: Any) -> np.ndarray:
        # The client checks nothing: a proxy may have answered, with anything.
        try:
            encoded = base64.b64decode(answer.data[0].b64_json, validate=True)
            return np.asarray(read_image(encoded, "of the answer"))
        except Exception as error:
            raise GenrobustError(
                f"the server at {self._server.url} sends no image that can be read, as base64, but "
                f"{self._clean(answer)}: look at its log, or correct generator.server.url, and rerun: completed shards "
                "are kept"
            ) from error

    def _fields(self, request: Request) -> dict[str, Any]:
        config = self.config
        sends = self._server.sends
        if request.negative_prompt and "negative_prompt" not in sends:
            raise UserError("generate.prompts.negative_prompt: generator.server.sends leaves it out: do so here too")
        available: dict[str, Any] = {
            "response_format": "b64_json",
            "output_format": "png",
            "seed": request.seed % SEEDS,
            "num_inference_steps": config.steps,
            "guidance_scale": config.guidance_scale,
            # A space: some servers guide only with a negative prompt, and take an empty text for none.
            "negative_prompt": request.negative_prompt or " ",
        }
        if config.width is not None:
            available["size"] = f"{config.width}x{config.height}"
        sent = {name: available[name] for name in sends if name in available}
        return sent | self._server.fields

    def _explain(self, error: openai.OpenAIError) -> GenrobustError:
        import openai

        problem = f"the server at {self._server.url} does not draw ({self._clean(error)})"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            variable = self._server.key_variable or "that generator.server.key_variable names"
            return UserError(f"{problem}: look at the API key in the environment variable {variable}")
        if isinstance(error, openai.BadRequestError | openai.NotFoundError | openai.UnprocessableEntityError):
            return UserError(
                f"{problem}: correct generator.model, generator.server.url or another key, or leave fields that it "
                "does not take out of generator.server.sends"
            )
        return GenrobustError(f"{problem}: look at its log, and rerun: completed shards are kept")

    def _clean(self, answer: object) -> str:
        """Return an answer on one line of printable characters, without the key, which some servers repeat."""
        text = str(answer).replace(self._key, "***")
        return escape_unprintable(" ".join(text.split()))[:MESSAGE_LENGTH]


def _read_key(variable: str | None) -> str:
    """Return the API key in an environment variable; NO_KEY without one. No message holds any of it."""
    if variable is None:
        return NO_KEY
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"generator.server.key_variable: the environment variable {variable} is not set, or empty: export "
            f"{variable}=... with the API key"
        )
    return key
