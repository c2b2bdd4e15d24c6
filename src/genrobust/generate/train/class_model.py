"""The training of a diffusion model from scratch, by class and style: a generator that saw given images alone."""

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
from genrobust.generate.loading import latent_scale
from genrobust.generate.mode import Generator, locate
from genrobust.generate.modes.class_number import names_in_style
from genrobust.generate.patch_autoencoder import PatchAutoencoder, fit_patches
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
from genrobust.generate.train.tuned import VAE, save_class_model
from genrobust.recipe import HEAD, ClassModelConfig

FITTED_ON = 4096  # images, whose patches have principal components like those of many more
# The number that DiTPipeline's own guidance takes for "no class": a model of fewer classes gets so many numbers, the
# last of them unused, so that the folder is drawn from without genrobust too.
NULL = 1000
UNET_LAYERS, UNET_GROUPS = 1, 16  # blocks of a level; groups that normalize


@dataclass
class ClassModel(Objective):
    """A U-Net that learns the velocity of latents by class and style, under the base's noise schedule."""

    def __post_init__(self) -> None:
        present = set(self.images.labels.tolist())
        if missing := [c.name for label, c in enumerate(self.labels.classes) if label not in present]:
            name = self.images.name
            raise UserError(
                f"{name} holds no image of the class {missing[0]!r} to learn from: add some, or leave it out"
            )

        self.numbers = Numbers(len(self.labels), styles_of(self.images))

    def inputs(self) -> dict[str, Any]:
        more = {"styles_fingerprint": digest(list(self.images.styles))} if self.numbers.styles else {}
        classes = [{"id": c.id, "name": c.name, "prompt": c.prompt} for c in self.labels.classes]
        return {
            "base_width": self.base.size[0],
            "base_height": self.base.size[1],
            "classes": len(self.labels),
            "classes_fingerprint": digest({"classes": classes, "shared_prompts": self.labels.shared_prompts}),
            **more,
        }

    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        generator = self.load(device)
        if self.config.components is not None:
            fitted: Any = self._fit((generator.width, generator.height))  # whose `to` has no types
            generator.pipeline.vae = fitted.to(device)
        _check_base(generator, self.config)
        self.vae = generator.pipeline.vae
        scheduler_config = {**generator.pipeline.scheduler.config, "prediction_type": "v_prediction"}
        # Its default clips at 1, which is for pixels, not for latents.
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
        base = locate(self.base)[1] / VAE, self.base.variant
        vae = self.vae if isinstance(self.vae, PatchAutoencoder) else base
        save_class_model(out, vae, model, self.scheduler, self.numbers.names(self.labels))

    def _fit(self, size: tuple[int, int]) -> PatchAutoencoder:
        """The autoencoder of the images themselves."""
        count, chunk = min(len(self.images), FITTED_ON), chunk_of(size)
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.seed))[:count].tolist()
        parts = (order[start : start + chunk] for start in range(0, count, chunk))
        return fit_patches((in_range(load_views(self.images, part, size)) for part in parts), self.config.components)


def styles_of(images: ImageSet) -> tuple[str, ...]:
    """Return the styles of `images` that a class model learns, sorted: none where there are fewer than two."""
    styles = sorted({*images.styles} - {""})
    return tuple(styles) if len(styles) > 1 else ()


