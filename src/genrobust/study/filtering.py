"""Opens the image sets, scores the images, and writes the list of those left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust.classifiers import embed_classes, embed_in_parts, load_clip, logits_in_parts, open_classifier
from genrobust.core import KeptParts, LabelSpace, UserError, find_clip, resolve_device
from genrobust.data import (
    FilterResult,
    FolderClasses,
    below,
    confidence,
    lowest_of_each_class,
    read_about,
    write_filter,
)
from genrobust.recipe import FilterConfig, load_recipe
from genrobust.study.image_sets import (
    AuditSets,
    Load,
    OpenClassifierFn,
    open_dataset,
    open_kept_parts,
    open_sets,
)

# Takes image sets, a device and partial results; returns the name of the score, and each image's score (low is bad).
ScoreImages = Callable[[AuditSets, torch.device, KeptParts], tuple[str, np.ndarray]]


def filter_dataset(
    dataset: Path,
    score_images: ScoreImages,
    drop: float | None = None,
    threshold: float | None = None,
    against: str | None = None,
    device: str = "auto",
    load: Load = load_recipe,
) -> FilterResult:
    """Leave out the images of `dataset` with the lowest scores by `score_images`; the list lies beside the shards.

    `drop` is the share of each class that is left out, `threshold` the lowest score that stays: one of them is given.
    `against` are the real images, for the class names, as for `audit`; `load` loads a recipe by its name.

    Raises:
        UserError: Not one of `drop` and `threshold`, or a `drop` that is no share; no generated dataset, a class that a
            classifier does not know, or no image left.
    """
    if (drop is None) == (threshold is None):
        raise UserError("give either --drop SHARE, to leave out the lowest of each class, or --threshold SCORE")
    if drop is not None and not 0 < drop < 1:
        raise UserError(f"--drop takes a share between 0 and 1, such as 0.1 for a tenth of each class; got {drop:g}")
    read_about(dataset)  # a filter lies beside shards: image folders are refused
    sets = open_sets(str(dataset), against, load=load)
    return _filter_images(dataset, sets, score_images, drop, threshold, device)


def filter_shards(
    dataset: Path,
    labels: LabelSpace,
    rule: FilterConfig,
    model: Path,
    device: str,
    batch_size: int,
    filter_folder: Path,
    inputs: Mapping[str, Any],
) -> None:
    """Filter a study's generated dataset by `rule` with the classifier or CLIP in `model`, into `filter_folder`.

    Args:
        inputs: What the name of `filter_folder` is a hash of.

    Raises:
        UserError: A classifier does not know a class, or no image is left.
    """
    opened, prompts, templates = open_dataset(str(dataset), FolderClasses.from_labels(labels), lambda dataset: None)
    sets = AuditSets(opened, labels, None, {}, None, None, prompts, templates)
    open_model = partial(open_classifier, str(model))
    score_images = by_clip(str(model), batch_size) if rule.by == "clip" else by_classifier(open_model, batch_size)
    parts = open_kept_parts(dataset, resolve_device(device), filter_folder.name)
    _filter_images(filter_folder, sets, score_images, rule.drop, rule.threshold, device, inputs, parts)


def by_clip(clip: str, batch_size: int) -> ScoreImages:
    """Score by the cosine of image and class in the CLIP of the folder `clip`; "pictograms" is the embedded one."""
    folder = find_clip(clip)

    def scores(sets: AuditSets, torch_device: torch.device, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = load_clip(folder, torch_device)
        classes = embed_classes(model, sets.templates, [c.prompt for c in sets.labels.classes])
        images = embed_in_parts(model, folder, sets.dataset, batch_size, parts)
        return "CLIP score", (images * classes[sets.dataset.labels]).sum(axis=1).astype(np.float64)

    return scores


def by_classifier(open_model: OpenClassifierFn, batch_size: int) -> ScoreImages:
    """Score by the probability that a classifier gives to the label, among the classes of the dataset."""

    def scores(sets: AuditSets, torch_device: torch.device, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = open_model()
        columns = model.columns(sets.labels)
        logits = logits_in_parts(model, sets.dataset, batch_size, torch_device, parts)
        return "classifier's confidence", confidence(logits[:, columns], sets.dataset.labels)

    return scores


def _filter_images(
    folder: Path,
    sets: AuditSets,
    score_images: ScoreImages,
    drop: float | None,
    threshold: float | None,
    device: str,
    inputs: Mapping[str, Any] | None = None,
    parts: KeptParts | None = None,
) -> FilterResult:
    torch_device = resolve_device(device)
    parts = parts or open_kept_parts(folder, torch_device, drop, threshold)
    name, scores = score_images(sets, torch_device, parts)
    if drop is not None:
        rejected = lowest_of_each_class(scores, sets.dataset.labels, drop)
        rule = f"among the lowest {100 * drop:g} % of its class"
    else:
        assert threshold is not None  # one of the two is given
        setting = "--threshold" if inputs is None else "filter.threshold"
        rejected, rule = below(scores, threshold, setting), f"below {threshold:g}"
    result = write_filter(sets.dataset, name, scores, rejected, rule, folder, inputs)
    parts.remove()
    return result
