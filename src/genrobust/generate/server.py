"""The keys of the openai engine: a server that generates images."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, model_validator

from genrobust.generate.engine import EngineConfig
from genrobust.generate.pipeline_config import GUIDANCE, SIZE, STEPS
from genrobust.recipe import PlainValues, Section

Sent = Literal[
    "size", "response_format", "output_format", "seed", "num_inference_steps", "guidance_scale", "negative_prompt"
]
OWN_FIELDS = ("model", "prompt", "n")  # of every request


def _base_url(text: str) -> str:
    """Return `text` without a slash or ``/v1`` at its end; raises ValueError, which never repeats a password in it."""
    parts = urlsplit(text)
    more = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or more or " " in text:
        raise ValueError("give the server's address alone, such as http://127.0.0.1:30000; key_variable names the key")
    return text.rstrip("/").removesuffix("/v1").rstrip("/")


def _variable(text: str) -> str:
    # An actual key, which no message repeats, does not match; nor can a recipe read other secrets, such as AWS's.
    if not re.fullmatch(r"([A-Z][A-Z0-9_]{0,80}_)?API_KEY", text):
        raise ValueError("give the name of an environment variable that ends in API_KEY, never the key itself")
    return text


class ServerConfig(Section):
    """A server with the images API of OpenAI, for ``engine: openai``.

    A dataset does not depend on address, limits or retries: another server with the same model can continue it.

    `url` is its address, without ``/v1/images/generations``.

    `model` is the server's name for the model, if it differs from `generator.model`.

    `key_variable` is the environment variable with the API key, and ends in API_KEY.

    `sends` lists the request fields that the recipe fills in, besides model, prompt and n. Without `seed`, a repeated
    request gives another image.

    `fields` are further fields, the same in all requests.
    """

    url: Annotated[str, AfterValidator(_base_url)]
    model: str | None = None
    key_variable: Annotated[str, AfterValidator(_variable)] | None = None
    sends: tuple[Sent, ...] = get_args(Sent)
    fields: PlainValues = Field(default_factory=dict)
    concurrency: Annotated[StrictInt, Field(ge=1, le=1024)] = 8  # requests at a time
    timeout: Annotated[StrictFloat, Field(gt=0, le=3600)] = 300  # seconds
    retries: Annotated[StrictInt, Field(ge=0, le=100)] = 20  # of a request; twenty take about two minutes
    max_images: Annotated[StrictInt, Field(ge=1, le=10**9)] = 10_000  # the most that a run requests, to limit its cost

    @model_validator(mode="after")
    def _check_fields(self) -> ServerConfig:
        if doubled := sorted(self.fields.keys() & {*OWN_FIELDS, *self.sends}):
            raise ValueError(f"fields.{doubled[0]}: the recipe's own keys fill it in: leave it out, here or in sends")
        return self


SENT = {"num_inference_steps": "steps", "guidance_scale": "guidance_scale"}  # fields of a request, and our keys


class OpenAiConfig(EngineConfig):
    """A server with the images API of OpenAI.

    `model` is the name that the dataset keeps. A key that `server.sends` leaves out is refused.
    """

    unsampled = ("revision", "server")

    revision: str | None = None
    steps: Annotated[int, STEPS] = 15
    guidance_scale: Annotated[float, GUIDANCE] = 3.0
    width: Annotated[int, SIZE] | None = None
    height: Annotated[int, SIZE] | None = None
    server: ServerConfig

    @model_validator(mode="after")
    def _check_sent(self) -> OpenAiConfig:
        for key in self._unsent:
            if key in self.model_fields_set and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: server.sends leaves it out: leave it out here too")
        if (self.width is None) != (self.height is None):
            raise ValueError("give both width and height, or none")
        return self

    @property
    def _unsent(self) -> tuple[str, ...]:
        return tuple(key for field, key in SENT.items() if field not in self.server.sends)

    @property
    def size(self) -> tuple[int | None, int | None]:
        return self.width, self.height

    def sampling(self) -> dict[str, Any]:
        sampling = {key: value for key, value in super().sampling().items() if key not in self._unsent}
        sends = sorted(set(self.server.sends) - {"response_format"})
        return {**sampling, "sends": sends, "fields": dict(sorted(self.server.fields.items()))}
