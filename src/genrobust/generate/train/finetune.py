"""Fine-tuning of a text-to-image generator's UNet, all of it or a LoRA, on images and captions."""

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
from genrobust.generate.prompt_templates import class_templates
from genrobust.generate.train.objective import (
    CONDITION_DROPOUT,
    Encoded,
    Examples,
    Model,
    Objective,
    Schedule,
    noise_schedule,
)
from genrobust.generate.train.saved_folders import save_full, save_lora
from genrobust.recipe import PromptConfig

# The captions to choose from, for each label and style that occurs.
Captions = Mapping[tuple[int, str], tuple[str, ...]]

# Texts that go through the text encoder at once.
ENCODED_TEXTS = 64
# As in diffusers' own training scripts.
LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]


@dataclass
class Finetune(Objective):
    """A UNet, or a LoRA for it, that learns the images with one of their captions, drawn anew in each step.

    Attributes:
        prompts: The section that captions are made from.
    """

    prompts: PromptConfig

    def __post_init__(self) -> None:
        if not self.base.reads_text:
            raise UserError(
                f"generator.mode is {self.base.mode}, which draws without text: only generators of text are fine-tuned"
            )
        if getattr(self.base, "lora", None):
            raise UserError("generator.lora is set: a generator is fine-tuned without one: leave it out")
        self.captions = captions_of(self.prompts, self.images, self.labels)

    def inputs(self) -> dict[str, Any]:
        captions = [[label, style, choices] for (label, style), choices in self.captions.items()]
        return {
            "width": self.base.size[0],
            "height": self.base.size[1],
            "captions": len(set().union(*self.captions.values())),
            "captions_fingerprint": digest(captions),
        }

    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        generator = self.load(device, mode="labels")
        pipeline = generator.pipeline
        if not isinstance(pipeline, StableDiffusionPipeline):
            kind = type(pipeline).__name__
            raise UserError(f"{generator.id} is a {kind}; only a StableDiffusionPipeline is fine-tuned")
        condition = CaptionCondition(generator, self.images, self.captions, CONDITION_DROPOUT)
        schedule = noise_schedule(pipeline.scheduler.config)
        examples = Examples(generator, self.images, condition, self.config)
        return self._trainable(pipeline.unet), schedule, examples

    def _trainable(self, unet: UNet2DConditionModel) -> UNet2DConditionModel:
        """Enable gradients for all of `unet`, or only for a LoRA that is added to it."""
        if self.config.method == "full":
            unet.requires_grad_(True)
            return unet.train()
        unet.requires_grad_(False)
        torch.manual_seed(hashed_seed(self.seed, "lora"))
        # With alpha = rank, the scale of the LoRA is 1.
        rank: Any = self.config.lora_rank
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LORA_LAYERS))
        return unet.train()

    def save(self, out: Path, model: Model) -> None:
        if self.config.method == "lora":
            save_lora(out, model)
        else:
            _, base = locate(self.base)
            save_full(out, base, self.base.variant, model)


def captions_of(prompts: PromptConfig, images: ImageSet, labels: LabelSpace) -> dict[tuple[int, str], tuple[str, ...]]:
    """Return the captions of every label and style in `images`, sorted by label and style: the prompts of the class.

    A style takes the prompts that name it. If there are none, it takes the prompts that name no style; without these
    either, the caption is "a" and the class name.
    """
    templates = class_templates(prompts, labels)
    pairs = set(zip(images.labels.tolist(), images.styles, strict=True))
    captions = {}
    for label, style in sorted(pairs):
        of_style = [template for template in templates[label] if template.style == style]
        without_style = [template for template in templates[label] if not template.style]
        name = labels.classes[label].prompt
        texts = [template.fill(name) for template in of_style or without_style]
        captions[label, style] = tuple(texts) or (f"a {name}",)
    return captions


class CaptionCondition:
    """Encoded captions: one of each image's, at random. A share `dropout` of them is empty."""

    def __init__(self, generator: Generator, images: ImageSet, captions: Captions, dropout: float) -> None:
        self._dropout = dropout
        # Text 0 is empty. Each text is encoded once.
        numbers = {"": 0}
        for choices in captions.values():
            for text in choices:
                numbers.setdefault(text, len(numbers))
        # The numbers of the captions of each image.
        self._choices: list[list[int]] = []
        for pair in zip(images.labels.tolist(), images.styles, strict=True):
            self._choices.append([numbers[text] for text in captions[pair]])
        self._contexts = encode_captions(generator, list(numbers))

    def __call__(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Return the text encoder's states of a caption of each image, [B, T, D]."""
        draws = torch.randint(1 << 31, images.shape, generator=source).tolist()
        is_dropped = (torch.rand(images.shape, generator=source) < self._dropout).tolist()
        texts = []
        for image, draw, dropped in zip(images.tolist(), draws, is_dropped, strict=True):
            choices = self._choices[image]
            texts.append(0 if dropped else choices[draw % len(choices)])
        return self._contexts[torch.tensor(texts)]


def encode_captions(generator: Generator, texts: Sequence[str]) -> Encoded:
    """Return the states of the generator's text encoder for each of `texts`, float32 [T, D]."""

    @torch.inference_mode()
    def encode(numbers: Sequence[int]) -> Tensor:
        states, _ = generator.pipeline.encode_prompt(
            [texts[number] for number in numbers],
            generator.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        return states.float().cpu()

    return Encoded("encoding captions", "captions", len(texts), encode, ENCODED_TEXTS)
