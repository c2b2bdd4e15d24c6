"""The training of a class model's autoencoder on the user's images, from the weights of a generator's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from genrobust.core import ImageSet, UserError, check_not_empty, hashed_seed
from genrobust.generate.train.objective import (
    Encoded,
    Losses,
    Model,
    Objective,
    TrainingBatch,
    chunk_of,
    in_range,
    load_views,
)
from genrobust.generate.train.tuned import save_autoencoder
from genrobust.recipe import AutoencoderConfig

CHROMA_WEIGHT = 4.0  # of the squared error of (image - its channel mean): without it, small networks draw gray
KL_WEIGHT = 2e-4  # per latent element, beside a squared error of about 2e-3
WHITENED_BY = 2048  # images: a channel's mean over them is known to a few percent of its deviation


@dataclass(frozen=True)
class PixelBatch(TrainingBatch):
    """The inputs of an autoencoder: `pixels`, uint8 [B, 3, H, W], and `noise` of their latents, [B, C, h, w]."""

    pixels: Tensor
    noise: Tensor


@dataclass
class Autoencoder(Objective):
    """The autoencoder of the base, which learns to draw the images from their latents."""

    def __post_init__(self) -> None:
        check_not_empty(self.images)

    def inputs(self) -> dict[str, Any]:
        return {"base_width": self.base.size[0], "base_height": self.base.size[1]}

    def start(self, device: torch.device) -> tuple[Model, Losses, PixelBatches]:
        generator = self.load(device)
        vae = plain_autoencoder(generator.pipeline, generator.id)
        if vae.quant_conv is None:
            raise UserError(
                f"class_model.autoencoder: that of {generator.id} has no quant_conv, into which its latents' scale is "
                "folded: name another one under generator.model, such as a Stable Diffusion"
            )
        if self.config.latent_channels is not None:
            torch.manual_seed(hashed_seed(self.seed, "autoencoder"))
            vae = with_channels(vae, self.config.latent_channels).to(device)
        self.size = (generator.width, generator.height)
        return vae.train(), autoencoder_losses, PixelBatches(self.images, self.size, vae, self.config)

    def save(self, out: Path, model: Model) -> None:
        model.eval()
        count = min(len(self.images), WHITENED_BY)
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.seed))[:count].tolist()
        chunk = chunk_of(self.size)
        parts = (order[start : start + chunk] for start in range(0, count, chunk))
        whiten(model, (in_range(load_views(self.images, part, self.size).to(model.device)) for part in parts))
        save_autoencoder(out, model)


class PixelBatches:
    """Images, mirrored ones too where `config` says so, and the noise of their latents."""

    def __init__(self, images: ImageSet, size: tuple[int, int], vae: AutoencoderKL, config: AutoencoderConfig) -> None:
        self._config, self._count = config, 2 * len(images) if config.flip else len(images)

        def load(views: Sequence[int]) -> Tensor:
            return load_views(images, views, size)

        self._pixels = Encoded("loading images", "loaded images", self._count, load, chunk_of(size))
        shape: Any = vae.config  # which gets its attributes at run time
        scale = 2 ** (len(shape.block_out_channels) - 1)
        self._latent_shape = (shape.latent_channels, size[1] // scale, size[0] // scale)

    def batch(self, seed: int, step: int) -> PixelBatch:
        """Return batch `step`, by (`seed`, `step`) alone."""
        source = torch.Generator().manual_seed(hashed_seed(seed, self._config.section, step))
        views = torch.randint(self._count, (self._config.batch_size,), generator=source)
        return PixelBatch(self._pixels[views], torch.randn((len(views), *self._latent_shape), generator=source))


def plain_autoencoder(pipeline: Any, id: str) -> AutoencoderKL:
    """Return the autoencoder of `pipeline`, the generator `id`.

    Raises:
        UserError: It has none, or one of another kind, or one whose latents are shifted.
    """
    vae = getattr(pipeline, "vae", None)
    if not isinstance(vae, AutoencoderKL) or vae.config.shift_factor:
        is_kl = isinstance(vae, AutoencoderKL)
        kind = "none" if vae is None else "one with shifted latents" if is_kl else f"a {type(vae).__name__}"
        raise UserError(
            f"a class model needs a plain AutoencoderKL, and {id} has {kind}: name another one under generator.model, "
            "such as a Stable Diffusion"
        )
    return vae


def with_channels(vae: AutoencoderKL, channels: int) -> AutoencoderKL:
    """Return an autoencoder with so many latent channels and the weights of `vae`; layers of other shapes are new."""
    wider = AutoencoderKL.from_config({**vae.config, "latent_channels": channels})
    old = vae.state_dict()
    own = wider.state_dict().items()
    wider.load_state_dict({name: old[name] if old[name].shape == new.shape else new for name, new in own})
    return wider


def autoencoder_losses(vae: Model, batch: PixelBatch) -> Tensor:
    """Return the loss of each image, float32 [B]."""
    error, chroma, kl = reconstruction_errors(vae, in_range(batch.pixels), batch.noise)
    return error + CHROMA_WEIGHT * chroma + KL_WEIGHT * kl


def reconstruction_errors(vae: Model, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far `images` [B, 3, H, W] in [-1, 1] are from what `vae` draws of them, float32 [B] each.

    That is the mean squared error, that of the color (image - its channel mean), and the divergence of a latent element
    from a normal distribution.
    """
    posterior = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
    decoded = vae.decode(posterior.mean + posterior.std * noise).sample
    error = decoded.float() - images
    chroma = error - error.mean(1, keepdim=True)
    divergence = posterior.kl().float() / noise[0].numel()
    return error.square().mean((1, 2, 3)), chroma.square().mean((1, 2, 3)), divergence


@torch.inference_mode()
def whiten(vae: AutoencoderKL, batches: Iterable[Tensor]) -> None:
    """Give every latent channel zero mean and unit variance over `batches`, by folding that into the 1x1 convolutions.

    A pipeline knows one scaling factor for all channels and no shift; after this the factor is 1.

    Args:
        batches: Images [B, 3, H, W] in [-1, 1].
    """
    latents = torch.cat([vae.encode(batch).latent_dist.mean for batch in batches])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, back = vae.quant_conv, vae.post_quant_conv
    assert into is not None and back is not None and into.bias is not None and back.bias is not None
    scale = torch.cat([1 / std, torch.ones_like(std)])  # of the means and of the log variances
    shift = torch.cat([-mean / std, -2 * std.log()])
    into.weight.mul_(scale[:, None, None, None])
    into.bias.mul_(scale).add_(shift)
    back.bias.add_((back.weight[:, :, 0, 0] * mean).sum(1))
    back.weight.mul_(std[None, :, None, None])
    vae.register_to_config(scaling_factor=1.0)
