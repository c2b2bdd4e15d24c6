"""A loaded diffusers generator, and modes: which arguments of the pipeline's call a request becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image, ImageOps

from genrobust.core import LabelSpace, Registry, Request, UserError
from genrobust.generate.find_models import check_trained, find_generator, read_index
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.pipeline_families import parameters_of

if TYPE_CHECKING:  # Naming a dataset by its generator's identity must load neither torch nor diffusers.
    import torch


@dataclass(frozen=True, slots=True)
class Generator:
    """A diffusers pipeline on its device.

    Attributes:
        pipeline: A diffusers pipeline; it gets its attributes at run time.
        id: Its name, without a path.
        width, height: Size of its images in pixels.
        id2label: Class names by number, for a class-conditional generator whose folder names them.
    """

    pipeline: Any
    config: DiffusersConfig
    id: str
    device: torch.device
    width: int
    height: int
    id2label: dict[int, str] | None = None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape [C, h, w] of the noise of one image, for a pipeline with a UNet."""
        scale = self.pipeline.vae_scale_factor
        return self.pipeline.unet.config.in_channels, self.height // scale, self.width // scale


class Mode(ABC):
    """One kind of conditioning: turns requests into arguments of the pipeline's call.

    The arguments of a request depend on it alone, up to rounding: not on other requests of the batch.

    Attributes:
        loader: The diffusers class that loads a folder.
        kinds: The pipelines that a folder's model_index.json may name.
        needs: The same in words, for messages.
        options: The section `generator` in this mode, with the mode's own keys.
        adapted: The mode to use instead if the recipe names an adapter.
    """

    loader: ClassVar[str]
    kinds: ClassVar[frozenset[str]]
    needs: ClassVar[str]
    options: ClassVar[type[DiffusersConfig]]
    adapted: ClassVar[type[Mode] | None] = None

    def __init__(self, generator: Generator, labels: LabelSpace, source_image: Callable[[Request], Image.Image]):
        """Raises UserError if the generator or the classes do not fit the mode."""
        self.generator, self.labels, self.source_image = generator, labels, source_image

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        """Return whether the mode works with such a pipeline, named as in a folder's model_index.json."""
        return kind in cls.kinds

    @abstractmethod
    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        """Return the arguments of the call that depend on `requests`; `noise` holds a noise source for each."""

    def latents(self, noise: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw noise [B, C, h, w] in the UNet's dtype: in float32 first, so that every dtype starts from the same."""
        import torch

        shape = self.generator.latent_shape
        drawn = torch.stack([torch.randn(shape, generator=source) for source in noise])
        return drawn.to(self.generator.device, self.generator.pipeline.unet.dtype)

    def fitted_sources(self, requests: Sequence[Request]) -> list[Image.Image]:
        """Load the source images, scaled and cropped to the size of the generator's images."""
        size = self.generator.width, self.generator.height
        return [ImageOps.fit(self.source_image(request), size, Image.Resampling.LANCZOS) for request in requests]

    @property
    def size(self) -> dict[str, int]:
        """The size arguments of the call; nothing if it takes the size of the source image.

        Some pipelines would draw the nearest size that they were trained on, and resize: that is turned off.
        """
        size = {"width": self.generator.width, "height": self.generator.height, "use_resolution_binning": False}
        parameters = parameters_of(self.generator.pipeline)
        return {name: value for name, value in size.items() if name in parameters}


MODES: Registry[type[Mode]] = Registry("mode", "genrobust.modes", "genrobust.generate.modes")


def mode_of(config: DiffusersConfig) -> type[Mode]:
    """Return the mode that `config` names, or its variant for an adapter."""
    mode = MODES.get(config.mode)
    has_adapter = getattr(config, "adapter", None) is not None
    if has_adapter and mode.adapted is not None:
        return mode.adapted
    return mode


def locate(config: DiffusersConfig) -> tuple[str, Path]:
    """Return the id and the folder of the generator of `config`, and check that its mode can use it."""
    id, folder = find_generator(config)
    check_trained(folder)
    kind = str(read_index(folder).get("_class_name"))
    mode = mode_of(config)
    if not mode.draws_with(kind):
        others = [name for name, other in MODES.members().items() if other.draws_with(kind)]
        if others:
            remedy = f"set generator.mode to {' or '.join(others)}"
        else:
            remedy = "no mode of genrobust draws with that"
        raise UserError(
            f"{folder} holds a {kind}; generator.mode {config.mode} needs {mode.needs}: {remedy}, or name another "
            "generator"
        )
    return id, folder
