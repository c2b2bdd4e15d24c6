"""Fine-tunes a text-to-image generator's UNet on real images: all of it or a LoRA, resumable to the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from genrobust.classifiers import resolved_here
from genrobust.core import ImageSet, UserError, digest, keep_freed_memory, resolve_device, set_threads
from genrobust.generate.pipeline import Generator, load_generator, locate, weights_hash
from genrobust.generate.train.loop import Trainer, train_once
from genrobust.generate.train.objective import Captions, told_captions
from genrobust.generate.train.tuned import save_full, save_lora
from genrobust.generate.train.tuning import Tuning
from genrobust.recipe import FinetuneConfig, GeneratorConfig


def finetune(
    base: GeneratorConfig,
    images: ImageSet,
    captions: Captions,
    config: FinetuneConfig,
    seed: int,
    out: Path,
    device: str = "auto",
    threads: int = 2,
) -> Path:
    """Fine-tune the UNet of `base` on `images`, and return the folder `out`.

    For the method full, `out` is then a diffusers folder for `generator.model`; for lora it holds a safetensors file,
    and is for `generator.lora`. Each image comes with one of the ``captions(label, style)``, drawn anew at each step.
    The images are fitted to the size of the generator's: scaled, and cropped around the centre. The saved weights are
    the averaged ones. `finetune.json` says beside them what they were made from.

    A killed run goes on from its last state and ends in the same weights, on a CPU bit for bit; a finished one returns
    at once. Raises UserError for an empty image set, an image that cannot be read, an image without captions, a base
    that is no Stable Diffusion pipeline or that is drawn without text or with a LoRA, and a folder that holds something
    else; GenrobustError where the loss is no number, memory runs out, or the disk is full.
    """
    chosen = resolve_device(device)
    set_threads(threads)
    keep_freed_memory()
    config = resolved_here(config, chosen.type)
    job = finetune_job(base, images, captions, config, seed, chosen.type, threads)

    def begin() -> Tuning:
        return Tuning(_load(base, chosen), images, told_captions(images, captions), config, seed, out, job)

    def save(tuning: Trainer) -> None:
        if config.method == "lora":
            save_lora(out, tuning.model)
        else:
            save_full(out, locate(base)[1], base.variant, tuning.model)

    return train_once(out, job, config, chosen, begin, save)


def finetune_job(
    base: GeneratorConfig,
    images: ImageSet,
    captions: Captions,
    config: FinetuneConfig,
    seed: int,
    device: str,
    threads: int,
) -> dict[str, Any]:
    """What decides the weights that `finetune` makes, as flat JSON; `device` is "cuda", "mps" or "cpu".

    Loads no weights. Raises UserError as `finetune` does for images, captions and base.
    """
    _check(base)
    told = told_captions(images, captions)
    id, _ = locate(base)
    return {
        "base": id,
        "base_sha256": weights_hash(base),
        "width": base.width,
        "height": base.height,
        "images": len(images),
        "images_fingerprint": images.fingerprint,
        "captions": len({text for texts in told.values() for text in texts}),
        "captions_fingerprint": digest([[*pair, texts] for pair, texts in told.items()]),
        **config.model_dump(mode="json", exclude={"save_every"}),
        "seed": seed,
        "device": device,
        "threads": threads,
    }


def _check(base: GeneratorConfig) -> None:
    if not base.reads_text:
        raise UserError(
            f"generator.mode is {base.mode}, which draws without text: only generators of text are fine-tuned"
        )
    if base.lora is not None:
        raise UserError("generator.lora is set: a generator is fine-tuned without one: leave it out")


def _load(base: GeneratorConfig, device: torch.device) -> Generator:
    """The generator in float32, with its own scheduler; raises UserError where it is none that is fine-tuned here."""
    plain = {"mode": "labels", "scheduler": None, "steps": 1, "dtype": "float32", "safety_checker": False}
    generator = load_generator(base.model_copy(update=plain), device)
    pipeline = generator.pipeline
    if not isinstance(pipeline, StableDiffusionPipeline):
        raise UserError(f"{generator.id} is a {type(pipeline).__name__}; only a StableDiffusionPipeline is fine-tuned")
    if not isinstance(pipeline.unet, UNet2DConditionModel):
        kind = type(pipeline.unet).__name__
        raise UserError(f"{generator.id} denoises with a {kind}; only a UNet2DConditionModel is fine-tuned")
    if pipeline.unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise UserError(
            f"{generator.id} draws from more than text (an inpainting model?): name a plain text-to-image one"
        )
    return generator
