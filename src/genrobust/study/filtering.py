"""Scores the images of a generated dataset, and writes the list of those that its filter leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.classifiers import Feed, embed_ensembles, embed_in_parts, load_clip, logits_in_parts, open_classifier
from genrobust.core import Artifact, KeptParts, Maker, made_by, resolve_device
from genrobust.data import ShardDataset, below, confidence, lowest_of_each_class, write_filter
from genrobust.study.kept_parts import open_kept_parts

if TYPE_CHECKING:
    from genrobust.study.sources.filtered import FilteredDataset

SCORES = {"clip": "CLIP score", "classifier": "classifier's confidence"}


def filter_shards(filtered: FilteredDataset) -> None:
    """Make the filter of a generated dataset with the classifier or CLIP that judges it.

    Raises:
        UserError: A classifier does not know a class, or no image is left.
    """
    recipe, rule, shards = filtered.dataset.context.recipe, filtered.rule, ShardDataset(filtered.dataset.folder)
    feed = Feed(recipe.evaluate.batch_size, resolve_device(recipe.device))
    makers: list[Maker] = [filter_shards, *shards.decoders]
    parts = open_kept_parts(shards.folder, feed.device, *makers)
    scores = _scores(filtered, shards, feed, parts)
    if rule.drop is not None:
        rejected = lowest_of_each_class(scores, shards.labels, rule.drop)
        why = f"among the lowest {100 * rule.drop:g} % of its class"
    else:
        assert rule.threshold is not None  # one of the two is given
        rejected, why = below(scores, rule.threshold), f"below {rule.threshold:g}"
    write_filter(shards, SCORES[rule.by], scores, rejected, why, filtered.folder, filtered.inputs, made_by(*makers))
    parts.remove()


def _scores(filtered: FilteredDataset, shards: ShardDataset, feed: Feed, parts: KeptParts) -> np.ndarray:
    """Score images, float64 [N]: by the cosine of image and class, or by a classifier's probability of the label.

    The probability is among the classes of the dataset.
    """
    judge, labels = filtered.judge, filtered.dataset.context.data.labels
    assert isinstance(judge, Path)  # a review judges without a score
    if filtered.rule.by == "classifier":
        model = open_classifier(str(Artifact(judge).fetch().folder))  # another machine may have trained it
        columns = model.columns(labels)
        return confidence(logits_in_parts(model, shards, feed, parts)[:, columns], shards.labels)
    clip = load_clip(judge, feed.device)
    classes = embed_ensembles(clip, filtered.dataset.class_texts)
    images = embed_in_parts(clip, judge, shards, feed.batch_size, parts)
    return (images * classes[shards.labels]).sum(axis=1).astype(np.float64)
