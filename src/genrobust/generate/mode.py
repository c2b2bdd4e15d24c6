"""A loaded diffusers generator, and modes: what an image is made from, as the arguments of the pipeline's call."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import LabelSpace, Registry, Request, UserError
from genrobust.generate.locate import check_trained, find_generator, read_index
from genrobust.generate.pipeline_config import DiffusersConfig

if TYPE_CHECKING:  # a dataset is named after its generator's identity, which takes neither torch nor diffusers
    import torch
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Generator:
    """A diffusers pipeline on its device, with what it is.

    Attributes:
        id: Its name, without a path.
        width, height: The size of its images in pixels.
        id2label: The names of the classes of a class-conditional one, by number, where its folder names them.
    """

    pipeline: Any  # a diffusers pipeline, which gets its attributes at run time
    config: DiffusersConfig
    id: str
    device: torch.device
    width: int
    height: int
    id2label: dict[int, str] | None = None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """[C, h, w] of the noise that one image starts from, where a UNet draws it."""
        scale = self.pipeline.vae_scale_factor
        return self.pipeline.unet.config.in_channels, self.height // scale, self.width // scale


class Mode(ABC):
    """One conditioning. Draws nothing: it turns requests into arguments of the pipeline's call.

    What a request gets depends on it alone: no other request of the batch enters, beyond rounding.

    Attributes:
        loader: The name of the diffusers class that loads a folder.
        kinds: The pipelines that a folder's model_index.json may name.
        needs: The same in words.
        options: The section `generator` in this mode, with the mode's own keys.
        adapted: The mode in place of this one where the recipe names an adapter.
    """

    loader: ClassVar[str]
    kinds: ClassVar[frozenset[str]]
    needs: ClassVar[str]
    options: ClassVar[type[DiffusersConfig]]
    adapted: ClassVar[type[Mode] | None] = None

    def __init__(self, generator: Generator, labels: LabelSpace, source_image: Callable[[Request], Image.Image]):
        """Raises UserError where the generator or the classes do not fit the mode."""
        self.generator, self.labels, self.source_image = generator, labels, source_image

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        """Return whether it draws with such a pipeline, named as in a folder's model_index.json."""
        return kind in cls.kinds

    @abstractmethod
    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        """Return the keyword arguments of the call that belong to `requests`; `noise` holds a source for each."""

    def latents(self, noise: Sequence[torch.Generator]) -> torch.Tensor:
        """Return noise [B, C, h, w] in the UNet's dtype, drawn in float32 so that every dtype starts from the same."""
        import torch

        drawn = torch.stack([torch.randn(self.generator.latent_shape, generator=source) for source in noise])
        return drawn.to(self.generator.device, self.generator.pipeline.unet.dtype)

    @property
    def size(self) -> dict[str, int]:
        """Width and height in pixels, where the call takes them; elsewhere they are those of the source image.

        Pipelines that would draw the nearest size that they were trained on, and resize that, draw the size itself.
        """
        parameters = inspect.signature(self.generator.pipeline.__call__).parameters
        size = {"width": self.generator.width, "height": self.generator.height, "use_resolution_binning": False}
        return {name: value for name, value in size.items() if name in parameters}


MODES: Registry[type[Mode]] = Registry("mode", "genrobust.modes", "genrobust.generate.modes")


def mode_of(config: DiffusersConfig) -> type[Mode]:
    """Return the mode that `config` names, or its variant for an adapter."""
    mode = MODES.get(config.mode)
    return mode.adapted if mode.adapted is not None and getattr(config, "adapter", None) else mode


def locate(config: DiffusersConfig) -> tuple[str, Path]:
    """Return the id and the folder of the generator of `config`, which its mode can use.

    Raises:
        UserError: No generator is found, or one is there but not usable: another generator in its place would surprise.
        GenrobustError: A trained generator is damaged.
    """
    id, folder = find_generator(config)
    check_trained(folder)
    index = read_index(folder)
    kind, mode = index.get("_class_name"), mode_of(config)
    if not mode.draws_with(str(kind)):
        others = [name for name, other in MODES.members().items() if other.draws_with(str(kind))]
        remedy = f"set generator.mode to {' or '.join(others)}" if others else "no mode of genrobust draws with that"
        raise UserError(
            f"{folder} holds a {kind}; generator.mode {config.mode} needs {mode.needs}: {remedy}, or name another "
            "generator"
        )
    return id, folder
