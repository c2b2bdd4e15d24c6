"""The card of an exported classifier, README.md: its training, its scores, and how it is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from genrobust.classifiers import CheckpointInfo, protocol
from genrobust.core import REAL, Score, Summary, UserError, slug
from genrobust.recipe import is_recipe
from genrobust.report import number, read_results, robustness_over, span
from genrobust.robustness import Metric, comparable, list_metrics
from genrobust.tools.export.cards import render_card
from genrobust.tools.export.licenses import license_of_network


@dataclass(frozen=True, slots=True)
class StudyMetrics:
    """The metrics of one checkpoint in a study: of its `arm` and `seed`, among those of `summary`."""

    title: str
    date: str
    summary: Summary
    arm: str
    seed: int

    def score(self, metric: str, test_set: str) -> Score | None:
        return self.summary.find(metric, self.arm, test_set, self.seed)

    @property
    def tests(self) -> list[str]:
        return list(dict.fromkeys([*self.summary.tests, *self.summary.paired.values()]))

    @property
    def shown(self) -> list[Metric]:
        """The metrics that it has on any test set."""
        return [f for f in list_metrics() if any(self.score(f.name, test) for test in self.summary.tests)]

    @property
    def extrapolated(self) -> bool:
        scores = (score for key, score in self.summary.scores.items() if (key.arm, key.seed) == (self.arm, self.seed))
        return any(score.extrapolated for score in scores)


def measured(results: Path, info: CheckpointInfo, arm: str | None = None) -> StudyMetrics:
    """Find the metrics of the checkpoint `info` in the results.json of the study that trained it.

    Args:
        arm: Names its arm where several share the checkpoint.

    Raises:
        UserError: No results of a study, no arm of this checkpoint, or several and `arm` names none of them.
    """
    found = read_results(results)
    seed, run = info.training.get("seed"), info.training.get("run")
    arms = [trained.name for trained in found.arms if run and trained.trained.get(str(seed)) == run]
    if not arms:
        raise UserError(f"{results}: the study has no arm with this checkpoint: name the results.json of its own study")
    if arm is not None and arm not in arms:
        raise UserError(f"--arm {arm}: the checkpoint is of {' or '.join(arms)}")
    if arm is None and len(arms) > 1:
        raise UserError(f"{results}: the arms {' and '.join(arms)} share this checkpoint: name one with --arm")
    return StudyMetrics(found.title, found.date, found.summary, arm or arms[0], int(str(seed)))


def model_card(name: str, to: str, info: CheckpointInfo, metrics: StudyMetrics | None, license: str) -> str:
    """Write the card of the classifier `info`, exported `to` "timm" or "onnx", as Markdown with the hub's header."""
    counts, init = info.training.get("counts") or {}, str((info.training.get("config") or {}).get("init") or "")
    known_as = _without_folders(init)
    of_study = init.startswith("arm:") or is_recipe(init.rpartition(":")[0])
    return render_card(
        "model_card.md.j2",
        _header(name, to, metrics, license),
        name=name,
        to=to,
        info=info,
        license=license,
        of_init="" if of_study else license_of_network(init),
        of_study=of_study,
        start=f"the classifier {known_as}"
        if of_study
        else f"{known_as}, which has learned from other images than these",
        init=known_as,
        protocol=protocol(info.image_size, interpolation=info.interpolation),
        training=_training_settings(info),
        not_real=[source for source in counts if source != REAL],
        metrics=metrics,
        known=[f for f in list_metrics() if metrics and any(key.metric == f.name for key in metrics.summary.scores)],
        robustness_over=robustness_over(metrics.summary) if metrics else "",
        comparable=comparable,
        number=number,
        span=span,
    )


def _without_folders(init: str) -> str:
    """Return what `train.init` names, without the folders of this machine: "clip:/models/vit" is "clip:vit"."""
    return re.sub(r"(^|[:@])(?:[A-Za-z]:)?[/\\~.][^@]*[/\\]", r"\1", init)


def _training_settings(info: CheckpointInfo) -> dict[str, Any]:
    """The settings of the training by key; what was not recorded is None or missing."""
    known = {key: value for key, value in info.training.items() if value is not None}
    counts = known.get("counts")
    return {
        **known.get("config", {}),
        **known,
        "images": _images_phrase(counts) if counts else None,
        "architecture": info.architecture,
        "model_kwargs": json.dumps(info.model_kwargs) if info.model_kwargs else "the architecture's own",
    }


def _header(name: str, to: str, metrics: StudyMetrics | None, license: str) -> ModelCardData:
    top1 = {test: score for test in metrics.tests if (score := metrics.score("top1", test))} if metrics else {}
    scores = [
        EvalResult("image-classification", slug(test), test, "accuracy", round(score.value, 2))
        for test, score in top1.items()
    ]
    return ModelCardData(
        license=license,
        library_name=to,
        pipeline_tag="image-classification",
        tags=["image-classification", to, "genrobust"],
        model_name=name if scores else None,
        eval_results=scores or None,
    )


def _images_phrase(counts: Mapping[str, int]) -> str:
    first = sorted(counts.items(), key=lambda part: part[0] != REAL)
    return " + ".join(f"{n:,} {source}" for source, n in first)
