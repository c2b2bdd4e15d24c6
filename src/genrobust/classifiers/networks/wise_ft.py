"""Interpolate between the weights before and after fine-tuning (WiSE-FT: Wortsman et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from genrobust.classifiers.networks.checkpoint_info import INITIAL, checkpoint_manifest
from genrobust.classifiers.networks.classifier_network import load_checkpoint, save_checkpoint
from genrobust.classifiers.networks.logits import val_top1
from genrobust.classifiers.training_images import read_training_images
from genrobust.core import GenrobustError, ImageSet, reading
from genrobust.store import MANIFEST, Artifact, lock, make_folder, remove_leftovers


def interpolate_checkpoint(
    tuned: Path,
    alpha: float,
    out: Path,
    val: ImageSet,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    inputs: Mapping[str, Any] | None = None,
) -> None:
    """Save a classifier with weights between those before (`alpha` 0) and after (`alpha` 1) fine-tuning in `out`.

    `tuned` is the fine-tuned checkpoint. The top-1 accuracy is measured on `val`, which may be empty. `inputs` are
    hashed in the name of `out`.
    """
    artifact = Artifact(tuned).fetch()
    model, info = load_checkpoint(tuned)
    initial = artifact.path(INITIAL)
    with reading(initial, SafetensorError, KeyError, kind=GenrobustError):
        start = load_file(initial)
        # Integers, such as the number of batches of a batch norm, stay.
        mixed = model.state_dict()
        for name, end in mixed.items():
            if end.is_floating_point():
                mixed[name] = (1 - alpha) * start[name] + alpha * end
        model.load_state_dict(mixed)
    top1 = val_top1(model.to(device), val, info.image_size, batch_size, device, info.interpolation)
    training = {**info.training, "wise_ft": alpha, "best_val_top1": top1}
    make_folder(out)
    with lock(out):
        remove_leftovers(out, below=True)
        # A manifest that is there describes other weights.
        Artifact(out).discard(MANIFEST)
        images = read_training_images(tuned)
        manifest = checkpoint_manifest(inputs or {}, interpolate_checkpoint, *val.decoders)
        save_checkpoint(out, model, replace(info, training=training), manifest=manifest, images=images)
