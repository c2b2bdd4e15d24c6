"""A linear autoencoder of square patches: the latents of a class model that is trained on images of any kind.

For small images and a few thousand of them it keeps more than a trained one: it is computed, in seconds, and not
learned. A diffusers folder names this module, so that pipelines load it where genrobust is installed.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from genrobust.recipe import PATCH

WHITENING = 0.5  # a component is divided by its standard deviation to this power: between 0, pixels, and 1, white
SURE = -30.0  # the log variance of latents that are no guess


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # as all models of diffusers
    """Turns each patch of PATCH x PATCH pixels into `latent_channels` numbers, and back, as a linear map."""

    @register_to_config
    def __init__(self, latent_channels: int, scaling_factor: float = 1.0, shift_factor: float | None = None) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, latent_channels, PATCH, stride=PATCH)
        self.decoder = nn.ConvTranspose2d(latent_channels, 3, PATCH, stride=PATCH)

    def encode(self, pixels: Tensor) -> AutoencoderKLOutput:
        """Encode images [B, 3, H, W] in [-1, 1] to latents [B, C, H / PATCH, W / PATCH]."""
        means = self.encoder(pixels)
        return AutoencoderKLOutput(
            latent_dist=DiagonalGaussianDistribution(torch.cat([means, torch.full_like(means, SURE)], dim=1))
        )

    def decode(self, latents: Tensor, return_dict: bool = True, **unused: object) -> DecoderOutput | tuple[Tensor]:
        """Decode latents [B, C, h, w] to images [B, 3, h * PATCH, w * PATCH]."""
        pixels = self.decoder(latents)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)


@torch.no_grad()
def fit_patches(batches: Iterable[Tensor], components: int) -> PatchAutoencoder:
    """Return the autoencoder whose latents are the first principal components of the patches of images.

    Their mean square over all components is 1.

    Args:
        batches: Images [B, 3, H, W] in [-1, 1], on the CPU.
        components: The number of latent channels, at most 3 * PATCH^2.
    """
    count, total, products = 0, torch.zeros(3 * PATCH**2, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in batches:
        patches = nn.functional.unfold(batch, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1).double()
        count, total, products = count + len(patches), total + patches.sum(0), products + patches.T @ patches
    color = (total / count).view(3, -1).mean(1)  # of a channel: a convolution adds one number to all pixels of a patch
    mean = color.repeat_interleave(PATCH**2)
    covariance = products / count - torch.outer(total / count, mean) - torch.outer(mean, total / count)
    covariance += torch.outer(mean, mean)
    variances, vectors = (part.flip(-1)[..., :components] for part in torch.linalg.eigh(covariance))
    scale = variances.clamp_min(variances[0] * 1e-9) ** (-WHITENING / 2)
    scale /= (variances * scale**2).mean().sqrt()
    autoencoder = PatchAutoencoder(components)
    shape = (components, 3, PATCH, PATCH)
    autoencoder.encoder.weight.copy_((vectors * scale).T.reshape(shape))
    autoencoder.encoder.bias.copy_(-(vectors * scale).T @ mean)
    autoencoder.decoder.weight.copy_((vectors / scale).T.reshape(shape))
    autoencoder.decoder.bias.copy_(color)
    return autoencoder
