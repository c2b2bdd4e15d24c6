"""Class models: diffusion models trained from scratch by class and style, which saw no image but the given ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from genrobust.core import ImageSet, LabelSpace, UserError, digest, hashed_seed
from genrobust.generate.mode import Generator, locate
from genrobust.generate.modes.class_number import names_in_style
from genrobust.generate.patch_autoencoder import PatchAutoencoder, fit_patches
from genrobust.generate.pipeline_loading import latent_scale
from genrobust.generate.train.objective import (
    CONDITION_DROPOUT,
    Examples,
    Model,
    Objective,
    Schedule,
    chunk_of,
    in_range,
    load_views,
    noise_schedule,
)
from genrobust.generate.train.saved_folders import VAE, save_class_model
from genrobust.recipe import HEAD, ClassModelConfig

# So many images suffice: with more, the principal components of their patches hardly change.
FITTED_ON = 4096
# DiTPipeline's own guidance takes this number for "no class". A model of fewer classes has so many numbers, the last
# ones unused, so that its folder also works without genrobust.
NULL = 1000
UNET_LAYERS = 1  # blocks per level
UNET_GROUPS = 16  # of group normalization
EMBEDDING_STD = 0.02


@dataclass
class ClassModel(Objective):
    """A U-Net that learns the velocity of latents by class and style, under the base's noise schedule."""

    def __post_init__(self) -> None:
        present = set(self.images.labels.tolist())
        for label, class_label in enumerate(self.labels.classes):
            if label not in present:
                raise UserError(
                    f"{self.images.name} holds no image of the class {class_label.name!r} to learn from: add some, or "
                    "leave it out"
                )
        self.numbers = Numbers(len(self.labels), styles_of(self.images))

    def inputs(self) -> dict[str, Any]:
        classes = [{"id": c.id, "name": c.name, "prompt": c.prompt} for c in self.labels.classes]
        inputs = {
            "base_width": self.base.size[0],
            "base_height": self.base.size[1],
            "classes": len(self.labels),
            "classes_fingerprint": digest({"classes": classes, "shared_prompts": self.labels.shared_prompts}),
        }
        if self.numbers.styles:
            inputs["styles_fingerprint"] = digest(list(self.images.styles))
        return inputs

    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        generator = self.load(device)
        if self.config.components is not None:
            autoencoder: Any = self._fit_autoencoder((generator.width, generator.height))
            generator.pipeline.vae = autoencoder.to(device)
        _check_base(generator, self.config)
        self.vae = generator.pipeline.vae
        scheduler_config = {**generator.pipeline.scheduler.config, "prediction_type": "v_prediction"}
        # By default DDIM clips at 1, which is right for pixels but not for latents.
        self.scheduler = DDIMScheduler.from_config(scheduler_config, clip_sample=False)
        torch.manual_seed(hashed_seed(self.seed, "class model"))
        model: Model = _make_unet(generator, self.numbers.null, self.config.channels)
        if self.numbers.styles:
            model.class_embedding = StyledTable(self.numbers, model.class_embedding.embedding_dim)
        condition = ClassCondition(self.images, self.numbers, CONDITION_DROPOUT)
        examples = Examples(generator, self.images, condition, self.config)
        return model.to(device), noise_schedule(scheduler_config), examples

    def save(self, out: Path, model: Model) -> None:
        if isinstance(model.class_embedding, StyledTable):
            model.class_embedding = model.class_embedding.as_table()
        names = self.numbers.names(self.labels)
        if isinstance(self.vae, PatchAutoencoder):
            save_class_model(out, self.vae, model, self.scheduler, names)
        else:
            _, base = locate(self.base)
            save_class_model(out, (base / VAE, self.base.variant), model, self.scheduler, names)

    def _fit_autoencoder(self, size: tuple[int, int]) -> PatchAutoencoder:
        """Fit an autoencoder to the patches of up to FITTED_ON of the images, chosen at random."""
        source = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(self.images), generator=source)[:FITTED_ON]
        chunks = chosen.split(chunk_of(size))
        batches = (in_range(load_views(self.images, chunk.tolist(), size)) for chunk in chunks)
        return fit_patches(batches, self.config.components)


def styles_of(images: ImageSet) -> tuple[str, ...]:
    """Return the styles of `images` that a class model learns, sorted; none if there are fewer than two."""
    styles = sorted({*images.styles} - {""})
    return tuple(styles) if len(styles) > 1 else ()


