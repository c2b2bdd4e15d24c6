"""The training of a generator: its task, the examples of each step, and the loss."""

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

from genrobust.core import ImageSet, LabelSpace, UserError, hashed_seed, progress_bar, repeatable
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import GeneratorTraining
from genrobust.store import no_progress

# A U-Net or a transformer of diffusers: called with noisy latents, timesteps and context.
Model = Any
# A DDPMScheduler, which gets its attributes at run time.
Schedule = Any
# Returns the context of images, given their indices, int64 [B], and a source of random numbers.
Condition = Callable[[Tensor, torch.Generator], Tensor]

# Encoded latents, or captions, kept in memory: 24,000 images or 13,000 captions of Stable Diffusion at 512 px.
KEPT_BYTES = 3 << 30
# Signal-to-noise ratio above which the weight of a noise level falls, as in the paper (Hang et al., 2023).
MIN_SNR = 5.0
# Share of the examples that are learned without their condition, for classifier-free guidance.
CONDITION_DROPOUT = 0.1
# Pixels that go through the autoencoder at once.
ENCODED_PIXELS = 8 * 512 * 512
PREDICTIONS = ("epsilon", "v_prediction")


@dataclass
class Objective(ABC):
    """The task of a model and its images: what differs between the kinds of training. Creating one loads no weights.

    Attributes:
        base: The generator that is fine-tuned, or that lends a class model its autoencoder and noise schedule.
        config: A FinetuneConfig or a ClassModelConfig.
        images: The real images. They are scaled and cropped around the center to the size of the generator's.
        labels: Their classes.
    """

    base: DiffusersConfig
    config: Any
    images: ImageSet
    labels: LabelSpace
    seed: int

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """Return what decides the weights besides the images, the base's weights and the section, as flat JSON."""

    @abstractmethod
    def start(self, device: torch.device) -> tuple[Model, Schedule, Examples]:
        """Return the model on `device`, its noise schedule, and examples. Parameters with gradients are trained."""

    @abstractmethod
    def save(self, out: Path, model: Model) -> None:
        """Write the trained model into the folder `out`."""

    def load(self, device: torch.device, **changes: Any) -> Generator:
        """Load the base in float32, with its own scheduler, and without settings that only speed up drawing."""
        settings: dict[str, Any] = {
            "lora": None,
            "scheduler": None,
            "safety_checker": False,
            "compile": False,
            "offload": "none",
            "steps": 1,
            "dtype": "float32",
            **changes,
        }
        fields = type(self.base).model_fields
        supported = {key: value for key, value in settings.items() if key in fields}
        return load_generator(self.base.model_copy(update=supported), device)


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs of a step.

    Attributes:
        latents: Clean latents, float32 [B, C, h, w].
        noise: float32 [B, C, h, w].
        timesteps: int64 [B].
        context: The states of a text encoder [B, T, D], or class numbers, int64 [B].
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    context: Tensor

    def parts(self, count: int, device: torch.device) -> Iterator[Batch]:
        """Yield the batch in `count` parts, or fewer if it is smaller, each moved to `device`."""
        fields = (self.latents, self.noise, self.timesteps, self.context)
        for chunks in zip(*(field.chunk(count) for field in fields), strict=True):
            yield Batch(*(_to(chunk, device) for chunk in chunks))


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    # Copies to a GPU are asynchronous only from pinned memory.
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class Examples:
    """The real images as a model learns them: latents and context.

    Both are encoded once and kept if they fit into memory; otherwise they are encoded for every batch.
    """

    def __init__(self, generator: Generator, images: ImageSet, condition: Condition, config: GeneratorTraining) -> None:
        self._images, self._condition, self._config = images, condition, config
        self._vae, self._device = generator.pipeline.vae, generator.device
        self._size = (generator.width, generator.height)
        self._timesteps = generator.pipeline.scheduler.config.num_train_timesteps
        # View i is image i; with `flip`, view len(images) + i is image i mirrored.
        views = 2 * len(images) if config.flip else len(images)
        chunk = chunk_of(self._size)
        self._posteriors = Encoded("encoding images", "encoded images", views, self._encode_views, chunk)

    def batch(self, seed: int, step: int) -> Batch:
        """Draw batch `step`, a pure function of (`seed`, `step`): images with replacement, context, flip, time, noise.

        It is drawn and stays on the CPU, so that all devices see the same.
        """
        config = self._config
        source = torch.Generator().manual_seed(hashed_seed(seed, config.section, step))
        images = torch.randint(len(self._images), (config.batch_size,), generator=source)
        context = self._condition(images, source)
        views = images
        if config.flip:
            is_flipped = torch.randint(2, images.shape, generator=source)
            views = images + len(self._images) * is_flipped
        timesteps = torch.randint(self._timesteps, images.shape, generator=source)
        latents = self._sample_latents(views, source)
        noise = torch.randn(latents.shape, generator=source)
        return Batch(latents, noise, timesteps, context)

    def _sample_latents(self, views: Tensor, source: torch.Generator) -> Tensor:
        """Sample the posterior of each view, scaled as the model expects: float32 [B, C, h, w]."""
        config = self._vae.config
        sample = DiagonalGaussianDistribution(self._posteriors[views]).sample(source)
        return (sample - (config.shift_factor or 0.0)) * config.scaling_factor

    # TF32 has as many bits as float16, in which others encode, and is much faster on a GPU.
    @repeatable(tf32=True)
    @torch.inference_mode()
    def _encode_views(self, views: Sequence[int]) -> Tensor:
        """Return means and log variances of views, float32 [B, 2 C, h, w]."""
        pixels = load_views(self._images, views, self._size).to(self._device)
        return self._vae.encode(in_range(pixels)).latent_dist.parameters.float().cpu()


