"""The description of one training of a classifier, and the checkpoint that it ends in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genrobust.classifiers import (
    CheckpointInfo,
    Classifier,
    Initial,
    TrainingImages,
    create_classifier,
    move_to,
    read_checkpoint_info,
    require_same_job,
    save_checkpoint,
)
from genrobust.core import ImageSet, LabelSpace, digest, hashed_seed
from genrobust.recipe import TrainConfig
from genrobust.train.mixture import Mixture

NOUN = "classifier"
# The key of the hash in messages about a folder of another training.
RUN = "hash of settings, images, classes and threads"


@dataclass(frozen=True)
class TrainingJob:
    """One classifier to train.

    Attributes:
        mixture: The training images.
        val: The validation images; may be empty. ``keep: best`` keeps the averaged weights with the best top-1 on them,
            and of equals the later ones.
        labels: The classes, in the order of the logits.
        config: The settings, with the architecture of `initial` if there is one.
        seed: Decides random weights, the order of images, augmentation and dropout.
        out: Folder of the checkpoint.
        device: "auto", "cpu", "cuda" or "mps".
        threads: CPU threads; another number changes weights by rounding.
        initial: The pretrained network that `config.init` names.
        inputs: What the name of `out` is a hash of, for its manifest.
        images: The record of the training images, which is saved with the weights.
    """

    mixture: Mixture
    val: ImageSet
    labels: LabelSpace
    config: TrainConfig
    seed: int
    out: Path
    device: str = "auto"
    threads: int = 2
    initial: Initial | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    images: TrainingImages | None = None

    @property
    def steps(self) -> int:
        return self.config.steps_for(len(self.mixture))

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the weights: the settings for messages, and under RUN a hash of all inputs."""
        # Of `init` the weights count, wherever they are. `save_every` changes no weight.
        unused = {"save_every", "init"}
        inputs = {
            "config": self.config.model_dump(exclude=unused),
            "seed": self.seed,
            "classes": self.labels.ids,
            "mixture": self.mixture.fingerprint,
            "val": self.val.fingerprint,
            "threads": self.threads,
        }
        if self.initial is not None:
            inputs["initial"] = self.initial.identity(self.labels)
        settings = self.config.model_dump(mode="json", exclude=unused)
        return {**settings, "seed": self.seed, RUN: digest(inputs)}

    def make_network(self, device: torch.device) -> Classifier:
        """Create the network that training starts from. The seed decides its random weights."""
        torch.manual_seed(hashed_seed(self.seed, "weights"))
        if self.initial is not None:
            model = self.initial.make(self.labels, self.config)
        else:
            config = self.config
            model = create_classifier(config.architecture, len(self.labels), config.image_size, config.network_kwargs)
        return move_to(model, device)

    def require_same_training(self) -> None:
        """Raise UserError if the finished training in `out` is a different one."""
        training = read_checkpoint_info(self.out).training
        saved = {**training.get("config", {}), "seed": training.get("seed"), RUN: training.get("run")}
        require_same_job(saved, self.describe(), self.out, NOUN)


@dataclass
class Progress:
    """The progress of a training.

    Attributes:
        step: Number of finished steps.
        best_step: The step whose weights are kept.
        best_top1: Their validation top-1 in percent; None without validation images.
        history: Step, loss and top-1 of each validation.
    """

    step: int = 0
    best_step: int = 0
    best_top1: float | None = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


def save_trained(
    job: TrainingJob,
    model: Classifier,
    progress: Progress,
    initial: Mapping[str, Tensor] | None = None,
    penalty: float | None = None,
) -> None:
    """Save a trained classifier as a checkpoint in `job.out`.

    Args:
        initial: The pretrained weights that training started from, if they are kept.
        penalty: The L2 penalty of a linear probe.
    """
    config = job.config
    training: dict[str, Any] = {
        "run": job.describe()[RUN],
        "seed": job.seed,
        "steps": job.steps,
        "config": config.model_dump(),
        "counts": job.mixture.counts,
        "mixture": job.mixture.fingerprint,
        "best_step": progress.best_step,
        "best_val_top1": progress.best_top1,
        "history": progress.history,
    }
    if penalty is not None:
        training["penalty"] = penalty
    info = CheckpointInfo(
        architecture=config.architecture,
        model_kwargs=config.network_kwargs,
        classes=job.labels.label_names,
        image_size=config.image_size,
        training=training,
        interpolation=job.mixture.interpolation,
        descriptions=job.labels.descriptions,
    )
    save_checkpoint(job.out, model, info, initial, images=job.images)
