"""Filters a generated dataset by a score of each image.

The filter records which modules made it, by their imports. So this module imports no step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.classifiers import Feed, embed_ensembles, embed_in_parts, load_clip, logits_in_parts, open_classifier
from genrobust.core import LabelSpace, resolve_device
from genrobust.data import ShardDataset, below, confidence, lowest_of_each_class, write_filter
from genrobust.store import Artifact, KeptParts, Maker, Manifest, made_by
from genrobust.study.kept_parts import open_kept_parts

if TYPE_CHECKING:
    from genrobust.recipe import FilterConfig

SCORES = {"clip": "CLIP score", "classifier": "classifier's confidence"}


@dataclass(frozen=True)
class ScoreFilter:
    """A filter of the dataset in the folder `dataset`.

    Attributes:
        judge: The folder of the CLIP or the classifier that scores images.
        labels: The classes of the dataset.
        class_texts: The texts by which a CLIP knows each class.
        folder: The folder of the list of rejected images, which is named after `inputs`.
    """

    dataset: Path
    rule: FilterConfig
    judge: Path
    labels: LabelSpace
    class_texts: Sequence[Sequence[str]]
    folder: Path
    inputs: Mapping[str, Any]

    def run(self, batch_size: int, device: str) -> None:
        """Score all images, and list the rejected ones."""
        shards = ShardDataset(self.dataset)
        feed = Feed(batch_size, resolve_device(device))
        makers: list[Maker] = [ScoreFilter, *shards.decoders]
        parts = open_kept_parts(shards.folder, feed.device, *makers)
        scores = self._score(shards, feed, parts)
        if self.rule.drop is not None:
            rejected = lowest_of_each_class(scores, shards.labels, self.rule.drop)
            why = f"among the lowest {100 * self.rule.drop:g} % of its class"
        else:
            # The recipe requires one of the two.
            assert self.rule.threshold is not None
            rejected = below(scores, self.rule.threshold)
            why = f"below {self.rule.threshold:g}"
        about = {"by": SCORES[self.rule.by], "rule": why}
        manifest = Manifest("filter", dict(self.inputs), about, made_by(*makers))
        write_filter(shards, scores, rejected, self.folder, manifest)
        parts.remove()

    def _score(self, shards: ShardDataset, feed: Feed, parts: KeptParts) -> np.ndarray:
        """Score images, float64 [N]: the cosine of image and class, or a classifier's probability of the label.

        The probability is among the classes of the dataset.
        """
        if self.rule.by == "classifier":
            # Another machine may have trained it.
            model = open_classifier(str(Artifact(self.judge).fetch().folder))
            columns = model.columns(self.labels)
            logits = logits_in_parts(model, shards, feed, parts)
            return confidence(logits[:, columns], shards.labels)
        clip = load_clip(self.judge, feed.device)
        classes = embed_ensembles(clip, self.class_texts)
        images = embed_in_parts(clip, self.judge, shards, feed.batch_size, parts)
        return (images * classes[shards.labels]).sum(axis=1).astype(np.float64)
