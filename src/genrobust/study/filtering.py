"""Opens the image sets, scores the images, and writes the list of those left out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import Feed, embed_classes, embed_in_parts, load_clip, logits_in_parts, open_classifier
from genrobust.core import KeptParts, resolve_device
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
from genrobust.study.sources.filtered import FilteredDataset

Judge = Path | OpenClassifierFn  # the folder of a CLIP, or what opens a classifier
SCORES = {"clip": "CLIP score", "classifier": "classifier's confidence"}


def filter_dataset(
    dataset: Path, rule: FilterConfig, judge: Judge, feed: Feed, against: str | None = None, load: Load = load_recipe
) -> FilterResult:
    """Leave out the images of `dataset` that `judge` gives the lowest scores; the list lies beside the shards.

    `against` are the real images, for the class names, as for `audit`; `load` loads a recipe by its name.

    Raises:
        UserError: No generated dataset, a class that a classifier does not know, or no image left.
    """
    read_about(dataset)  # a filter lies beside shards: image folders are refused
    return _filter_images(dataset, open_sets(str(dataset), against, load=load), rule, judge, feed, dataset)


def filter_shards(filtered: FilteredDataset) -> None:
    """Make the filter of a study's generated dataset with the classifier or CLIP that judges it.

    Raises:
        UserError: A classifier does not know a class, or no image is left.
    """
    context, rule, dataset = filtered.dataset.context, filtered.rule, filtered.dataset.folder
    labels, recipe, model = context.data.labels, context.recipe, filtered.judge
    assert isinstance(model, Path)  # a review judges without a score
    opened, prompts, templates = open_dataset(str(dataset), FolderClasses.from_labels(labels), lambda dataset: None)
    sets = AuditSets(opened, labels, prompts=prompts, templates=templates)
    judge = model if rule.by == "clip" else partial(open_classifier, str(model))
    feed = Feed(recipe.evaluate.batch_size, resolve_device(recipe.device))
    _filter_images(dataset, sets, rule, judge, feed, filtered.folder, filtered.inputs)


def _filter_images(
    dataset: Path,
    sets: AuditSets,
    rule: FilterConfig,
    judge: Judge,
    feed: Feed,
    place: Path,
    inputs: Mapping[str, Any] | None = None,
) -> FilterResult:
    parts = open_kept_parts(dataset, feed.device)
    scores = _scores(sets, judge, feed, parts)
    if rule.drop is not None:
        rejected = lowest_of_each_class(scores, sets.dataset.labels, rule.drop)
        why = f"among the lowest {100 * rule.drop:g} % of its class"
    else:
        assert rule.threshold is not None  # one of the two is given
        rejected, why = below(scores, rule.threshold), f"below {rule.threshold:g}"
    result = write_filter(sets.dataset, SCORES[rule.by], scores, rejected, why, place, inputs)
    parts.remove()
    return result


def _scores(sets: AuditSets, judge: Judge, feed: Feed, parts: KeptParts) -> np.ndarray:
    """Score images, float64 [N]: by the cosine of image and class, or by a classifier's probability of the label.

    The probability is among the classes of the dataset.
    """
    labels = sets.dataset.labels
    if not isinstance(judge, Path):
        model = judge()
        columns = model.columns(sets.labels)
        return confidence(logits_in_parts(model, sets.dataset, feed, parts)[:, columns], labels)
    clip = load_clip(judge, feed.device)
    classes = embed_classes(clip, sets.templates, [c.prompt for c in sets.labels.classes])
    images = embed_in_parts(clip, judge, sets.dataset, feed.batch_size, parts)
    return (images * classes[labels]).sum(axis=1).astype(np.float64)
