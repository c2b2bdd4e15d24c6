"""The openai engine: any server with the images API of OpenAI, such as SGLang-Diffusion, vLLM-Omni or hosted ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.core import ImageSet, LabelSpace, MissingPackage, Request, UserError
from genrobust.generate.engine import Engine
from genrobust.generate.server import SENT, OpenAiConfig
from genrobust.recipe import ENGINES, GeneratorConfig

if TYPE_CHECKING:
    import torch

SEEDS = 2**31  # what every server takes; the seed of a request has 63 bits


@ENGINES.register("openai")
class OpenAiEngine(Engine):
    """Asks a server for images, several requests at a time.

    Where the server takes a seed, each image is a request of its own, with the seed of its own: asked again, it is the
    same image, as far as the server is deterministic. Where it takes none, images with the same prompt may share a
    request.
    """

    on_server = True
    options = OpenAiConfig
    config: OpenAiConfig

    def __init__(
        self, config: GeneratorConfig, labels: LabelSpace, sources: ImageSet | None, device: torch.device
    ) -> None:
        super().__init__(config, labels, sources, device)
        try:
            from genrobust.generate.image_api import ImageApi
        except ModuleNotFoundError as error:
            raise MissingPackage("openai", "api", "generator.engine: openai") from error
        self._server = self.config.server
        self._api = ImageApi(self._server, self._server.model or config.model, _read_key(self._server.key_variable))
        self._api.check()

    @classmethod
    def identity(cls, config: GeneratorConfig) -> dict[str, Any]:
        if config.model.startswith(("/", "~", ".")):
            raise UserError(
                f"generator.model: {config.model} is a path: give the name of the model, which the dataset keeps, and "
                "the server's name of it as generator.server.model"
            )
        revision = _openai_config(config).revision
        return {"generator": config.model, **({"revision": revision} if revision else {})}

    @classmethod
    def check_amount(cls, config: GeneratorConfig, images: int) -> None:
        if images > (most := _openai_config(config).server.max_images):
            raise UserError(
                f"generator.server.max_images is {most:,}, and {images:,} images are to be drawn: look at what they "
                "cost and how long they take, and raise it"
            )

    @property
    def record(self) -> dict[str, Any]:
        keys = [key for field, key in SENT.items() if field in self._server.sends]
        size = {"width": self.config.width, "height": self.config.height}
        settings = {**{key: getattr(self.config, key) for key in keys}, **size}
        return {**{key: value for key, value in super().record.items() if key != "device"}, **settings}

    @property
    def concurrency(self) -> int:
        return self._server.concurrency

    def draw(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        groups, config = _group_by_prompts(requests, self._server.n), self.config
        size = None if config.width is None or config.height is None else (config.width, config.height)
        drawn = self._api.draw([self._request_body(requests[group[0]], len(group)) for group in groups], size)
        images = {
            number: image
            for group, group_images in zip(groups, drawn, strict=True)
            for number, image in zip(group, group_images, strict=True)
        }
        return [images[number] for number in range(len(requests))]

    def _request_body(self, request: Request, n: int) -> dict[str, Any]:
        config, sends = self.config, self._server.sends
        if request.negative_prompt and "negative_prompt" not in sends:
            raise UserError(
                "generate.prompts.negative_prompt: generator.server.sends leaves it out: leave it out here too"
            )
        fields: dict[str, Any] = {
            "size": f"{config.width}x{config.height}" if config.width is not None else None,
            "response_format": "b64_json",
            "output_format": "png",
            "seed": request.seed % SEEDS,
            "num_inference_steps": config.steps,
            "guidance_scale": config.guidance_scale,
            # not "": some servers guide only where there is a negative prompt, and take that for none
            "negative_prompt": request.negative_prompt or " ",
        }
        sent: dict[str, Any] = {name: fields[name] for name in sends if fields[name] is not None}
        return {"prompt": request.prompt, "n": n, **sent, **self._server.fields}


def _openai_config(config: GeneratorConfig) -> OpenAiConfig:
    assert isinstance(config, OpenAiConfig), "the section of another engine"
    return config


def _read_key(variable: str | None) -> str | None:
    """The API key in an environment variable. No message holds any of it."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"generator.server.key_variable: the environment variable {variable} is not set, or empty: export "
            f"{variable}=... with the API key"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(f"generator.server.key_variable: {variable} holds a space or a character that no API key has")
    return key


def _group_by_prompts(requests: Sequence[Request], n: int) -> list[list[int]]:
    """The numbers of requests that a call draws together: up to `n` that share their prompts."""
    groups: list[list[int]] = []
    open_groups: dict[tuple[str, str], list[int]] = {}
    for number, request in enumerate(requests):
        prompts = request.prompt, request.negative_prompt
        group = open_groups.get(prompts)
        if group is None or len(group) == n:
            group = open_groups[prompts] = []
            groups.append(group)
        group.append(number)
    return groups
