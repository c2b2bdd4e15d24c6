"""Exports a checkpoint to timm, ONNX or another format, once its copy gives the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from genrobust.classifiers import (
    CheckpointInfo,
    Classifier,
    load_checkpoint,
    open_classifier,
    prepare,
    read_checkpoint_info,
)
from genrobust.core import GenrobustError
from genrobust.tools.export.classifier_card import classifier_card
from genrobust.tools.export.folder import CARD, check_target, new_folder
from genrobust.tools.export.format import ClassifierFormat

AGREE = 1e-4  # the largest difference of logits, and their share where they are large: float32 stays far below


def export_classifier(
    checkpoint: Path,
    form: ClassifierFormat,
    out: Path,
    results: Path | None = None,
    arm: str = "",
    license: str = "other",
) -> None:
    """Write the classifier in `checkpoint` into `out`, with a model card, if what is written gives the same logits.

    Args:
        results: The results.json of its study, whose scores of `arm` the card gives if it has this checkpoint.
        license: That of the weights, an id of the hub's.

    Raises:
        UserError: What cannot be exported, or a folder that holds files.
        GenrobustError: The logits differ.
    """
    check_target(out)
    info = read_checkpoint_info(checkpoint)
    card = classifier_card(out.resolve().name, form, info, results, arm, license)
    model, _ = load_checkpoint(checkpoint)
    with new_folder(out) as folder:
        form.write(model, info, folder)
        _check_export(form.opened_as.format(folder), model, info)
        (folder / CARD).write_text(card, encoding="utf-8")


def preparation(model: Classifier, info: CheckpointInfo) -> dict[str, Any]:
    """Return the keys that make timm prepare an image as `prepare` does."""
    # The numbers as they were set, not as float32 rounds them.
    mean, std = ([float(str(v)) for v in tensor.flatten().numpy()] for tensor in (model.mean, model.std))
    size = [3, info.image_size, info.image_size]
    resizing = {"interpolation": info.interpolation, "crop_pct": 1.0, "crop_mode": "center"}
    return {"input_size": size, **resizing, "mean": mean, "std": std}


def _check_export(opened_as: str, model: Classifier, info: CheckpointInfo) -> None:
    """Load what was written as a user would: it must give the logits, classes and prepared images of `model`."""
    random = np.random.default_rng(0)
    opened = open_classifier(opened_as)
    images = torch.from_numpy(random.integers(0, 256, (3, 3, info.image_size, info.image_size), dtype=np.uint8))
    with torch.inference_mode():
        theirs, ours = opened.load(torch.device("cpu"))(images), model(images)
    apart = float((theirs - ours).abs().max())
    if not apart <= AGREE * max(1, float(ours.abs().max())):
        raise GenrobustError(
            f"the exported classifier differs from the checkpoint by {apart:.2g} in a logit: nothing was written"
        )
    wide = (info.image_size, 2 * info.image_size + 1, 3)
    image = Image.fromarray(random.integers(0, 256, wide, dtype=np.uint8))
    alike = np.array_equal(opened.prepare(image), prepare(image, info.image_size, interpolation=info.interpolation))
    if opened.classes != info.classes or opened.descriptions != info.descriptions or not alike:
        raise GenrobustError("the exported classifier prepares images or names classes otherwise: nothing was written")
