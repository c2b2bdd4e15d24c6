"""The shipped generator is a plain diffusers folder: it loads and samples with nothing said."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

ASSETS = resources.files("genrobust") / "assets"


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(str(ASSETS / "generator"))
    loaded.set_progress_bar_config(disable=True)
    return loaded


def sample(pipeline: StableDiffusionPipeline, prompt: str, seed: int = 0) -> np.ndarray:
    out = pipeline(
        prompt,
        num_inference_steps=12,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    )
    return out.images[0]


def test_it_samples_64_px_images_that_are_drawings(pipeline: StableDiffusionPipeline) -> None:
    image = sample(pipeline, "a line icon of a camera")
    assert image.shape == (64, 64, 3)
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert edge.mean() > 0.9, "the background is white"
    assert image.min() < 0.3, "and something is drawn on it"


@pytest.mark.thorough
def test_styles_have_their_colors(pipeline: StableDiffusionPipeline) -> None:
    def chroma(prompt: str) -> float:
        return float(np.mean([np.ptp(sample(pipeline, prompt, seed), axis=2).mean() for seed in range(2)]))

    assert chroma("an emoji of a heart") > 0.1 > 4 * chroma("a solid black glyph of a heart")


def test_the_parts_are_within_their_bounds(pipeline: StableDiffusionPipeline) -> None:
    assert pipeline.unet.num_parameters() <= 8_000_000
    assert pipeline.text_encoder.num_parameters() <= 4_000_000
    assert len(pipeline.tokenizer) <= 2000