def load_views(images: ImageSet, views: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Load views of images, scaled and cropped to `size`, uint8 [B, 3, h, w].

    View i is image i; a view from the number of images on is an image mirrored.
    """

    def load(view: int) -> np.ndarray:
        is_flipped, index = divmod(view, len(images))
        image = ImageOps.fit(images.image(index), size, Image.Resampling.BICUBIC)
        if is_flipped:
            image = ImageOps.mirror(image)
        return np.asarray(image)

    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(load, views)))
    # [B, h, w, 3] -> [B, 3, h, w]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def chunk_of(size: tuple[int, int]) -> int:
    """Return how many images of `size` (width and height in pixels) go through an autoencoder at once."""
    width, height = size
    return max(1, ENCODED_PIXELS // (width * height))


def in_range(pixels: Tensor) -> Tensor:
    """Convert uint8 pixels to float32 in [-1, 1], the range of an autoencoder."""
    return pixels.float() / 127.5 - 1


class Encoded:
    """`count` encoded items, each a tensor, indexed by number.

    All are encoded now and kept if they fit into KEPT_BYTES. Whether they are kept does not depend on earlier batches,
    so a resumed run computes the same as an undisturbed one.
    """

    def __init__(
        self, title: str, unit: str, count: int, encode: Callable[[Sequence[int]], Tensor], chunk: int
    ) -> None:
        """Encode the items if they fit, `chunk` at once. `encode` returns the tensors of items, [B, ...]."""
        self._encode, self._chunk = encode, chunk
        self._kept: Tensor | None = None
        item_bytes = encode([0]).nbytes
        if count * item_bytes <= KEPT_BYTES:
            with progress_bar(title, count, unit) as bar:
                self._kept = self._encode_chunks(range(count), bar.advance)

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """Return the tensors of items, [B, ...]."""
        if self._kept is None:
            return self._encode_chunks(numbers.tolist())
        return self._kept[numbers]

    def _encode_chunks(self, numbers: Sequence[int], advance: Callable[[int], None] = no_progress) -> Tensor:
        whole = torch.empty(0)
        for start in range(0, len(numbers), self._chunk):
            encoded = self._encode(numbers[start : start + self._chunk])
            if start == 0:
                # Allocate once: to concatenate all chunks in the end would take twice the memory.
                whole = encoded.new_empty((len(numbers), *encoded.shape[1:]))
            whole[start : start + len(encoded)] = encoded
            advance(len(encoded))
        return whole


def noise_schedule(scheduler_config: Any) -> Schedule:
    """Return the noise schedule that a pipeline with this scheduler configuration was trained with."""
    schedule: Schedule = DDPMScheduler.from_config(scheduler_config)
    prediction = schedule.config.prediction_type
    if prediction not in PREDICTIONS:
        raise UserError(f"a generator whose scheduler says prediction_type {prediction!r} cannot be fine-tuned here")
    return schedule


def predicts_noise(schedule: Schedule) -> bool:
    return bool(schedule.config.prediction_type == "epsilon")


def target(schedule: Schedule, batch: Batch) -> Tensor:
    """Return what the model learns to predict, [B, C, h, w]: the noise, or the velocity (Salimans and Ho, 2022)."""
    if predicts_noise(schedule):
        return batch.noise
    return schedule.get_velocity(batch.latents, batch.noise, batch.timesteps)


def snr_weights(schedule: Schedule, timesteps: Tensor) -> Tensor:
    """Return Min-SNR weights of squared errors (Hang et al., 2023), [B].

    They are min(SNR, 5) / SNR for a model of the noise, and min(SNR, 5) / (SNR + 1) for a model of the velocity.
    """
    snr = compute_snr(schedule, timesteps)
    if predicts_noise(schedule):
        return snr.clamp(max=MIN_SNR) / snr
    return snr.clamp(max=MIN_SNR) / (snr + 1)


def losses(schedule: Schedule, model: Model, batch: Batch) -> Tensor:
    """Return the weighted squared error of each image, float32 [B]."""
    noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
    prediction = model(noisy, batch.timesteps, batch.context).sample
    errors = (prediction.float() - target(schedule, batch)).square().mean((1, 2, 3))
    return errors * snr_weights(schedule, batch.timesteps)
