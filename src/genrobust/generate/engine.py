"""Engines: the libraries that turn requests into images, chosen by name in a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import ImageSet, LabelSpace, Request, UserError
from genrobust.recipe import ENGINES, GeneratorConfig

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image


class EngineConfig(GeneratorConfig):
    """The section of an engine without keys of its own; the base for engines with some."""


class Engine(ABC):
    """A library with a loaded generator, which turns requests into images.

    A recipe names it under ``generator.engine``. Another package adds one through the entry point group
    ``genrobust.engines``.

    Attributes:
        modes: The values of `generator.mode` that it supports.
        options: The section, with the engine's own keys.
        on_server: Whether images are computed elsewhere, and so do not depend on this machine's device.
    """

    modes: ClassVar[Collection[str]] = ("labels",)
    options: ClassVar[type[GeneratorConfig]] = EngineConfig
    on_server: ClassVar[bool] = False

    def __init__(
        self, config: GeneratorConfig, labels: LabelSpace, sources: ImageSet | None, device: torch.device
    ) -> None:
        """Load the generator of `config` onto `device`.

        Args:
            config: The recipe's section, an instance of `options`.
            labels: The classes; a request's ``label`` is an index into them.
            sources: The real images that requests name as their ``source``, for a mode that reads images.
            device: Where to compute.
        """
        self.config, self.labels, self.device = config, labels, device
        self._sources = sources
        self._source_indices: dict[str, int] = {}
        if sources is not None:
            self._source_indices = {key: index for index, key in enumerate(sources.keys)}

    @classmethod
    def options_in(cls, mode: str) -> type[GeneratorConfig]:
        """Return the section in `mode`, one of `modes`. By default it is the same in all modes."""
        del mode
        return cls.options

    @classmethod
    def parts(cls, config: GeneratorConfig) -> Collection[type]:
        """Return the classes that draw the images of `config`; other packages may have registered some."""
        return cls, type(config)

    @classmethod
    @abstractmethod
    def identity(cls, config: GeneratorConfig) -> dict[str, Any]:
        """Identify the weights, as flat JSON: the key ``generator``, a name without a path, and a hash or a version.

        Two generators of the same identity draw the same images. Called before anything is loaded.
        """

    @abstractmethod
    def draw(self, requests: Sequence[Request]) -> Sequence[np.ndarray | None]:
        """Draw one image for each request, in order: RGB [H, W, 3], uint8, or float in [0, 1].

        None means that the engine's own safety checker refused the image. An image depends on its request alone,
        up to rounding: its noise comes from ``request.seed``, which differs each time that an image is drawn again.
        """

    def expect(self, batch: int) -> None:
        """Prepare to draw batches of `batch` images; called once, before the first. By default does nothing."""
        del batch

    @classmethod
    def weights_bytes(cls, config: GeneratorConfig) -> int:
        """Return the size in bytes of the weights that each process loads; 0 if they are on a server."""
        return 0

    @classmethod
    def check_amount(cls, config: GeneratorConfig, images: int) -> None:
        """Raise UserError if `images` is more than `config` allows. By default there is no limit."""
        del config, images

    @property
    def record(self) -> dict[str, Any]:
        """How each image was made, as columns of the dataset's sidecar: ``steps``, ``width``.

        Anything else that decides the images belongs in `identity`, which the dataset's manifest holds.
        """
        generator = self.identity(self.config)["generator"]
        return {"generator": generator, "mode": self.config.mode, "device": self.device.type}

    def source_image(self, request: Request) -> Image.Image:
        """Load the real image that `request` starts from, RGB."""
        # The plan was made with the same images.
        assert self._sources is not None and request.source is not None
        try:
            return self._sources.image(self._source_indices[request.source])
        except (UserError, OSError) as error:
            described = f"the source image {request.source} of the request {request.key}"
            raise UserError(f"{described} cannot be read: {error}") from error


def engine_of(config: GeneratorConfig) -> type[Engine]:
    """Return the engine that `config` names."""
    engine = ENGINES.get(config.engine)
    assert issubclass(engine, Engine), f"{engine!r} is registered as an engine and extends no genrobust.Engine"
    return engine


def identity(config: GeneratorConfig) -> dict[str, Any]:
    """Return everything that decides a generator's images, as flat JSON, without loading weights."""
    return {**engine_of(config).identity(config), **config.sampling()}
