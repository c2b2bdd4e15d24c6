"""The training of a generator: what it learns from, what each step sees of it, and how wrong the model is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.training_utils import compute_snr
from PIL import Image, ImageOps
from torch import Tensor

from genrobust.core import ImageSet, LabelSpace, UserError, hashed_seed, no_progress, progress_bar, repeatable
from genrobust.generate.loading import load_generator
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.recipe import GeneratorTraining

Model = Any  # a U-Net or a transformer of diffusers: called with noisy latents, timesteps and context
Schedule = Any  # a DDPMScheduler, which gets its attributes at run time
# Returns what a model draws images by, given their indices, int64 [B], and the source of what is random in it.
Condition = Callable[[Tensor, torch.Generator], Tensor]

KEPT_BYTES = 3 << 30  # of latents, and of captions: 24,000 images and 13,000 captions of Stable Diffusion at 512 px
MIN_SNR = 5.0  # that of a noise level from which on its weight falls, as in the paper
CONDITION_DROPOUT = 0.1  # the share that is learned without its condition, for classifier-free guidance
ENCODED_PIXELS = 8 * 512 * 512  # go through the autoencoder at once


@dataclass
class Objective(ABC):
    """The task of a model and its images: the one difference between the kinds of training.

    To make one loads no weights.

    Attributes:
        base: The generator that is fine-tuned, or whose autoencoder and noise schedule a class model takes.
        config: A FinetuneConfig or a ClassModelConfig.
        images: The real images. They are fitted to the size of the generator's: scaled, and cropped around the center.
        labels: Their classes.

    Raises:
        UserError: The base or the images do not fit.
    """

    base: DiffusersConfig
    config: Any
    images: ImageSet
    labels: LabelSpace
    seed: int

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """Return what decides the weights beside the images, the base's weights and the section, as flat JSON."""

    @abstractmethod
    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        """Return the model, on `device`, whose parameters with gradients are trained, its noise schedule, and examples.

        Raises:
            UserError: The base does not fit.
        """

    @abstractmethod
    def save(self, out: Path, model: Model) -> None:
        """Write the trained model into the folder `out`."""

    def load(self, device: torch.device, **changes: Any) -> Generator:
        """Load the base in float32, with its own scheduler, and with nothing that makes drawing faster or smaller."""
        settings: dict[str, Any] = {"lora": None, "scheduler": None, "safety_checker": False, "compile": False}
        settings |= {"offload": "none", "steps": 1, "dtype": "float32", **changes}
        supported = {key: value for key, value in settings.items() if key in type(self.base).model_fields}
        return load_generator(self.base.model_copy(update=supported), device)


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs of a step: clean `latents`, `noise` [B, C, h, w], `timesteps` int64 [B], their `context`.

    That is what the model draws by: the states of a text encoder [B, T, D], or class numbers, int64 [B].
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    context: Tensor

    def parts(self, count: int, device: torch.device) -> Iterator[Batch]:
        """Return the batch in `count` parts, or fewer where it is smaller, each moved to `device`."""
        tensors = (self.latents, self.noise, self.timesteps, self.context)
        for part in zip(*(tensor.chunk(count) for tensor in tensors), strict=True):
            if device.type == "cuda":  # whose copies are asynchronous from pinned memory
                part = tuple(tensor.pin_memory() for tensor in part)
            yield Batch(*(tensor.to(device, non_blocking=True) for tensor in part))


class Examples:
    """The real images as a model learns them: their latents, and what it draws each by.

    Both are encoded once and kept in memory where they fit, and else whenever a batch asks for them.
    """

    def __init__(self, generator: Generator, images: ImageSet, condition: Condition, config: GeneratorTraining) -> None:
        self._images, self._condition, self._config = images, condition, config
        self._vae, self._device = generator.pipeline.vae, generator.device
        self._size = (generator.width, generator.height)
        self._steps = generator.pipeline.scheduler.config.num_train_timesteps
        views = 2 * len(images) if config.flip else len(images)
        chunk = chunk_of(self._size)
        self._posteriors = Encoded("encoding images", "encoded images", views, self._encode_views, chunk)

    def batch(self, seed: int, step: int) -> Batch:
        """Return batch `step`: images with replacement, context, flip, time and noise, by (`seed`, `step`) alone.

        Drawn on the CPU, where it lies, so that every device sees the same.
        """
        config = self._config
        source = torch.Generator().manual_seed(hashed_seed(seed, config.section, step))
        images = torch.randint(len(self._images), (config.batch_size,), generator=source)
        context = self._condition(images, source)
        flipped = torch.randint(2, images.shape, generator=source) if config.flip else 0
        timesteps = torch.randint(self._steps, images.shape, generator=source)
        latents = self._latents(images + len(self._images) * flipped, source)
        noise = torch.randn(latents.shape, generator=source)
        return Batch(latents, noise, timesteps, context)

    def _latents(self, views: Tensor, source: torch.Generator) -> Tensor:
        """A sample of each view's posterior, as the model sees it: float32 [B, C, h, w]."""
        config = self._vae.config
        sample = DiagonalGaussianDistribution(self._posteriors[views]).sample(source)
        return (sample - (config.shift_factor or 0.0)) * config.scaling_factor

    @repeatable(tf32=True)  # has the bits of float16, in which others encode, and is many times as fast on a GPU
    @torch.inference_mode()
    def _encode_views(self, views: Sequence[int]) -> Tensor:
        """Means and log variances [B, 2C, h, w] of images; a view beyond their number is an image mirrored."""
        pixels = load_views(self._images, views, self._size).to(self._device)
        return self._vae.encode(in_range(pixels)).latent_dist.parameters.float().cpu()