class Numbers:
    """The numbers by which a network of `classes` classes and `styles` draws: one for each class in each style.

    Number c + (classes + 1) * s is class c in style s, counted from 1; c = classes is no class and s = 0 no style, so
    that the first numbers are those of the classes. What is neither has the last number, `null`.
    """

    def __init__(self, classes: int, styles: tuple[str, ...]) -> None:
        self.classes, self.styles = classes, styles
        self._pairs = (classes + 1) * (len(styles) + 1)
        self.null = max(self._pairs if styles else classes, NULL)

    def of(self, classes: Tensor, styles: Tensor) -> Tensor:
        """Return the numbers, int64 [B], of `classes`, where `self.classes` is none, in `styles`, where 0 is none."""
        numbers = classes + (self.classes + 1) * styles
        return numbers.masked_fill(numbers == self.classes, self.null)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return the class and the style of each number up to `null`, int64 [null + 1]; unused numbers are neither."""
        numbers = torch.arange(self.null + 1)
        numbers[self._pairs :] = self.classes
        return numbers % (self.classes + 1), numbers // (self.classes + 1)

    def names(self, labels: LabelSpace) -> dict[int, str]:
        """Return the names of each class in each style, with commas between, by number."""
        return {
            (len(labels) + 1) * s + number: names_in_style(c, style)
            for s, style in enumerate(("", *self.styles))
            for number, c in enumerate(labels.classes)
        }


class StyledTable(nn.Module):
    """The embeddings of `numbers` while they are learned: that of the class plus that of the style."""

    class_of: Tensor
    style_of: Tensor

    def __init__(self, numbers: Numbers, width: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(numbers.classes + 1, width)
        self.styles = nn.Embedding(len(numbers.styles) + 1, width)
        for table in (self.classes, self.styles):
            nn.init.normal_(table.weight, std=0.02)
        classes, styles = numbers.pairs()
        self.register_buffer("class_of", classes, persistent=False)
        self.register_buffer("style_of", styles, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the embeddings [B, width] of `numbers`, int64 [B]."""
        embeddings: Tensor = self.classes(self.class_of[numbers]) + self.styles(self.style_of[numbers])
        return embeddings

    @torch.no_grad()
    def as_table(self) -> nn.Embedding:
        """Return a table of the embedding of each number, as a DiTPipeline has it."""
        return nn.Embedding.from_pretrained(self(torch.arange(len(self.class_of), device=self.class_of.device)))


class ClassCondition:
    """The number of each image's class and style; a share `dropout` comes without class, and as many without style."""

    def __init__(self, images: ImageSet, numbers: Numbers, dropout: float) -> None:
        positions = {style: position for position, style in enumerate(("", *numbers.styles))}
        self._classes = torch.tensor(images.labels.tolist())
        self._styles = torch.tensor([positions.get(style, 0) for style in images.styles])
        self._numbers, self._dropout = numbers, dropout

    def __call__(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Return numbers, int64 [B]."""
        dropped = torch.rand(images.shape, generator=source) < self._dropout
        classes = self._classes[images].masked_fill(dropped, self._numbers.classes)
        styles = self._styles[images]
        if self._numbers.styles:
            styles = styles.masked_fill(torch.rand(images.shape, generator=source) < self._dropout, 0)
        return self._numbers.of(classes, styles)


def _make_unet(generator: Generator, null: int, channels: tuple[int, ...]) -> UNet2DModel:
    """A U-Net that knows nothing, for the latents of `generator`: DDPM's, with attention below the first level."""
    levels, latents = len(channels), generator.pipeline.vae.config.latent_channels
    unet = UNet2DModel(
        sample_size=_latent_side(generator),
        in_channels=latents,
        out_channels=latents,
        block_out_channels=channels,
        layers_per_block=UNET_LAYERS,
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (levels - 1)),
        up_block_types=(*["AttnUpBlock2D"] * (levels - 1), "UpBlock2D"),
        attention_head_dim=HEAD,
        norm_num_groups=UNET_GROUPS,
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=null + 1,
    )
    nn.init.normal_(unet.class_embedding.weight, std=0.02)
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet.eval()


def _check_base(generator: Generator, config: ClassModelConfig) -> None:
    """Raise UserError where no U-Net of `config` can be trained on the latents of `generator`."""
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
    unit = 2 ** (len(config.channels) - 1)
    if generator.width != generator.height or side % unit:
        raise UserError(
            f"a class model draws square images whose latents are a multiple of {unit} wide, and {id} makes {side} "
            f"latents of {generator.width} x {generator.height} pixels: change generator.width and generator.height, "
            "or give fewer levels in class_model.channels"
        )


def _latent_side(generator: Generator) -> int:
    return generator.height // latent_scale(generator.pipeline.vae)
