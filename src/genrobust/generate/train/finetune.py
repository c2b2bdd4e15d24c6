"""The fine-tuning of a text-to-image generator's UNet, all of it or a LoRA, on images and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from peft import LoraConfig
from torch import Tensor

from genrobust.core import ImageSet, LabelSpace, UserError, digest, hashed_seed
from genrobust.generate.mode import Generator, locate
from genrobust.generate.templates import class_templates
from genrobust.generate.train.objective import (
    CONDITION_DROPOUT,
    Encoded,
    Examples,
    Model,
    Objective,
    Schedule,
    noise_schedule,
)
from genrobust.generate.train.tuned import save_full, save_lora
from genrobust.recipe import PromptConfig

Captions = Mapping[tuple[int, str], tuple[str, ...]]  # of each label and style that occurs: what may be said of it

ENCODED_TEXTS = 64  # go through the text encoder at once
LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]  # as in diffusers' own training scripts


@dataclass
class Finetune(Objective):
    """A UNet, or a LoRA for it, that learns the images with one of their captions, drawn anew at each step.

    Attributes:
        prompts: The section that captions are made from.
    """

    prompts: PromptConfig

    def __post_init__(self) -> None:
        if not self.base.reads_text:
            mode = self.base.mode
            raise UserError(
                f"generator.mode is {mode}, which draws without text: only generators of text are fine-tuned"
            )
        if getattr(self.base, "lora", None):
            raise UserError("generator.lora is set: a generator is fine-tuned without one: leave it out")
        self.captions = captions_of(self.prompts, self.images, self.labels)

    def inputs(self) -> dict[str, Any]:
        return {
            "width": self.base.size[0],
            "height": self.base.size[1],
            "captions": len({text for texts in self.captions.values() for text in texts}),
            "captions_fingerprint": digest([[*pair, texts] for pair, texts in self.captions.items()]),
        }

    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        generator = self.load(device, mode="labels")
        if not isinstance(generator.pipeline, StableDiffusionPipeline):
            kind = type(generator.pipeline).__name__
            raise UserError(f"{generator.id} is a {kind}; only a StableDiffusionPipeline is fine-tuned")
        condition = CaptionCondition(generator, self.images, self.captions, CONDITION_DROPOUT)
        schedule = noise_schedule(generator.pipeline.scheduler.config)
        examples = Examples(generator, self.images, condition, self.config)
        return self._trainable(generator.pipeline.unet), schedule, examples

    def _trainable(self, unet: UNet2DConditionModel) -> UNet2DConditionModel:
        """Return `unet` with gradients where it is to learn: everywhere, or in a LoRA that is added to it."""
        unet.requires_grad_(self.config.method == "full")
        if self.config.method == "lora":
            torch.manual_seed(hashed_seed(self.seed, "lora"))
            rank: dict[str, Any] = {"r": self.config.lora_rank, "lora_alpha": self.config.lora_rank}
            unet.add_adapter(LoraConfig(**rank, init_lora_weights="gaussian", target_modules=LORA_LAYERS))
        return unet.train()

    def save(self, out: Path, model: Model) -> None:
        if self.config.method == "lora":
            save_lora(out, model)
        else:
            save_full(out, locate(self.base)[1], self.base.variant, model)


def captions_of(prompts: PromptConfig, images: ImageSet, labels: LabelSpace) -> dict[tuple[int, str], tuple[str, ...]]:
    """Return the captions of every label and style in `images`, sorted by these: the prompts of the class.

    Of prompts that name styles, those of the image's own style; where none does, those that name no style, and else the
    class's name alone.

    Raises:
        UserError: The prompts are not usable.
    """
    templates = class_templates(prompts, labels)
    captions = {}
    for label, style in sorted(set(zip(images.labels.tolist(), images.styles, strict=True))):
        chosen = [t for t in templates[label] if t.style == style] or [t for t in templates[label] if not t.style]
        name = labels.classes[label].prompt
        captions[label, style] = tuple(template.fill(name) for template in chosen) or (f"a {name}",)
    return captions


class CaptionCondition:
    """One of the captions of each image, encoded; a share `dropout` of them are empty."""

    def __init__(self, generator: Generator, images: ImageSet, captions: Captions, dropout: float) -> None:
        self._dropout = dropout
        self._texts = list(dict.fromkeys(["", *(text for texts in captions.values() for text in texts)]))
        positions = {text: position for position, text in enumerate(self._texts)}
        pairs = zip(images.labels.tolist(), images.styles, strict=True)
        self._choices = [[positions[text] for text in captions[pair]] for pair in pairs]
        self._contexts = encode_captions(generator, self._texts)

    def __call__(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Return the text encoder's states [B, T, D]."""
        turns = torch.randint(1 << 31, images.shape, generator=source).tolist()
        dropped = (torch.rand(images.shape, generator=source) < self._dropout).tolist()
        texts = []
        for image, turn, is_dropped in zip(images.tolist(), turns, dropped, strict=True):
            choices = self._choices[image]
            texts.append(0 if is_dropped else choices[turn % len(choices)])  # text 0 is empty
        return self._contexts[torch.tensor(texts)]


def encode_captions(generator: Generator, texts: Sequence[str]) -> Encoded:
    """Return the states of the generator's text encoder for each of `texts`, float32 [T, D] by its position."""

    @torch.inference_mode()
    def encode(positions: Sequence[int]) -> Tensor:
        states, _ = generator.pipeline.encode_prompt(
            [texts[position] for position in positions],
            generator.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        return states.float().cpu()

    return Encoded("encoding captions", "captions", len(texts), encode, ENCODED_TEXTS)
