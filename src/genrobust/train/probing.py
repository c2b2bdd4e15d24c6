"""Trains a linear probe: a killed one goes on from the features that it kept, and solved anew it is the same."""

from __future__ import annotations

from pathlib import Path

import torch

from genrobust.classifiers import Initial
from genrobust.core import ImageSet, LabelSpace
from genrobust.recipe import TrainConfig
from genrobust.train.embedding import KeptFeatures
from genrobust.train.finished import Progress, Watch, save_trained
from genrobust.train.mixture import Mixture
from genrobust.train.probe import fit_probe
from genrobust.train.start import first_network


def train_probe(
    mixture: Mixture,
    val: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    seed: int,
    out: Path,
    device: torch.device,
    watch: Watch,
    run: str,
    initial: Initial | None,
    cache: KeptFeatures,
) -> None:
    """Save a linear probe of a pretrained network as a checkpoint.

    Arguments are as for `train`, `save_trained` and `fit_probe`.
    """
    model = first_network(labels, config, seed, device, initial)
    probed, steps = fit_probe(model, mixture, val, config, device, cache), config.steps_for(len(mixture))
    top1 = probed.val_top1
    figures = {"loss": probed.loss, **({} if top1 is None else {"val_top1": top1})}
    watch(steps, figures)
    progress = Progress(steps, steps, top1, [] if top1 is None else [{"step": steps, **figures}])
    save_trained(out, model, mixture, labels, config, seed, run, progress, penalty=probed.penalty)
