"""The shipped CLIP and the generator that draws from images."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genrobust.classifiers.sources.clip import Clip, clip_embeddings, embed_texts, load_clip
from genrobust.core.assets import find_clip
from genrobust.data.readers.pictograms import load_pictograms
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.request_plan import plan_of
from genrobust.generate.sampler import Sampler
from genrobust.recipe.generate import GeneratorConfig
from genrobust.recipe.load import load_recipe

ASSETS = Path(str(resources.files("genrobust") / "assets"))


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(find_clip("pictograms"))


def test_the_clip_names_real_images(clip: Clip) -> None:
    data = load_pictograms()
    classes = embed_texts(clip, [f"a line icon of a {c.prompt}" for c in data.labels.classes])
    hits = (clip_embeddings(clip, data.val, batch_size=256) @ classes.T).argmax(1) == data.val.labels
    assert hits.mean() > 0.2, "1 % by chance"


def test_the_clip_reads_texts_as_the_generator_does(clip: Clip) -> None:
    text = load_file(ASSETS / "generator" / "text_encoder" / "model.safetensors")
    own = clip.model.text_model.state_dict()
    shared = {key.removeprefix("text_model."): value for key, value in text.items()}
    assert own.keys() == shared.keys()
    assert all(torch.equal(own[key], shared[key].half().float()) for key in own), "the same, in half precision"
    assert clip.model.num_parameters() <= 4_000_000


@pytest.fixture(scope="module")
def from_images() -> Sampler:
    data = load_pictograms()
    config = GeneratorConfig(mode="images", steps=12, dtype="float32")
    engine = DiffusersEngine(config, data.labels, data.train, torch.device("cpu"))
    return Sampler(engine, redraws=2)


def test_variations_are_drawings_and_none_is_its_source(from_images: Sampler) -> None:
    data, recipe = load_pictograms(), load_recipe("pictograms")
    plan = plan_of(GeneratorConfig(mode="images"), recipe.generate, data.labels, data.train, data_seed=0)
    requests = [plan[i] for i in range(8)]
    images = np.stack([d.image for d in from_images.draw(requests) if d.image is not None]) / 255
    assert images.shape == (8, 64, 64, 3)
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
    assert edges.mean() > 0.9, "the background is white"
    assert np.median(images.min((1, 2, 3))) < 0.3, "and something is drawn on it"
    keys = list(data.train.keys)
    sources = np.stack([np.asarray(data.train.image(keys.index(r.source or ""))) for r in requests]) / 255
    assert abs(images - sources).mean((1, 2, 3)).min() > 0.01


def test_variations_see_with_the_clips_own_tower(clip: Clip) -> None:
    tower = load_file(ASSETS / "variation" / "image_encoder" / "model.safetensors")
    own = clip.model.state_dict()
    assert all(torch.equal(own[key], value.half().float()) for key, value in tower.items()), "the same, in half"


def test_the_variation_generator_is_within_its_bounds() -> None:
    unet = load_file(ASSETS / "variation" / "unet" / "diffusion_pytorch_model.safetensors")
    assert sum(weights.numel() for weights in unet.values()) <= 5_000_000
    assert {weights.dtype for weights in unet.values()} == {torch.float16}


def test_no_shipped_file_names_a_place_on_the_machine_that_made_it() -> None:
    texts = {file: file.read_text() for suffix in ("*.json", "*.md") for file in ASSETS.rglob(suffix)}
    assert texts and not [file.name for file, text in texts.items() if re.search(r'"(/|[A-Z]:)\w+[/\\]', text)]
