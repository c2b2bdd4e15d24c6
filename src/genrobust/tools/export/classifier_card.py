"""The card of an exported classifier, README.md: its training, its scores, and how it is loaded."""

from __future__ import annotations

import json
import re
from contextlib import suppress
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
from genrobust.tools.export.format import ClassifierFormat
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


def find_metrics(results: Path | None, info: CheckpointInfo, arm: str) -> StudyMetrics | None:
    """Find the metrics of the checkpoint `info` in the results.json of a study; None where that has not trained it."""
    if results is not None:
        with suppress(UserError):
            study = read_results(results)
            seed, run = info.training.get("seed"), info.training.get("run")
            if run and any(of.name == arm and of.trained.get(str(seed)) == run for of in study.arms):
                return StudyMetrics(study.title, study.date, study.summary, arm, int(str(seed)))
    return None


def classifier_card(
    name: str, form: ClassifierFormat, info: CheckpointInfo, metrics: StudyMetrics | None, license: str
) -> str:
    """Write the card of the classifier `info`, exported under `name`, as Markdown with the hub's header."""
    counts, init = info.training.get("counts") or {}, str((info.training.get("config") or {}).get("init") or "")
    known_as = _without_folders(init)
    of_study = init.startswith("arm:") or is_recipe(init.rpartition(":")[0])
    return render_card(
        "classifier_card.md.j2",
        _header(name, form.library, metrics, license),
        name=name,
        usage=form.usage(info).replace("FOLDER", name),
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
    counts = sorted(known.get("counts", {}).items(), key=lambda part: part[0] != REAL)
    return {
        **known.get("config", {}),
        **known,
        "images": " + ".join(f"{n:,} {source}" for source, n in counts) or None,
        "architecture": info.architecture,
        "model_kwargs": json.dumps(info.model_kwargs) if info.model_kwargs else "the architecture's own",
    }


def _header(name: str, library: str, metrics: StudyMetrics | None, license: str) -> ModelCardData:
    top1 = {test: score for test in metrics.tests if (score := metrics.score("top1", test))} if metrics else {}
    scores = [
        EvalResult("image-classification", slug(test), test, "accuracy", round(score.value, 2))
        for test, score in top1.items()
    ]
    return ModelCardData(
        license=license,
        library_name=library,
        pipeline_tag="image-classification",
        tags=["image-classification", library, "genrobust"],
        model_name=name if scores else None,
        eval_results=scores or None,
    )
