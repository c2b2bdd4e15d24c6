"""A linear autoencoder of square patches, for the latents of a class model that is trained on any kind of images.

For a few thousand small images it loses less than a trained autoencoder, and it is computed in seconds instead of
learned. A diffusers folder names this module, so pipelines load it wherever genrobust is installed.
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

# A component is divided by its standard deviation to this power: 0 keeps pixels, 1 whitens.
WHITENING = 0.5
# Smallest variance of a component in the scale of latents, relative to the largest.
LEAST_VARIANCE = 1e-9
# Log variance of exact latents: encoding is deterministic.
EXACT = -30.0


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # as all models of diffusers
    """Converts each patch of PATCH x PATCH pixels to `latent_channels` numbers, and back, by a linear map."""

    @register_to_config
    def __init__(self, latent_channels: int, scaling_factor: float = 1.0, shift_factor: float | None = None) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, latent_channels, PATCH, stride=PATCH)
        self.decoder = nn.ConvTranspose2d(latent_channels, 3, PATCH, stride=PATCH)

    def encode(self, pixels: Tensor) -> AutoencoderKLOutput:
        """Encode images [B, 3, H, W] in [-1, 1] to latents [B, C, H / PATCH, W / PATCH]."""
        means = self.encoder(pixels)
        parameters = torch.cat([means, torch.full_like(means, EXACT)], dim=1)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(parameters))

    def decode(self, latents: Tensor, return_dict: bool = True, **unused: object) -> DecoderOutput | tuple[Tensor]:
        """Decode latents [B, C, h, w] to images [B, 3, h * PATCH, w * PATCH]."""
        pixels = self.decoder(latents)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)


@torch.no_grad()
def fit_patches(batches: Iterable[Tensor], components: int) -> PatchAutoencoder:
    """Make the autoencoder whose latents are the first `components` principal components of the patches of images.

    The images are [B, 3, H, W] in [-1, 1], on the CPU. The mean square of the latents, over all components, is 1.
    """
    count = 0
    total = torch.zeros(3 * PATCH**2, dtype=torch.float64)
    products = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        # [B, 3, H, W] -> [patches of all images, 3 * PATCH^2], channel by channel.
        patches = nn.functional.unfold(batch, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1).double()
        count += len(patches)
        total = total + patches.sum(0)
        products = products + patches.T @ patches

    # Center each channel by one number: that is what the bias of a transposed convolution can add.
    mean = total / count
    color = mean.view(3, -1).mean(1)
    center = color.repeat_interleave(PATCH**2)
    covariance = products / count - torch.outer(mean, center) - torch.outer(center, mean)
    covariance += torch.outer(center, center)

    # Eigenvalues ascend: take the last.
    variances, vectors = torch.linalg.eigh(covariance)
    variances = variances.flip(-1)[..., :components]
    vectors = vectors.flip(-1)[..., :components]
    scale = variances.clamp_min(variances[0] * LEAST_VARIANCE) ** (-WHITENING / 2)
    scale /= (variances * scale**2).mean().sqrt()

    autoencoder = PatchAutoencoder(components)
    shape = (components, 3, PATCH, PATCH)
    autoencoder.encoder.weight.copy_((vectors * scale).T.reshape(shape))
    autoencoder.encoder.bias.copy_(-(vectors * scale).T @ center)
    autoencoder.decoder.weight.copy_((vectors / scale).T.reshape(shape))
    autoencoder.decoder.bias.copy_(color)
    return autoencoder
