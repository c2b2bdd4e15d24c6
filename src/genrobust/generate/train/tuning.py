"""The training of a fine-tune: a UNet's weights or a LoRA, on images and what may be said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig

from genrobust.core import ImageSet, hashed_seed
from genrobust.generate.pipeline import Generator
from genrobust.generate.train.loop import Trainer, prepared
from genrobust.generate.train.objective import CaptionCondition, Examples, Told, noise_schedule
from genrobust.recipe import FinetuneConfig

LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]  # the attention's, as in diffusers' own training scripts


class Tuning(Trainer):
    """One fine-tune of the UNet of `generator`."""

    def __init__(
        self,
        generator: Generator,
        images: ImageSet,
        told: Told,
        config: FinetuneConfig,
        seed: int,
        out: Path,
        job: dict[str, Any],
    ) -> None:
        unet = _learning_unet(generator, config, seed)
        schedule = noise_schedule(generator.pipeline.scheduler.config)
        examples = Examples(generator, images, CaptionCondition(generator, images, told, config), config)
        super().__init__(unet, schedule, examples, config, seed, out, job)


def _learning_unet(generator: Generator, config: FinetuneConfig, seed: int) -> UNet2DConditionModel:
    """The generator's UNet, in training mode, with gradients for what `config.method` trains."""
    unet: UNet2DConditionModel = generator.pipeline.unet
    prepared(unet, config)
    unet.requires_grad_(config.method == "full")
    if config.method == "lora":
        torch.manual_seed(hashed_seed(seed, "lora"))
        rank = config.lora_rank
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LORA_LAYERS))
    return unet.train()
