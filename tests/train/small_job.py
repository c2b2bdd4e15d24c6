"""A small training job on a slice of the pictograms, for tests and for the processes that they kill."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust.classifiers import checkpoint_manifest, open_initial
from genrobust.classifiers.networks import training_state
from genrobust.core import ImageSet, LabelSpace, Subset, set_threads
from genrobust.data.readers import pictograms
from genrobust.recipe import TrainConfig
from genrobust.store import Artifact
from genrobust.train import Mixture, Source, TrainingJob, Watch, train
from genrobust.train.loop import Training

CONFIG = TrainConfig(
    architecture="test_resnet",
    image_size=32,
    steps=12,
    batch_size=16,
    warmup_steps=2,
    validate_every=4,
    save_every=3,
    precision="float32",
    keep="best",
)


class Job:
    """Eight classes at 32 px: `real` has 130 images or so, `wild` 500, `val` about 20."""

    def __init__(self) -> None:
        data = pictograms.load_pictograms()
        assert data.retrieval is not None
        self.labels = LabelSpace(data.labels.classes[:8])
        self.real, self.wild, self.val = (_first(s, 8) for s in (data.train, data.retrieval, data.val))
        self.config = CONFIG

    def sources(self, real: float | None = 1, generated: float | None = 2) -> list[Source]:
        """Real and generated images, in these shares."""
        return [Source("real", self.real, real), Source("generated", self.wild, generated)]

    def mixture(
        self, config: TrainConfig = CONFIG, sources: list[Source] | None = None, interpolation: str = "bicubic"
    ) -> Mixture:
        sources = sources or [Source("real", self.real)]
        return Mixture(sources, config.batch_size, config.image_size, config.crop, None, interpolation)

    def run(
        self,
        out: Path,
        sources: list[Source] | None = None,
        watch: Watch = lambda step, metrics: None,
        **changes: Any,
    ) -> Path:
        return train(self.described(out, sources, **changes), watch)

    def begun(
        self, out: Path, training: type[Training] = Training, sources: list[Source] | None = None, **changes: Any
    ) -> Training:
        """A training before its first step, the same as `run`."""
        job = self.described(out, sources, **changes)
        set_threads(job.threads)
        Artifact(out).begin(checkpoint_manifest({}))
        return training(replace(job, config=job.config.effective), torch.device("cpu"))

    def described(self, out: Path, sources: list[Source] | None = None, seed: int = 0, **changes: Any) -> TrainingJob:
        """The training of `real`, or of `sources`, with changed settings."""
        config, initial, how = _changed(self.config, changes), None, "bicubic"
        if config.is_pretrained:
            initial = open_initial(
                config.init, self.labels.ids, lambda: [[f"a {c.prompt}"] for c in self.labels.classes]
            )
            config, how = initial.settings(config), initial.blueprint.interpolation
        mixture = self.mixture(config, sources, how)
        return TrainingJob(mixture, self.val, self.labels, config, seed, out, "cpu", threads=1, initial=initial)


def _changed(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """Change `config` as a recipe and its arm do: a method does not inherit the keys that it does not use."""
    shared = {key: value for key, value in values.items() if key in TrainConfig.model_fields and key != "method"}
    own = {key: value for key, value in values.items() if key not in shared}
    return config.changed(shared, "train").changed(own, "train")


def _first(images: ImageSet, classes: int) -> ImageSet:
    return Subset(images, np.flatnonzero(images.labels < classes))


small_job = cache(Job)


def run(out: str, changes: dict[str, Any], first_scale: float | None = None) -> None:
    """Train on two `Job.sources`."""
    if first_scale is not None:
        training_state.FIRST_SCALE = first_scale
    job = small_job()
    job.run(Path(out), sources=job.sources(), **changes)
