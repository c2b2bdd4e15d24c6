"""The card of an exported classifier, README.md: its training, its scores, and how it is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from pydantic import ValidationError

from genrobust.classifiers import CheckpointInfo, protocol
from genrobust.core import REAL, ArmRecord, Score, Summary, UserError, read_page_json, slug
from genrobust.recipe import TrainConfig, is_recipe
from genrobust.release.cards import render_card
from genrobust.release.licenses import license_of_network
from genrobust.report import number, robustness_over, span, summary_from_json
from genrobust.robustness import Figure, comparable, list_figures

UNTRAINED = ("name", "val_top1", "seconds", "alike", "trained")  # of an arm's record: what a checkpoint knows not


@dataclass(frozen=True, slots=True)
class StudyFigures:
    """The figures of one checkpoint in a study: of its `arm` and `seed`, among those of `summary`."""

    title: str
    date: str
    summary: Summary
    arm: str
    seed: int

    def score(self, figure: str, test_set: str) -> Score | None:
        return self.summary.find(figure, self.arm, test_set, self.seed)

    @property
    def tests(self) -> list[str]:
        return list(dict.fromkeys([*self.summary.tests, *self.summary.paired.values()]))

    @property
    def shown(self) -> list[Figure]:
        """The figures that it has on any test set."""
        return [f for f in list_figures() if any(self.score(f.name, test) for test in self.summary.tests)]

    @property
    def extrapolated(self) -> bool:
        own = (score for key, score in self.summary.scores.items() if (key.arm, key.seed) == (self.arm, self.seed))
        return any(score.extrapolated for score in own)


def measured(results: Path, info: CheckpointInfo, arm: str | None = None) -> StudyFigures:
    """Find the figures of the checkpoint `info` in the results.json of a study.

    Its arm is the one that trained as the checkpoint did: on as many images of the same sources, with the same
    architecture, augmentation, steps and batch size. `arm` names it where several did.

    Raises:
        UserError: No results of a study, no such arm or seed, or several arms and `arm` names none of them.
    """
    try:
        raw = read_page_json(results)
        summary = summary_from_json(raw["summary"])
        records = [ArmRecord(**row) for row in raw["arms"]]
        title, date = str(raw["title"]), str(raw["date"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{results} is no results.json of a study: {error!r}; run the study again, and it is written anew"
        ) from error
    except UserError as error:
        raise UserError(f"{results}: {error}") from None
    own = _record(info)
    seed, run = str(info.training.get("seed")), str(info.training.get("run"))
    same = [r for r in records if replace(own, **{key: getattr(r, key) for key in UNTRAINED}) == r]
    alike = [r.name for r in same if r.trained.get(seed, run) == run]
    if not alike:
        trained = ", ".join(f"{r.name} on {_parts(r.parts)}" for r in records)
        raise UserError(
            f"{results}: no arm trained as this checkpoint did, on {_parts(own.parts)} with {own.architecture} for "
            f"{own.steps:,} steps of {own.batch_size} ({own.augmentation}), from these images and with these settings; "
            f"its arms: {trained}"
        )
    if arm is not None and arm not in alike:
        raise UserError(f"--arm {arm}: the checkpoint is of {' or '.join(alike)}, by what it trained on")
    if arm is None and len(alike) > 1:
        raise UserError(f"{results}: the arms {' and '.join(alike)} trained alike: say which one it is with --arm")
    if info.training.get("seed") not in summary.seeds:
        raise UserError(f"{results}: the study has the seeds {summary.seeds}, and the checkpoint the seed {seed}")
    return StudyFigures(title, date, summary, arm or alike[0], int(seed))


def model_card(name: str, to: str, info: CheckpointInfo, figures: StudyFigures | None, license: str) -> str:
    """Write the card of the classifier `info`, exported `to` "timm" or "onnx", as Markdown with the hub's header."""
    counts, init = info.training.get("counts") or {}, str((info.training.get("config") or {}).get("init") or "")
    known_as = _named(init)
    of_study = init.startswith("arm:") or is_recipe(init.rpartition(":")[0])
    return render_card(
        ModelCard,
        "model_card.md.j2",
        _header(name, to, figures, license),
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
        training=_training(info),
        not_real=[source for source in counts if source != REAL],
        figures=figures,
        known=[f for f in list_figures() if figures and any(key.figure == f.name for key in figures.summary.scores)],
        robustness_over=robustness_over(figures.summary) if figures else "",
        comparable=comparable,
        number=number,
        span=span,
    )


def _named(init: str) -> str:
    """Return what `train.init` names, without the folders of this machine: "clip:/models/vit" is "clip:vit"."""
    return re.sub(r"(^|[:@])(?:[A-Za-z]:)?[/\\~.][^@]*[/\\]", r"\1", init)


def _training(info: CheckpointInfo) -> dict[str, Any]:
    """The settings of the training by key; what was not recorded is None or missing."""
    known = {key: value for key, value in info.training.items() if value is not None}
    counts = known.get("counts")
    return {
        **known.get("config", {}),
        **known,
        "images": _parts(counts) if counts else None,
        "architecture": info.architecture,
        "model_kwargs": json.dumps(info.model_kwargs) if info.model_kwargs else "the architecture's own",
    }


def _header(name: str, to: str, figures: StudyFigures | None, license: str) -> ModelCardData:
    top1 = {test: figures.score("top1", test) for test in figures.tests} if figures else {}
    scores = [
        EvalResult(
            task_type="image-classification",
            dataset_type=slug(test),
            dataset_name=test,
            metric_type="accuracy",
            metric_value=round(score.value, 2),
        )
        for test, score in top1.items()
        if score is not None
    ]
    return ModelCardData(
        license=license,
        library_name=to,
        pipeline_tag="image-classification",
        tags=["image-classification", to, "genrobust"],
        model_name=name if scores else None,
        eval_results=scores or None,
    )


def _record(info: CheckpointInfo) -> ArmRecord:
    """The checkpoint as a study's record of an arm. Raises UserError where its training is not known."""
    training = info.training
    try:
        config = TrainConfig(**training["config"])
        steps = training.get("steps") or config.steps_for(sum(training["counts"].values()))
        network = config.network_in_words(training.get("wise_ft", 1))
        return ArmRecord("", dict(training["counts"]), network, config.augmented, steps, config.batch_size)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise UserError(
            f"the checkpoint does not say how it was trained, so no arm of a study can be found for it ({error!r}): "
            "leave out --report"
        ) from error


def _parts(counts: Mapping[str, int]) -> str:
    first = sorted(counts.items(), key=lambda part: part[0] != REAL)
    return " + ".join(f"{n:,} {source}" for source, n in first)
