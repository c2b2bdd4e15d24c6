"""The conditionings: for each mode of a recipe, how a request becomes the arguments of a diffusers pipeline's call."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    DiTPipeline,
    StableDiffusionImageVariationPipeline,
)
from diffusers.pipelines.auto_pipeline import AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, AUTO_TEXT2IMAGE_PIPELINES_MAPPING
from PIL import Image, ImageOps

from genrobust.core import ImageSet, LabelSpace, Request, UserError
from genrobust.generate.classes import class_numbers, with_its_own_null_class
from genrobust.generate.encode import ENCODED, Prompts

if TYPE_CHECKING:
    from genrobust.generate.pipeline import Generator

# Families that AutoPipeline knows; those steered by an edge map, a pose or an edit want more than a study has.
_FAMILIES = {
    f: text for f, text in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items() if "control" not in f and "kontext" not in f
}
_TEXT = {pipeline.__name__ for pipeline in _FAMILIES.values()}
_FROM_IMAGES = {f: pipeline for f, pipeline in AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.items() if f in _FAMILIES}
_TEXT_AND_IMAGES = {c.__name__ for f, image in _FROM_IMAGES.items() for c in (image, _FAMILIES[f])}


class Mode(Protocol):
    """One conditioning. Draws nothing itself: it says what the pipeline's call is to be told of each request.

    `loader` is the diffusers class that loads a folder, `kinds` what its model_index.json may name, `needs` that in
    words. What a request gets depends on it alone: no other request of the batch enters, beyond rounding.
    """

    loader: ClassVar[Any]
    kinds: ClassVar[frozenset[str]]
    needs: ClassVar[str]

    def __init__(self, generator: Generator, labels: LabelSpace, sources: ImageSet | None) -> None:
        """Raises UserError where the generator, the classes or the images do not fit the mode."""

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        """The keyword arguments of the pipeline's call that belong to `requests`; `noise` holds a source for each."""
        ...


class Labels(Mode):
    """A prompt with the class's name: text-to-image."""

    loader = AutoPipelineForText2Image
    kinds = frozenset(_TEXT | _TEXT_AND_IMAGES)
    needs = "a text-to-image pipeline, such as a StableDiffusionPipeline or a StableDiffusionXLPipeline"

    def __init__(self, generator: Generator, labels: LabelSpace, sources: ImageSet | None) -> None:
        self._generator = generator
        self._prompts = Prompts(generator)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        known = type(self._generator.pipeline).__name__ in ENCODED  # others draw noise of their own shape themselves
        starts = {"latents": _latents(self._generator, noise)} if known else {}
        return {**self._prompts.arguments(requests), **starts, **_size(self._generator)}


class Images(Mode):
    """A real image of the class, through its CLIP embedding: variations of it, without text."""

    loader = StableDiffusionImageVariationPipeline
    kinds = frozenset({"StableDiffusionImageVariationPipeline"})
    needs = "a StableDiffusionImageVariationPipeline"

    def __init__(self, generator: Generator, labels: LabelSpace, sources: ImageSet | None) -> None:
        if generator.pipeline.feature_extractor is None:
            raise UserError(f"the generator {generator.id} lacks its feature_extractor, which prepares the real images")
        self._generator = generator
        self._sources = SourceImages(sources)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        prepare = self._generator.pipeline.feature_extractor
        pixels = [prepare(images=self._sources.of(r), return_tensors="pt").pixel_values for r in requests]
        return {"image": torch.cat(pixels), "latents": _latents(self._generator, noise), **_size(self._generator)}


class LabelsAndImages(Mode):
    """A prompt, and a real image of the class that is noised by `strength` and denoised again: image-to-image."""

    loader = AutoPipelineForImage2Image
    kinds = frozenset(_TEXT_AND_IMAGES)
    needs = "a pipeline that draws from text and an image, such as a StableDiffusionPipeline"

    def __init__(self, generator: Generator, labels: LabelSpace, sources: ImageSet | None) -> None:
        self._generator = generator
        self._prompts = Prompts(generator)
        self._sources = SourceImages(sources)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        size = (self._generator.width, self._generator.height)
        images = [ImageOps.fit(self._sources.of(r), size, Image.Resampling.LANCZOS) for r in requests]
        strength = {"strength": self._generator.config.strength}
        return {**self._prompts.arguments(requests), "image": images, **strength, **_size(self._generator)}


class Classes(Mode):
    """The class's number alone, for a class-conditional diffusion transformer."""

    loader = DiTPipeline
    kinds = frozenset({"DiTPipeline"})
    needs = "a DiTPipeline"

    def __init__(self, generator: Generator, labels: LabelSpace, sources: ImageSet | None) -> None:
        self._numbers = class_numbers(generator, labels)
        if generator.config.guidance_scale > 1:
            with_its_own_null_class(generator.pipeline.transformer)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        return {"class_labels": [self._numbers[request.label] for request in requests]}


MODES: dict[str, type[Mode]] = {
    "labels": Labels,
    "images": Images,
    "labels+images": LabelsAndImages,
    "class": Classes,
}


class SourceImages:
    """The real images that requests name, by key."""

    def __init__(self, images: ImageSet | None) -> None:
        if images is None:
            raise UserError("this generator.mode draws from real images: hand in the training images")
        self._images = images
        self._places = {key: place for place, key in enumerate(images.keys)}

    def of(self, request: Request) -> Image.Image:
        """The image that `request` begins from, RGB; raises UserError, naming its key, where it cannot be had."""
        if request.source is None:
            raise UserError(f"the request {request.key} names no source image: plan it with the training images")
        what = f"the source image {request.source} of the request {request.key}"
        if request.source not in self._places:
            raise UserError(f"{what} is not among the images of {self._images.name}: put it back, or plan anew")
        try:
            return self._images.image(self._places[request.source])
        except (UserError, OSError) as error:
            raise UserError(f"{what} cannot be read: {error}") from error


def _latents(generator: Generator, noise: Sequence[torch.Generator]) -> torch.Tensor:
    """[B, C, h, w] of noise in the UNet's dtype, drawn in float32 so that every dtype starts from the same."""
    drawn = torch.stack([torch.randn(generator.latent_shape, generator=source) for source in noise])
    return drawn.to(generator.device, generator.pipeline.unet.dtype)


def _size(generator: Generator) -> dict[str, int]:
    """Width and height in pixels, where the pipeline's call takes them; else they are those of the image handed in."""
    taken = inspect.signature(generator.pipeline.__call__).parameters
    return {n: v for n, v in (("width", generator.width), ("height", generator.height)) if n in taken}
