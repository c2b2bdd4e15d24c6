"""Exports a checkpoint to timm, ONNX or another format, with a model card, once its copy gives the same logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import EvalResult, ModelCardData
from PIL import Image

from genrobust.classifiers import (
    HUB,
    CheckpointInfo,
    Classifier,
    OpenClassifier,
    load_checkpoint,
    open_checkpoint,
    open_classifier,
    protocol,
    read_training_images,
)
from genrobust.core import GenrobustError, Score, UserError, slug
from genrobust.recipe import EvaluateConfig
from genrobust.store import read_page_json
from genrobust.tools.export.folder import new_folder, write_card
from genrobust.tools.export.format import ClassifierFormat

AGREE = 1e-4  # the largest difference of logits, and their share where they are large: float32 stays far below


def export_classifier(
    checkpoint: Path,
    form: ClassifierFormat,
    out: Path,
    results: Path | None = None,
    arm: str = "",
    license: str = "other",
    settings: EvaluateConfig | None = None,
    descriptions: Mapping[str, str] | None = None,
) -> None:
    """Write the classifier in `checkpoint` into `out`, with a model card, if its copy gives the same logits.

    Args:
        results: The results.json of its study, whose scores of `arm` the card gives if it has this checkpoint.
        license: That of the weights, an id of the hub's.
        settings: How the study prepares images for its scores; so does the copy, but for `flip`, which the card names.
        descriptions: The names of classes to show; None for those that the checkpoint was trained with.
    """
    model, info = load_checkpoint(checkpoint)
    info = info if descriptions is None else replace(info, descriptions=dict(descriptions))
    settings = settings or EvaluateConfig()
    size = settings.image_size or info.image_size
    ours = _logits(open_checkpoint(checkpoint, settings), size)
    with new_folder(out) as folder:
        form.write(model, info, _facts(model, info, size, settings.crop_pct), folder)
        images = read_training_images(checkpoint)
        if images is not None:
            images.write(folder)
        try:
            theirs = _logits(open_classifier(form.opened_as.format(folder)), size)
        except GenrobustError as error:
            raise UserError(f"{form.library} has no such network: choose another --to ({error})") from error
        apart = float((theirs - ours).abs().max())
        if not apart <= AGREE * max(1, float(ours.abs().max())):
            raise GenrobustError(f"the copy differs from the checkpoint by {apart:.2g} in a logit: nothing was written")
        _write_card(folder, form, info, settings, results, arm, license)


def _facts(model: Classifier, info: CheckpointInfo, image_size: int, crop_pct: float) -> dict[str, Any]:
    """The classes, and the keys that make timm prepare an image as `prepare` does, by its names for them."""
    # The numbers as they were set, not as float32 rounds them.
    mean, std = ([float(str(v)) for v in tensor.flatten().numpy()] for tensor in (model.mean, model.std))
    size = [3, image_size, image_size]
    resizing = {"interpolation": info.interpolation, "crop_pct": float(crop_pct), "crop_mode": "center"}
    config = {"input_size": size, **resizing, "mean": mean, "std": std}
    return {"label_names": info.classes, "label_descriptions": info.descriptions, "pretrained_cfg": config}


def _logits(opened: OpenClassifier, size: int) -> torch.Tensor:
    """The logits [1, K] of a classifier for an image that it has to resize and crop."""
    noise = np.random.default_rng(0).integers(0, 256, (2 * size, 3 * size, 3), dtype=np.uint8)
    pixels = torch.tensor(opened.prepare(Image.fromarray(noise))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        logits: torch.Tensor = opened.load(torch.device("cpu"))(pixels)
    return logits


def _scores(summary: Mapping[str, Any], arm: str, seed: int) -> Iterator[tuple[str, Score, Score | None]]:
    """Yield each test set of a report, with the top-1 and the effective robustness of one of its checkpoints."""
    found = {
        (row["metric"], row["test_set"]): Score(**{field.name: row[field.name] for field in fields(Score)})
        for row in summary["scores"]
        if (row["arm"], row["seed"], row["minus"]) == (arm, seed, "")
    }
    for test in (summary["clean"], *summary["shifts"], *summary["left_out"]):
        yield test, found["top1", test], found.get(("er", test))


def _write_card(
    folder: Path,
    form: ClassifierFormat,
    info: CheckpointInfo,
    settings: EvaluateConfig,
    results: Path | None,
    arm: str,
    license: str,
) -> None:
    size = settings.image_size or info.image_size
    training = {**(info.training.get("config") or {}), **info.training}
    init, scores = str(training.get("init") or ""), []
    seed, study = training.get("seed"), read_page_json(results) if results else None
    arms = {of["name"]: of["trained"] for of in study["arms"]} if study else {}
    if training.get("run") != arms.get(arm, {}).get(str(seed), ""):
        study = None  # which is of another training
    if study:
        scores = list(_scores(study["summary"], arm, training["seed"]))
    measured = [
        EvalResult("image-classification", slug(test), test, "accuracy", round(top1.value, 2))
        for test, top1, _ in scores
    ]
    write_card(
        folder,
        "classifier_card.md.j2",
        ModelCardData(
            license=license,
            library_name=form.library,
            pipeline_tag="image-classification",
            tags=["image-classification", form.library, "genrobust"],
            base_model=init.removeprefix(HUB).partition("@")[0] if init.startswith(HUB) else None,
            model_name=folder.name if measured else None,
            eval_results=measured or None,
        ),
        form=form,
        info=info,
        init=init if HUB in init else Path(init).name,  # without the folders of this machine
        size=size,
        protocol=protocol(size, settings.crop_pct, interpolation=info.interpolation),
        flip=settings.flip,
        training=training,
        study=study,
        arm=arm,
        scores=scores,
    )