class Numbers:
    """The numbers that a network of `classes` classes and `styles` draws by: one for each class in each style.

    Number c + (classes + 1) * s is class c in style s, counted from 1. c = classes is no class and s = 0 no style, so
    the first numbers are the classes. Neither class nor style has the last number, `null`.
    """

    def __init__(self, classes: int, styles: tuple[str, ...]) -> None:
        self.classes, self.styles = classes, styles
        self._pairs = (classes + 1) * (len(styles) + 1)
        used = self._pairs if styles else classes
        self.null = max(used, NULL)

    def of(self, classes: Tensor, styles: Tensor) -> Tensor:
        """Return the numbers, int64 [B], of `classes` (`self.classes` is none) in `styles` (0 is none)."""
        numbers = classes + (self.classes + 1) * styles
        return numbers.masked_fill(numbers == self.classes, self.null)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return the class and the style of each number up to `null`, int64 [null + 1]; unused numbers have neither."""
        numbers = torch.arange(self.null + 1)
        numbers[self._pairs :] = self.classes
        return numbers % (self.classes + 1), numbers // (self.classes + 1)

    def names(self, labels: LabelSpace) -> dict[int, str]:
        """Return the names of each class in each style, separated by commas, by number."""
        names = {}
        for style_number, style in enumerate(("", *self.styles)):
            for label, class_label in enumerate(labels.classes):
                number = label + (self.classes + 1) * style_number
                names[number] = names_in_style(class_label, style)
        return names


class StyledTable(nn.Module):
    """The embeddings of `numbers` during training: the sum of an embedding of the class and one of the style."""

    class_of: Tensor
    style_of: Tensor

    def __init__(self, numbers: Numbers, width: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(numbers.classes + 1, width)
        self.styles = nn.Embedding(len(numbers.styles) + 1, width)
        for table in (self.classes, self.styles):
            nn.init.normal_(table.weight, std=EMBEDDING_STD)
        classes, styles = numbers.pairs()
        self.register_buffer("class_of", classes, persistent=False)
        self.register_buffer("style_of", styles, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the embeddings [B, width] of `numbers`, int64 [B]."""
        embeddings: Tensor = self.classes(self.class_of[numbers]) + self.styles(self.style_of[numbers])
        return embeddings

    @torch.no_grad()
    def as_table(self) -> nn.Embedding:
        """Return one table with the embedding of each number, as a DiTPipeline has it."""
        numbers = torch.arange(len(self.class_of), device=self.class_of.device)
        return nn.Embedding.from_pretrained(self(numbers))


class ClassCondition:
    """The number of each image's class and style. A share `dropout` comes without class, and as many without style."""

    def __init__(self, images: ImageSet, numbers: Numbers, dropout: float) -> None:
        style_numbers = {style: number for number, style in enumerate(("", *numbers.styles))}
        self._classes = torch.tensor(images.labels.tolist())
        self._styles = torch.tensor([style_numbers.get(style, 0) for style in images.styles])
        self._numbers, self._dropout = numbers, dropout

    def __call__(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Return numbers, int64 [B]."""
        classes = self._classes[images]
        without_class = torch.rand(images.shape, generator=source) < self._dropout
        classes = classes.masked_fill(without_class, self._numbers.classes)
        styles = self._styles[images]
        if self._numbers.styles:
            without_style = torch.rand(images.shape, generator=source) < self._dropout
            styles = styles.masked_fill(without_style, 0)
        return self._numbers.of(classes, styles)


def _make_unet(generator: Generator, null: int, channels: tuple[int, ...]) -> UNet2DModel:
    """Create an untrained U-Net for the latents of `generator`: DDPM's, with attention below the first level."""
    lower_levels = len(channels) - 1
    latent_channels = generator.pipeline.vae.config.latent_channels
    unet = UNet2DModel(
        sample_size=_latent_side(generator),
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=channels,
        layers_per_block=UNET_LAYERS,
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * lower_levels),
        up_block_types=(*["AttnUpBlock2D"] * lower_levels, "UpBlock2D"),
        attention_head_dim=HEAD,
        norm_num_groups=UNET_GROUPS,
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=null + 1,
    )
    nn.init.normal_(unet.class_embedding.weight, std=EMBEDDING_STD)
    # Start by predicting zero.
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet.eval()


def _check_base(generator: Generator, config: ClassModelConfig) -> None:
    """Raise UserError if no U-Net of `config` can be trained on the latents of `generator`."""
    pipeline, id = generator.pipeline, generator.id
    vae = getattr(pipeline, "vae", None)
    if not isinstance(vae, AutoencoderKL | PatchAutoencoder) or vae.config.shift_factor:
        raise UserError(
            f"a class model needs an AutoencoderKL without a shift, and {id} has none: name another one under "
            "generator.model, such as a Stable Diffusion, or set class_model.components"
        )
    if "beta_schedule" not in pipeline.scheduler.config:
        raise UserError(
            f"a class model takes its noise schedule from the generator, and the {type(pipeline.scheduler).__name__} "
            f"of {id} has none: name another one under generator.model, such as a Stable Diffusion"
        )
    side = _latent_side(generator)
    # Each level but the last halves the latents.
    unit = 2 ** (len(config.channels) - 1)
    if generator.width != generator.height or side % unit:
        raise UserError(
            f"a class model draws square images whose latents are a multiple of {unit} wide, and {id} makes {side} "
            f"latents of {generator.width} x {generator.height} pixels: change generator.width and generator.height, "
            "or give fewer levels in class_model.channels"
        )


def _latent_side(generator: Generator) -> int:
    return generator.height // latent_scale(generator.pipeline.vae)
