"""Classifiers between a pretrained network and what fine-tuning made of it (WiSE-FT: Wortsman et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from genrobust.classifiers.networks.checkpoints import INITIAL, checkpoint_manifest
from genrobust.classifiers.networks.logits import val_top1
from genrobust.classifiers.networks.models import load_checkpoint, save_checkpoint
from genrobust.classifiers.training_images import read_training_images
from genrobust.core import (
    MANIFEST,
    Artifact,
    GenrobustError,
    ImageSet,
    lock,
    make_folder,
    reading,
    remove_leftovers,
)


def interpolate_checkpoint(
    tuned: Path,
    alpha: float,
    out: Path,
    val: ImageSet,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    inputs: Mapping[str, Any] | None = None,
) -> None:
    """Save in `out` the classifier whose weights lie `alpha` of the way to those of the checkpoint `tuned`.

    At 0 it is the network that fine-tuning started from, at 1 the fine-tuned one. Its top-1 on `val`, where that has
    images, takes the place of that of the fine-tuned one. `out` is named after `inputs`, if after any.

    Raises:
        GenrobustError: `tuned` is damaged, or keeps no weights that it started from.
    """
    artifact = Artifact(tuned).fetch()
    model, info = load_checkpoint(tuned)
    initial = artifact.path(INITIAL)
    with reading(initial, SafetensorError, KeyError, kind=GenrobustError):
        start, end = load_file(initial), model.state_dict().items()
        model.load_state_dict(  # what counts, such as steps, is that of the fine-tuned one
            {k: (1 - alpha) * start[k] + alpha * v if v.is_floating_point() else v for k, v in end}
        )
    top1 = val_top1(model.to(device), val, info.image_size, batch_size, device, info.interpolation)
    training = {**info.training, "wise_ft": alpha, "best_val_top1": top1}
    make_folder(out)
    with lock(out):
        remove_leftovers(out, below=True)
        Artifact(out).discard(MANIFEST)  # of weights that were mixed from others
        images = read_training_images(tuned)
        manifest = checkpoint_manifest(inputs or {}, interpolate_checkpoint, *val.decoders)
        save_checkpoint(out, model, replace(info, training=training), manifest=manifest, images=images)