def load_views(images: ImageSet, views: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Return views of images, scaled and cropped to `size`, uint8 [B, 3, h, w].

    A view beyond the number of the images is an image mirrored.
    """

    def load(view: int) -> np.ndarray:
        flipped, index = divmod(view, len(images))
        image = ImageOps.fit(images.image(index), size, Image.Resampling.BICUBIC)
        return np.asarray(ImageOps.mirror(image) if flipped else image)

    with ThreadPoolExecutor() as pool:
        return torch.from_numpy(np.stack(list(pool.map(load, views)))).permute(0, 3, 1, 2)


def chunk_of(size: tuple[int, int]) -> int:
    """Return how many images of `size`, width and height in pixels, go through an autoencoder at once."""
    return max(1, ENCODED_PIXELS // (size[0] * size[1]))


def in_range(pixels: Tensor) -> Tensor:
    """Return uint8 pixels as an autoencoder takes them: float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


class Encoded:
    """`count` items as tensors, by number, encoded `chunk` at once.

    Encoded now and kept where all fit into KEPT_BYTES; which of the two it is depends on no earlier batch, so a resumed
    run computes what an undisturbed one does.
    """

    def __init__(
        self, title: str, unit: str, count: int, encode: Callable[[Sequence[int]], Tensor], chunk: int
    ) -> None:
        self._encode, self._chunk = encode, chunk
        self._kept: Tensor | None = None
        if count * encode([0]).nbytes <= KEPT_BYTES:
            with progress_bar(title, count, unit) as bar:
                self._kept = self._encode_chunks(range(count), bar.advance)

    def __getitem__(self, numbers: Tensor) -> Tensor:
        return self._encode_chunks(numbers.tolist()) if self._kept is None else self._kept[numbers]

    def _encode_chunks(self, numbers: Sequence[int], done: Callable[[int], None] = no_progress) -> Tensor:
        every = torch.empty(0)
        for start in range(0, len(numbers), self._chunk):
            encoded = self._encode(numbers[start : start + self._chunk])
            if start == 0:  # at once: all parts beside their sum would take twice the memory
                every = encoded.new_empty((len(numbers), *encoded.shape[1:]))
            every[start : start + len(encoded)] = encoded
            done(len(encoded))
        return every


def noise_schedule(scheduler_config: Any) -> Schedule:
    """Return the noise schedule that a pipeline with this scheduler configuration was trained with.

    Raises:
        UserError: It predicts neither the noise ("epsilon") nor the velocity ("v_prediction").
    """
    schedule: Schedule = DDPMScheduler.from_config(scheduler_config)
    kind = schedule.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise UserError(f"a generator whose scheduler says prediction_type {kind!r} cannot be fine-tuned here")
    return schedule


def target(schedule: Schedule, batch: Batch) -> Tensor:
    """Return what the model learns to predict, [B, C, h, w]: the noise, or the velocity (Salimans and Ho 2022)."""
    if schedule.config.prediction_type == "epsilon":
        return batch.noise
    return schedule.get_velocity(batch.latents, batch.noise, batch.timesteps)


def snr_weights(schedule: Schedule, timesteps: Tensor) -> Tensor:
    """Return Min-SNR weights of squared errors (Hang et al. 2023), [B].

    They are min(SNR, 5) / SNR for a model that predicts the noise, and / (SNR + 1) for one of the velocity.
    """
    snr = compute_snr(schedule, timesteps)
    return snr.clamp(max=MIN_SNR) / (snr if schedule.config.prediction_type == "epsilon" else snr + 1)


def losses(schedule: Schedule, model: Model, batch: Batch) -> Tensor:
    """Return the weighted squared error of each image, float32 [B]."""
    noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
    prediction = model(noisy, batch.timesteps, batch.context).sample
    errors = (prediction.float() - target(schedule, batch)).square().mean((1, 2, 3))
    return errors * snr_weights(schedule, batch.timesteps)
