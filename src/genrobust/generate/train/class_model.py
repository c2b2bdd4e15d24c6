"""The training of a class-conditional diffusion transformer from scratch: a generator that saw real images alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.embeddings import LabelEmbedding, TimestepEmbedding
from diffusers.models.normalization import AdaLayerNormZero
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from torch import Tensor, nn

from genrobust.core import ImageSet, UserError, digest, hashed_seed
from genrobust.generate.loading import locate
from genrobust.generate.mode import Generator
from genrobust.generate.train.objective import Examples, Model, Objective, Schedule, noise_schedule
from genrobust.generate.train.tuned import save_class_model
from genrobust.recipe import ClassModelConfig

# The number that DiTPipeline's own guidance takes for "no class": a smaller transformer gets so many numbers, the last
# of them unused, so that the folder is drawn from without genrobust too.
NULL = 1000


@dataclass
class ClassModel(Objective):
    """A transformer that learns the velocity of the base's latents by class, under the base's noise schedule."""

    def __post_init__(self) -> None:
        present = set(self.images.labels.tolist())
        if missing := [c.name for label, c in enumerate(self.labels.classes) if label not in present]:
            name = self.images.name
            raise UserError(
                f"{name} holds no image of the class {missing[0]!r} to learn from: add some, or leave it out"
            )

    def inputs(self) -> dict[str, Any]:
        return {
            "base_width": self.base.size[0],
            "base_height": self.base.size[1],
            "classes": len(self.labels),
            "classes_fingerprint": digest(self.labels),
        }

    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        generator = self.load(device)
        _check_base(generator, self.config)
        scheduler_config = {**generator.pipeline.scheduler.config, "prediction_type": "v_prediction"}
        # Its default clips at 1, which is for pixels, not for latents.
        self.scheduler = DDIMScheduler.from_config(scheduler_config, clip_sample=False)
        numbers = max(len(self.labels), NULL)
        torch.manual_seed(hashed_seed(self.seed, "class model"))
        model: Model = _make_transformer(generator, numbers, self.config)
        condition = ClassCondition(self.images, numbers, self.config.class_dropout)
        return (
            model.to(device),
            noise_schedule(scheduler_config),
            Examples(generator, self.images, condition, self.config),
        )

    def save(self, out: Path, model: Model) -> None:
        names = [", ".join(dict.fromkeys((c.name, c.prompt, c.id))) for c in self.labels.classes]
        vae = locate(self.base)[1] / "vae"
        save_class_model(out, vae, self.base.variant, model, self.scheduler, names)


class ClassCondition:
    """The number of each image's class; `dropout` of them are `null`, which stands for none."""

    def __init__(self, images: ImageSet, null: int, dropout: float) -> None:
        self._numbers = torch.tensor(images.labels.tolist())
        self._null, self._dropout = null, dropout

    def draw(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Return class numbers, int64 [B]."""
        dropped = torch.rand(images.shape, generator=source) < self._dropout
        return self._numbers[images].masked_fill(dropped, self._null)


def _make_transformer(generator: Generator, numbers: int, config: ClassModelConfig) -> DiTTransformer2DModel:
    """A transformer that knows nothing, for the latents of `generator`, with DiT's initial weights."""
    channels = generator.pipeline.vae.config.latent_channels
    transformer = DiTTransformer2DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        num_layers=config.depth,
        in_channels=channels,
        out_channels=channels,  # None would mean the same, but not to DiTPipeline
        sample_size=_latent_side(generator),
        patch_size=config.patch_size,
        num_embeds_ada_norm=numbers,
    )
    for part in transformer.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    for part in transformer.modules():  # adaLN-Zero: every block begins as the identity
        if isinstance(part, AdaLayerNormZero):
            nn.init.zeros_(part.linear.weight)
        elif isinstance(part, LabelEmbedding):
            nn.init.normal_(part.embedding_table.weight, std=0.02)
        elif isinstance(part, TimestepEmbedding):
            nn.init.normal_(part.linear_1.weight, std=0.02)
            nn.init.normal_(part.linear_2.weight, std=0.02)
    nn.init.zeros_(transformer.proj_out_1.weight)
    nn.init.zeros_(transformer.proj_out_2.weight)
    # In training mode each block would drop classes by itself, so that none saw an image without its class.
    return transformer.eval()


def _check_base(generator: Generator, config: ClassModelConfig) -> None:
    """Raise UserError where no transformer of `config` can be trained on the latents of `generator`."""
    pipeline, id = generator.pipeline, generator.id
    vae = getattr(pipeline, "vae", None)
    if not isinstance(vae, AutoencoderKL) or vae.config.shift_factor:
        is_kl = isinstance(vae, AutoencoderKL)
        kind = "none" if vae is None else "one with shifted latents" if is_kl else f"a {type(vae).__name__}"
        raise UserError(
            f"a class model needs a plain AutoencoderKL, and {id} has {kind}: name another one under generator.model, "
            "such as a Stable Diffusion"
        )
    if "beta_schedule" not in pipeline.scheduler.config:
        raise UserError(
            f"a class model takes its noise schedule from the generator, and the {type(pipeline.scheduler).__name__} "
            f"of {id} has none: name another one under generator.model, such as a Stable Diffusion"
        )
    if generator.width != generator.height:
        raise UserError(
            f"a class model draws square images; the generator's are {generator.width} x {generator.height} pixels: "
            "set generator.width and generator.height to one size"
        )
    side = _latent_side(generator)
    if side % config.patch_size:
        raise UserError(
            f"class_model.patch_size is {config.patch_size}, and the latents of {id} are {side} x {side}: take a "
            "divisor of that"
        )


def _latent_side(generator: Generator) -> int:
    return int(generator.height // 2 ** (len(generator.pipeline.vae.config.block_out_channels) - 1))
