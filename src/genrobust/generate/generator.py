"""A loaded diffusers generator, as what draws and what trains take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from genrobust.recipe import GeneratorConfig


@dataclass(frozen=True, slots=True)
class Generator:
    """A diffusers pipeline on its device, with what it is.

    Attributes:
        id: Its name, without a path.
        width, height: The size of its images in pixels.
        id2label: The names of the classes of a class-conditional one, by number, where its folder names them.
    """

    pipeline: Any  # a diffusers pipeline, which gets its attributes at run time
    config: GeneratorConfig
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
