"""The card of an exported classifier, README.md: its training, its scores, and how it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from pydantic import ValidationError

from genrobust.classifiers import CheckpointInfo, protocol
from genrobust.core import REAL, ArmRecord, Cell, Summary, UserError, slug
from genrobust.recipe import TrainConfig
from genrobust.release.cards import render_card
from genrobust.report import count, markdown_table, number, span, summary_from_json

UNKNOWN = "not recorded"


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one checkpoint in a study: of its `arm` and `seed`, among those of `summary`."""

    title: str
    date: str
    summary: Summary
    arm: str
    seed: int

    @property
    def cells(self) -> list[Cell]:
        return [c for c in self.summary.cells if (c.arm, c.seed) == (self.arm, self.seed)]

    @property
    def protocols(self) -> list[str]:
        return list(dict.fromkeys(self.summary.protocols[cell.test_set] for cell in self.cells))


def measured(results: Path, info: CheckpointInfo, arm: str | None = None) -> Measured:
    """Find the figures of the checkpoint `info` in the results.json of a study.

    Its arm is the one that trained as the checkpoint did: on as many images of the same sources, with the same
    architecture, augmentation, steps and batch size. `arm` names it where several did.

    Raises:
        UserError: No results of a study, no such arm or seed, or several arms and `arm` names none of them.
    """
    try:
        raw = json.loads(results.read_text(encoding="utf-8"))
        summary = summary_from_json(raw["summary"])
        records = [ArmRecord(**row) for row in raw["arms"]]
        title, date = str(raw["title"]), str(raw["date"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{results} is no results.json of a study: {error!r}") from error
    except UserError as error:
        raise UserError(f"{results}: {error}") from None
    own = _record(info)
    alike = [r.name for r in records if _facts(r) == _facts(own)]
    if not alike:
        trained = ", ".join(f"{r.name} on {_parts(r.parts)}" for r in records)
        raise UserError(
            f"{results}: no arm trained as this checkpoint did, on {_parts(own.parts)} with {own.architecture} for "
            f"{own.steps:,} steps of {own.batch_size} ({own.augmentation}); its arms: {trained}"
        )
    if arm is not None and arm not in alike:
        raise UserError(f"--arm {arm}: the checkpoint is of {' or '.join(alike)}, by what it trained on")
    if arm is None and len(alike) > 1:
        raise UserError(f"{results}: the arms {' and '.join(alike)} trained alike: say which one it is with --arm")
    seed = info.training.get("seed")
    if seed not in summary.seeds:
        raise UserError(f"{results}: the study has the seeds {summary.seeds}, and the checkpoint the seed {seed}")
    return Measured(title, date, summary, arm or alike[0], seed)


def model_card(name: str, to: str, info: CheckpointInfo, figures: Measured | None, license: str) -> str:
    """Write the card of the classifier `info`, exported `to` "timm" or "onnx", as Markdown with the hub's header."""
    return render_card(
        "model_card.md.j2",
        _header(name, to, figures, license),
        name=name,
        network=f"{info.architecture}, images of {info.image_size} px, {len(info.classes):,} classes",
        to=to,
        size=info.image_size,
        protocol=protocol(info.image_size),
        training=markdown_table(["", ""], list(_training(info))),
        figures=figures,
        best=info.training.get("best_val_top1"),
        number=number,
        scores=figures and markdown_table(_heads(info), [_row(cell, figures.summary.clean) for cell in figures.cells]),
        over_seeds=figures and _over_seeds(figures),
        generated=[source for source in info.training.get("counts") or {} if source != REAL],
        classes=len(info.classes),
        license=license,
    )


def _header(name: str, to: str, figures: Measured | None, license: str) -> ModelCardData:
    scores = [
        EvalResult(
            task_type="image-classification",
            dataset_type=slug(cell.test_set),
            dataset_name=cell.test_set,
            metric_type="accuracy",
            metric_value=round(cell.top1.value, 2),
        )
        for cell in (figures.cells if figures else [])
    ]
    return ModelCardData(
        license=license,
        library_name=to,
        pipeline_tag="image-classification",
        tags=["image-classification", to, "genrobust"],
        model_name=name if scores else None,
        eval_results=scores or None,
    )


# ------------------------------------------------------------------------------------------ training


def _record(info: CheckpointInfo) -> ArmRecord:
    """The checkpoint as a study's record of an arm. Raises UserError where its training is not known."""
    training = info.training
    try:
        config = TrainConfig(**training["config"])
        steps = training.get("steps") or config.steps_for(sum(training["counts"].values()))
        network = f"{config.architecture}, split batch norm" if config.split_batchnorm else config.architecture
        return ArmRecord("", dict(training["counts"]), network, config.augmented, steps, config.batch_size)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise UserError(
            f"the checkpoint does not say how it was trained, so no arm of a study can be found for it ({error!r}): "
            "leave out --report"
        ) from error


def _facts(record: ArmRecord) -> tuple[Any, ...]:
    return record.parts, record.architecture, record.augmentation, record.steps, record.batch_size


def _training(info: CheckpointInfo) -> Iterator[list[str]]:
    training = info.training
    config: Mapping[str, Any] = training.get("config") or {}
    counts = training.get("counts")
    told = {
        "images": _parts(counts) if counts else UNKNOWN,
        "seed": training.get("seed"),
        "steps": training.get("steps") or config.get("steps"),
        "batch size": config.get("batch_size"),
        "augmentation": config.get("augmentation"),
        "optimizer": config.get("optimizer"),
        "learning rate": config.get("learning_rate"),
        "weights of step": training.get("best_step"),
        "architecture": info.architecture,
        "its arguments": json.dumps(info.model_kwargs) if info.model_kwargs else "the architecture's own",
    }
    for name, value in told.items():
        yield [name, UNKNOWN if value is None else f"{value:,}" if isinstance(value, int) else str(value)]


def _parts(counts: Mapping[str, int]) -> str:
    first = sorted(counts.items(), key=lambda part: part[0] != REAL)
    return " + ".join(f"{n:,} {source}" for source, n in first)


# ------------------------------------------------------------------------------------------ figures


def _heads(info: CheckpointInfo) -> list[str]:
    everything = f"over all {len(info.classes)}"
    return ["test set", "images", "classes", "top-1", everything, "clean top-1, same classes", "effective robustness"]


def _row(cell: Cell, clean: str) -> list[str]:
    er = "" if cell.er is None else f"{number(cell.er.value, True)} ({span(cell.er, True)})"
    return [
        f"{cell.test_set} (clean)" if cell.test_set == clean else cell.test_set,
        f"{cell.top1.n:,}",
        str(cell.top1.classes),
        f"{number(cell.top1.value)} ({span(cell.top1)})",
        number(cell.top1_all.value),
        number(cell.clean.value),
        f"{er} °" if er and cell.extrapolated else er,
    ]


def _over_seeds(figures: Measured) -> str:
    summary, arm = figures.summary, figures.arm
    if arm not in summary.mean_top1 or len(summary.seeds) < 2:
        return ""
    mean, er = summary.mean_top1[arm], summary.mean_er.get(arm)
    robust = f", and its effective robustness {number(er.value, True)} points ({span(er, True)})" if er else ""
    over = f"{count(len(summary.seeds), 'seed')} and {count(len(summary.shifts), 'shifted test set')}"
    return f"Over {over}, the arm's top-1 is {number(mean.value)} % ({span(mean)}){robust}."
