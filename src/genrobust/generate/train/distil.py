"""The distillation of a generator: a student that draws in a few steps what its teacher draws in many, guided ones.

The teacher is the generator itself. From noise and a prompt it goes to an image, and the student learns to go in one
step of DDIM where the teacher goes in `SUBSTEPS` (Luhman and Luhman 2021, arXiv:2101.02388). Guidance takes two calls
of the network a step; the student learns its result and takes one (Meng et al. 2023, arXiv:2210.03142). No image is
needed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
from diffusers import UniPCMultistepScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from genrobust.classifiers import autocast
from genrobust.core import UserError, digest, hashed_seed, repeatable
from genrobust.generate.mode import Generator
from genrobust.generate.templates import class_templates
from genrobust.generate.train.finetune import Finetune, encode_captions
from genrobust.generate.train.objective import (
    Batch,
    Encoded,
    Losses,
    Model,
    Schedule,
    chunk_of,
    noise_schedule,
    squared_errors,
)
from genrobust.recipe import SUBSTEPS


@dataclass
class Distillation(Finetune):
    """A UNet, or a LoRA for it, that learns to draw the recipe's prompts in `config.distil` steps without guidance."""

    lora_layers: ClassVar[list[str]] = [  # as in LCM-LoRA (Luo et al. 2023, arXiv:2311.05556)
        *Finetune.lora_layers,
        *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj"),
        *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
    ]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base.guidance_scale <= 1:
            raise UserError(
                f"generator.guidance_scale is {self.base.guidance_scale:g}, which guides nothing: distillation puts "
                "guidance into the weights: raise it above 1"
            )
        templates = class_templates(self.prompts, self.labels)
        names = [c.prompt for c in self.labels.classes]
        self.texts = [t.fill(name) for name, of_class in zip(names, templates, strict=True) for t in of_class]

    def inputs(self) -> dict[str, Any]:
        return {
            "width": self.base.size[0],
            "height": self.base.size[1],
            "prompts": len(self.texts),
            "prompts_fingerprint": digest([self.prompts.negative_prompt, *self.texts]),
            "guidance_scale": self.base.guidance_scale,
        }

    def start(self, device: torch.device) -> tuple[Model, Losses, Drawn]:
        generator = self.load_unet(device)
        schedule = noise_schedule(generator.pipeline.scheduler.config)
        teacher = Teacher(generator, schedule, [self.prompts.negative_prompt, *self.texts], self)
        chunk = chunk_of((generator.width, generator.height))
        drawn = Encoded("drawing what it learns", "drawn images", self.config.distil_images, teacher.draw, chunk)
        student = self.trainable(generator.pipeline.unet)
        return student, partial(distillation_losses, schedule), Drawn(drawn, teacher, self.config)


class Teacher:
    """The generator that draws with guidance, and shows what its student has to guess.

    Its image of number n is of prompt n, in turn, from noise of its own; the first of `texts` is no prompt, but what
    guidance steers away from.
    """

    def __init__(self, generator: Generator, schedule: Schedule, texts: Sequence[str], task: Distillation) -> None:
        self._unet = copy.deepcopy(generator.pipeline.unet).requires_grad_(False)  # the student changes the other
        self._contexts, self._schedule, self._task = encode_captions(generator, texts), schedule, task
        self.timesteps: Tensor = self._scheduler().timesteps[::SUBSTEPS]  # of the student
        scale = generator.pipeline.vae_scale_factor
        self._shape = self._unet.config.in_channels, generator.height // scale, generator.width // scale

    def _scheduler(self) -> Any:
        """What takes the steps of one drawing: trailing, so that they begin with pure noise, as the student's do."""
        scheduler: Any = UniPCMultistepScheduler.from_config(self._schedule.config, timestep_spacing="trailing")
        scheduler.set_timesteps(SUBSTEPS * self._task.config.distil)
        return scheduler

    def context(self, numbers: Tensor) -> Tensor:
        """Return the states of the text encoder for the images of these numbers, [B, T, D]."""
        return self._contexts[1 + numbers % (self._contexts.count - 1)]

    @repeatable(tf32=True)
    @torch.inference_mode()
    def draw(self, numbers: Sequence[int]) -> Tensor:
        """Return the image to guess and the noise beside it, at each of the student's steps, [B, steps, 2, C, h, w]."""
        device, task = self._unet.device, self._task
        seeds = (hashed_seed(task.seed, "distil", number) for number in numbers)
        noise = torch.stack([torch.randn(self._shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
        empty, context = self._contexts[torch.tensor([0])], self.context(torch.tensor(numbers))
        contexts = torch.cat([empty.expand(len(context), -1, -1), context]).to(device)
        scheduler, latents = self._scheduler(), noise.to(device)
        points = [latents]
        for number, timestep in enumerate(scheduler.timesteps.to(device), 1):
            with autocast(device, task.config.precision):
                both = self._unet(torch.cat([latents, latents]), timestep, contexts).sample.float()
            without, within = both.chunk(2)
            guided = without + task.base.guidance_scale * (within - without)
            latents = scheduler.step(guided, timestep, latents).prev_sample
            if number % SUBSTEPS == 0:
                points.append(latents)
        return guesses(self._schedule, self.timesteps, points).cpu()


def guesses(schedule: Schedule, timesteps: Tensor, points: Sequence[Tensor]) -> Tensor:
    """Return what takes a step of DDIM from each of `points` to the next, image and noise: [B, steps, 2, C, h, w].

    The points, [B, C, h, w], lie at `timesteps`, the last at the end, where no noise is left. A step keeps the noise
    and changes its share, so the two points say which image has to be guessed at the first (Salimans and Ho 2022,
    arXiv:2202.00512, appendix G).
    """
    signal = torch.cat([schedule.alphas_cumprod[timesteps.cpu()], torch.ones(1)])
    alphas, sigmas = signal.sqrt().tolist(), (1 - signal).sqrt().tolist()
    found = []
    for step, (before, after) in enumerate(pairwise(points)):
        ratio = sigmas[step + 1] / sigmas[step]
        image = (after - ratio * before) / (alphas[step + 1] - ratio * alphas[step])
        found.append(torch.stack([image, (before - alphas[step] * image) / sigmas[step]], 1))
    return torch.stack(found, 1)


class Drawn:
    """What a student sees: latents of `drawn`, what the teacher drew, each at one of the student's timesteps."""

    def __init__(self, drawn: Encoded, teacher: Teacher, config: Any) -> None:
        self.drawn, self._teacher, self._config = drawn, teacher, config

    def batch(self, seed: int, step: int) -> Batch:
        """Return batch `step`, by (`seed`, `step`) alone."""
        size, timesteps = self._config.batch_size, self._teacher.timesteps
        source = torch.Generator().manual_seed(hashed_seed(seed, self._config.section, step))
        numbers = torch.randint(self.drawn.count, (size,), generator=source)
        steps = torch.randint(len(timesteps), (size,), generator=source)
        image, noise = self.drawn[numbers][torch.arange(size), steps].unbind(1)
        return Batch(image, noise, timesteps[steps], self._teacher.context(numbers))


def distillation_losses(schedule: Schedule, model: Model, batch: Batch) -> Tensor:
    """Return the squared error of the velocity for each image, float32 [B], also of a model that predicts the noise.

    Its own error would count next to nothing at the first step, which has to guess the image from noise alone.
    """
    errors = squared_errors(schedule, model, batch)
    if schedule.config.prediction_type == "v_prediction":
        return errors
    snr = compute_snr(schedule, batch.timesteps)
    return errors * (snr + 1) / snr
