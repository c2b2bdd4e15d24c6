"""Exports a checkpoint to timm, ONNX or another format, with a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
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

# Largest difference of logits, or its share if they are large. float32 differs by much less.
AGREE = 1e-4


@dataclass(frozen=True, slots=True)
class Origin:
    """The study that trained a classifier.

    Attributes:
        results: The results.json of its report. The card gives the scores of `arm` if they are about this training.
        settings: How the study prepares images for its scores. The copy does the same, except for `flip`.
        descriptions: The names of classes to show. None for the names in the checkpoint.
    """

    results: Path | None = None
    arm: str = ""
    settings: EvaluateConfig = field(default_factory=EvaluateConfig)
    descriptions: Mapping[str, str] | None = None


def export_classifier(
    checkpoint: Path, form: ClassifierFormat, out: Path, license: str = "other", origin: Origin | None = None
) -> None:
    """Write the classifier in `checkpoint` into `out`, with a model card, if its copy gives the same logits.

    Args:
        license: The license of the weights, as an id of the hub.
    """
    origin = origin or Origin()
    settings = origin.settings
    model, info = load_checkpoint(checkpoint)
    if origin.descriptions is not None:
        info = replace(info, descriptions=dict(origin.descriptions))
    size = settings.image_size or info.image_size
    ours = _logits(open_checkpoint(checkpoint, settings), size)
    with new_folder(out) as folder:
        form.write(model, info, _facts(model, info, size, settings.crop_pct), folder)
        images = read_training_images(checkpoint)
        if images is not None:
            images.write(folder)
        _require_same_logits(ours, form, folder, size)
        _write_card(folder, form, info, origin, license)


def _facts(model: Classifier, info: CheckpointInfo, image_size: int, crop_pct: float) -> dict[str, Any]:
    """Return the classes, and how `prepare` prepares an image, by timm's keys."""
    # The numbers as they were set, not as float32 rounds them.
    mean = [float(str(value)) for value in model.mean.flatten().numpy()]
    std = [float(str(value)) for value in model.std.flatten().numpy()]
    config = {
        "input_size": [3, image_size, image_size],
        "interpolation": info.interpolation,
        "crop_pct": float(crop_pct),
        "crop_mode": "center",
        "mean": mean,
        "std": std,
    }
    return {"label_names": info.classes, "label_descriptions": info.descriptions, "pretrained_cfg": config}


def _logits(opened: OpenClassifier, size: int) -> torch.Tensor:
    """Return the logits [1, K] of a classifier for an image that it has to resize and crop."""
    noise = np.random.default_rng(0).integers(0, 256, (2 * size, 3 * size, 3), dtype=np.uint8)
    pixels = torch.tensor(opened.prepare(Image.fromarray(noise))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        logits: torch.Tensor = opened.load(torch.device("cpu"))(pixels)
    return logits


def _require_same_logits(ours: torch.Tensor, form: ClassifierFormat, folder: Path, size: int) -> None:
    try:
        theirs = _logits(open_classifier(form.opened_as.format(folder)), size)
    except GenrobustError as error:
        raise UserError(f"{form.library} has no such network: choose another --to ({error})") from error
    apart = float((theirs - ours).abs().max())
    # NaN is no agreement.
    if not apart <= AGREE * max(1, float(ours.abs().max())):
        raise GenrobustError(f"the copy differs from the checkpoint by {apart:.2g} in a logit: nothing was written")


def _write_card(folder: Path, form: ClassifierFormat, info: CheckpointInfo, origin: Origin, license: str) -> None:
    settings = origin.settings
    size = settings.image_size or info.image_size
    training = {**(info.training.get("config") or {}), **info.training}
    init = str(training.get("init") or "")
    study = _read_study(origin, training)
    if study is None:
        scores = []
    else:
        scores = list(_scores(study["summary"], origin.arm, training["seed"]))
    measured = []
    for test, top1, _ in scores:
        measured.append(EvalResult("image-classification", slug(test), test, "accuracy", round(top1.value, 2)))
    header = ModelCardData(
        license=license,
        library_name=form.library,
        pipeline_tag="image-classification",
        tags=["image-classification", form.library, "genrobust"],
        base_model=init.removeprefix(HUB).partition("@")[0] if init.startswith(HUB) else None,
        model_name=folder.name if measured else None,
        eval_results=measured or None,
    )
    write_card(
        folder,
        "classifier_card.md.j2",
        header,
        form=form,
        info=info,
        # Leave out the folders of this machine.
        init=init if HUB in init else Path(init).name,
        size=size,
        protocol=protocol(size, settings.crop_pct, interpolation=info.interpolation),
        flip=settings.flip,
        training=training,
        study=study,
        arm=origin.arm,
        scores=scores,
    )


def _read_study(origin: Origin, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the results of the study. None if they are about another training of the arm."""
    if origin.results is None:
        return None
    study = read_page_json(origin.results)
    trained = {arm["name"]: arm["trained"] for arm in study["arms"]}
    run = trained.get(origin.arm, {}).get(str(training.get("seed")), "")
    return study if training.get("run") == run else None


def _scores(summary: Mapping[str, Any], arm: str, seed: int) -> Iterator[tuple[str, Score, Score | None]]:
    """Yield each test set, with the top-1 and the effective robustness of a checkpoint."""
    found: dict[tuple[str, str], Score] = {}
    for row in summary["scores"]:
        if (row["arm"], row["seed"], row["minus"]) == (arm, seed, ""):
            values = {field.name: row[field.name] for field in fields(Score)}
            found[row["metric"], row["test_set"]] = Score(**values)
    for test in (summary["clean"], *summary["shifts"], *summary["left_out"]):
        yield test, found["top1", test], found.get(("er", test))
