"""Opens the image sets, scores the images, and writes the list of those left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import Feed, embed_classes, embed_in_parts, load_clip, logits_in_parts, open_classifier
from genrobust.core import KeptParts, UserError, find_clip, resolve_device
from genrobust.data import (
    FilterResult,
    FolderClasses,
    below,
    confidence,
    lowest_of_each_class,
    read_about,
    write_filter,
)
from genrobust.recipe import load_recipe
from genrobust.study.image_sets import (
    AuditSets,
    Load,
    OpenClassifierFn,
    open_dataset,
    open_kept_parts,
    open_sets,
)
from genrobust.study.sources.filtered import FilteredDataset

# Takes image sets, their feed and partial results; returns the name of the score, and each image's score (low is bad).
ScoreImages = Callable[[AuditSets, Feed, KeptParts], tuple[str, np.ndarray]]


def filter_dataset(
    dataset: Path,
    score_images: ScoreImages,
    feed: Feed,
    drop: float | None = None,
    threshold: float | None = None,
    against: str | None = None,
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
    return _filter_images(dataset, sets, score_images, feed, drop, threshold)


def filter_shards(filtered: FilteredDataset) -> None:
    """Make the filter of a study's generated dataset with the classifier or CLIP that judges it.

    Raises:
        UserError: A classifier does not know a class, or no image is left.
    """
    context, rule, dataset, model = filtered.dataset.context, filtered.rule, filtered.dataset.folder, filtered.judge
    labels, recipe = context.data.labels, context.recipe
    feed = Feed(recipe.evaluate.batch_size, resolve_device(recipe.device))
    opened, templates = open_dataset(str(dataset), FolderClasses.from_labels(labels), lambda dataset: None)
    sets = AuditSets(opened, labels, templates=templates)
    score_images = by_clip(str(model)) if rule.by == "clip" else by_classifier(partial(open_classifier, str(model)))
    parts = open_kept_parts(dataset, feed.device, filtered.folder.name)
    _filter_images(filtered.folder, sets, score_images, feed, rule.drop, rule.threshold, filtered.inputs, parts)


def by_clip(clip: str) -> ScoreImages:
    """Score by the cosine of image and class in the CLIP of the folder `clip`; "pictograms" is the embedded one."""
    folder = find_clip(clip)

    def scores(sets: AuditSets, feed: Feed, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = load_clip(folder, feed.device)
        classes = embed_classes(model, sets.templates, [c.prompt for c in sets.labels.classes])
        images = embed_in_parts(model, folder, sets.dataset, feed.batch_size, parts)
        return "CLIP score", (images * classes[sets.dataset.labels]).sum(axis=1).astype(np.float64)

    return scores


def by_classifier(open_model: OpenClassifierFn) -> ScoreImages:
    """Score by the probability that a classifier gives to the label, among the classes of the dataset."""

    def scores(sets: AuditSets, feed: Feed, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = open_model()
        columns = model.columns(sets.labels)
        logits = logits_in_parts(model, sets.dataset, feed, parts)
        return "classifier's confidence", confidence(logits[:, columns], sets.dataset.labels)

    return scores


def _filter_images(
    folder: Path,
    sets: AuditSets,
    score_images: ScoreImages,
    feed: Feed,
    drop: float | None,
    threshold: float | None,
    inputs: Mapping[str, Any] | None = None,
    parts: KeptParts | None = None,
) -> FilterResult:
    parts = parts or open_kept_parts(folder, feed.device, drop, threshold)
    name, scores = score_images(sets, feed, parts)
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
