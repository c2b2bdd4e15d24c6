"""Trains a class-conditional diffusion transformer from scratch on real images: a generator that saw nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.embeddings import LabelEmbedding, TimestepEmbedding
from diffusers.models.normalization import AdaLayerNormZero
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from torch import nn

from genrobust.classifiers import resolved_here
from genrobust.core import (
    ImageSet,
    LabelSpace,
    UserError,
    digest,
    hashed_seed,
    keep_freed_memory,
    resolve_device,
    set_threads,
)
from genrobust.generate.pipeline import Generator, load_generator, locate, weights_hash
from genrobust.generate.train.loop import Trainer, prepared, train_once
from genrobust.generate.train.objective import ClassCondition, Examples, Model, noise_schedule
from genrobust.generate.train.tuned import save_class_model
from genrobust.recipe import ClassModelConfig, GeneratorConfig

# The number that DiTPipeline's own guidance takes for "no class": a smaller transformer gets so many numbers, the last
# of them unused, so that the folder is drawn from without genrobust too.
NULL = 1000


def train_class_model(
    base: GeneratorConfig,
    images: ImageSet,
    labels: LabelSpace,
    config: ClassModelConfig,
    seed: int,
    out: Path,
    device: str = "auto",
    threads: int = 2,
) -> Path:
    """Train a transformer on `images` and their labels, and return the folder `out`: a DiTPipeline.

    It works on the latents of the autoencoder of `base`, which is copied, and answers with the velocity, under the
    noise schedule of `base`. The images are fitted to the size of its own: scaled, and cropped around the centre. The
    saved weights are the averaged ones. `class_model.json` says beside them what they were made from.

    A killed run goes on from its last state and ends in the same weights, on a CPU bit for bit; a finished one returns
    at once. Raises UserError for a class without images, an image that cannot be read, a base without a fitting
    autoencoder or noise schedule, images that are not square, latents that the patches do not cover, and a folder that
    holds something else; GenrobustError where the loss is no number, memory runs out, or the disk is full.
    """
    chosen = resolve_device(device)
    set_threads(threads)
    keep_freed_memory()
    config = resolved_here(config, chosen.type)
    job = class_model_job(base, images, labels, config, seed, chosen.type, threads)

    def begin() -> _ClassTraining:
        return _ClassTraining(_load(base, config, chosen), images, len(labels), config, seed, out, job)

    def save(training: _ClassTraining) -> None:
        names = [", ".join(dict.fromkeys((c.name, c.prompt, c.id))) for c in labels.classes]
        save_class_model(out, locate(base)[1] / "vae", base.variant, training.model, training.scheduler, names)

    return train_once(out, job, config, chosen, begin, save)


def class_model_job(
    base: GeneratorConfig,
    images: ImageSet,
    labels: LabelSpace,
    config: ClassModelConfig,
    seed: int,
    device: str,
    threads: int,
) -> dict[str, Any]:
    """What decides the folder that `train_class_model` makes, as flat JSON; `device` is "cuda", "mps" or "cpu".

    Loads no weights. Raises UserError as `train_class_model` does for images and base.
    """
    here = set(images.labels.tolist())
    for label, wanted in enumerate(labels.classes):
        if label not in here:
            raise UserError(
                f"{images.name} holds no image of the class {wanted.name!r} to learn from: add some, or leave it out"
            )
    id, _ = locate(base)
    return {
        "base": id,
        "base_sha256": weights_hash(base),
        "base_width": base.width,
        "base_height": base.height,
        "images": len(images),
        "images_fingerprint": images.fingerprint,
        "classes": len(labels),
        "classes_fingerprint": digest(labels),
        **config.model_dump(mode="json", exclude={"save_every"}),
        "seed": seed,
        "device": device,
        "threads": threads,
    }


class _ClassTraining(Trainer):
    """One training of a transformer for `classes` classes; `scheduler` is what it is then sampled with."""

    def __init__(
        self,
        generator: Generator,
        images: ImageSet,
        classes: int,
        config: ClassModelConfig,
        seed: int,
        out: Path,
        job: dict[str, Any],
    ) -> None:
        learned = {**generator.pipeline.scheduler.config, "prediction_type": "v_prediction"}
        # Its default clips at 1, which is for pixels, not for latents.
        self.scheduler = DDIMScheduler.from_config(learned, clip_sample=False)
        numbers = max(classes, NULL)
        torch.manual_seed(hashed_seed(seed, "class model"))
        model: Model = _transformer(generator, numbers, config)
        model.to(generator.device)
        prepared(model, config)
        examples = Examples(generator, images, ClassCondition(images, numbers, config.class_dropout), config)
        super().__init__(model, noise_schedule(learned), examples, config, seed, out, job)


def _transformer(generator: Generator, numbers: int, config: ClassModelConfig) -> DiTTransformer2DModel:
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


def _load(base: GeneratorConfig, config: ClassModelConfig, device: torch.device) -> Generator:
    """The base in float32; raises UserError where no transformer of `config` can be trained on its latents."""
    plain = {"scheduler": None, "steps": 1, "dtype": "float32", "safety_checker": False, "lora": None}
    generator = load_generator(base.model_copy(update=plain), device)
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
    return generator


def _latent_side(generator: Generator) -> int:
    return int(generator.height // 2 ** (len(generator.pipeline.vae.config.block_out_channels) - 1))
