"""Tiny generators on disk, and what a generated dataset needs beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from drawn import CPU
from tiny import KINDS, saved, stable_diffusion
from tiny_modern import EDITING, MODERN

from genrobust.core import ClassLabel, ImageSet, LabelSpace, StudyData
from genrobust.data import MemoryImages
from genrobust.generate import Plan, plan_of
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.sampler import Sampler
from genrobust.recipe import GenerateConfig, GeneratorConfig, PromptConfig


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    """No test asks the hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the tiny pipeline of a kind in `tiny.KINDS` or `tiny_modern`."""
    return cache(lambda kind: saved({**KINDS, **MODERN, **EDITING}[kind](), tmp_path_factory.mktemp(f"tiny-{kind}")))


@pytest.fixture(scope="session")
def generator_folder(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("sd")


Change = Callable[[StableDiffusionPipeline], object]


@pytest.fixture(scope="session")
def changed_generator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Change], Path]:
    """Makes a folder of the tiny Stable Diffusion after `change` has had its way with it."""

    def make(change: Change) -> Path:
        pipeline = stable_diffusion()
        with torch.no_grad():
            change(pipeline)
        return saved(pipeline, tmp_path_factory.mktemp("changed-generator"))

    return make


@pytest.fixture
def generator(generator_folder: Path) -> GeneratorConfig:
    return GeneratorConfig(model=str(generator_folder), steps=2, dtype="float32")


@pytest.fixture
def section(folder_of: Callable[[str], Path]) -> Callable[..., GeneratorConfig]:
    """A section with the tiny pipeline of a kind, as its authors sample it: 64 px in few steps."""

    def make(kind: str = "sd", **more: Any) -> GeneratorConfig:
        own = {"model": str(folder_of(kind)), "steps": 2, "dtype": "float32", "width": 64, "height": 64}
        own["scheduler"] = "ddim" if kind in ("sd", "dit") else None
        if kind == "dit":
            own = {key: value for key, value in own.items() if key not in ("width", "height")} | {"mode": "class"}
        turbo = {"steps": 1, "guidance_scale": 0.0} if kind == "sdxl-turbo" else {}
        return GeneratorConfig.model_validate({**own, **turbo, **more})

    return make


@pytest.fixture
def labels() -> LabelSpace:
    names = {"camera": "カメラ", "guitar": "Guitar", "rocket": "rocket"}
    return LabelSpace(tuple(ClassLabel(id, id.title(), id, name) for id, name in names.items()))


@pytest.fixture(scope="session")
def real(pictogram_data: StudyData) -> ImageSet:
    """Four real images of each of three classes."""
    train = pictogram_data.train
    chosen = [(label, int(index)) for label in (0, 1, 2) for index in np.flatnonzero(train.labels == label)[:4]]
    pixels = [np.asarray(train.image(index)) for _, index in chosen]
    return MemoryImages("train", pixels, [label for label, _ in chosen], [train.keys[index] for _, index in chosen])


@pytest.fixture
def config() -> GenerateConfig:
    return GenerateConfig(per_class=4, shard_size=6, batch_size=4, prompts=PromptConfig())


@pytest.fixture
def plan(labels: LabelSpace, real: ImageSet) -> Callable[..., Plan]:
    """The plan of a generator section."""

    def make(generator: GeneratorConfig, per_class: int = 2, data_seed: int = 3, **prompts: Any) -> Plan:
        asked = GenerateConfig(per_class=per_class, prompts=PromptConfig(**prompts))
        return plan_of(generator, asked, labels, real, data_seed)

    return make


@pytest.fixture
def sampler(labels: LabelSpace, real: ImageSet) -> Callable[..., Sampler]:
    """A sampler of a generator section; `prepare` may change the loaded pipeline before it draws."""

    def make(
        config: GeneratorConfig,
        prepare: Callable[[Any], object] = lambda pipeline: None,
        redraws: int = 2,
        sources: ImageSet | None = real,
    ) -> Sampler:
        engine = DiffusersEngine(config, labels, sources, CPU)
        with torch.no_grad():
            prepare(engine.generator.pipeline)
        return Sampler(engine, redraws)

    return make
