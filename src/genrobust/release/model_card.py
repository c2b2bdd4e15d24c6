"""The card of an exported classifier, README.md: what it trained on, what it scores, how it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from genrobust import __version__
from genrobust.classifiers import CheckpointInfo, protocol
from genrobust.core import REAL, ArmRecord, Score, Summary, UserError
from genrobust.recipe import TrainConfig
from genrobust.report import count, escaped, fenced, markdown_table, number, span, summary_from_json
from genrobust.robustness import Figure, list_figures

UNKNOWN = "not recorded"
SMALL = "this checkpoint's interval is over images alone: it says how this one did, and nothing of others trained alike"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a study measured of one checkpoint: of its `arm` and `seed`, among the figures of `summary`."""

    title: str
    date: str
    summary: Summary
    arm: str
    seed: int

    def score(self, figure: str, test_set: str) -> Score | None:
        return self.summary.find(figure, self.arm, test_set, self.seed)


def measured(results: Path, info: CheckpointInfo, arm: str | None = None) -> Measured:
    """What the results.json of a study says of the checkpoint `info`, which must be one of its arms' and seeds'.

    The arm is the one that trained as the checkpoint did: on as many images of the same sources, with the same
    architecture, augmentation, steps and batch size. Raises UserError where there is none, or several and `arm` names
    none of them, and for a file that is no study's results.
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


def model_card(name: str, to: str, info: CheckpointInfo, figures: Measured | None, licence: str) -> str:
    """The card of the classifier `info`, exported `to` "timm" or "onnx", as Markdown with the hub's header."""
    header = {
        "license": licence,
        "library_name": to,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", to, "genrobust"],
    }
    network = f"{info.architecture}, images of {info.image_size} px, {len(info.classes):,} classes"
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {escaped(name)}",
        escaped(f"An image classifier ({network}), trained with genrobust and exported by its version {__version__}."),
        "## How to load it",
        fenced(_LOADING[to].format(name=name, size=info.image_size), "python"),
        escaped(f"Images are prepared so: {protocol(info.image_size)}. {_PREPARED[to]}"),
        "## What it was trained on",
        markdown_table(["", ""], list(_training(info))),
        "## What it scores",
        *(_scores(info, figures) if figures else _unscored(info)),
        "## Limits",
        "\n".join(f"- {escaped(line)}" for line in _limits(info, figures)),
        "## Licence",
        escaped(_licence(licence)),
    ]
    return "\n\n".join(parts) + "\n"


_LOADING = {
    "timm": """import timm
from PIL import Image

model = timm.create_model("local-dir:{name}", pretrained=True).eval()  # the path of this folder
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
logits = model(transform(Image.open("image.png").convert("RGB"))[None])
print(model.pretrained_cfg["label_names"][logits.argmax()])""",
    "onnx": """import json

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{name}/model.onnx")  # the path of this folder
image = Image.open("image.png").convert("RGB")
short = min(image.size)
image = image.resize([{size} * side // short for side in image.size], Image.Resampling.BICUBIC)
left, top = (round((side - {size}) / 2) for side in image.size)
image = image.crop((left, top, left + {size}, top + {size}))
pixels = np.asarray(image).transpose(2, 0, 1)[None]  # uint8 [1, 3, {size}, {size}]: the file normalizes them
(logits,) = session.run(["logits"], {{"images": pixels}})
print(json.loads(session.get_modelmeta().custom_metadata_map["label_names"])[logits[0].argmax()])""",
}
_PREPARED = {
    "timm": "timm's transform of this folder does the same, pixel for pixel. The class ids are its label_names.",
    "onnx": "timm's words for it are in the file's metadata (pretrained_cfg), beside the class ids (label_names).",
}


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


def _scores(info: CheckpointInfo, figures: Measured) -> Iterator[str]:
    summary, arm = figures.summary, figures.arm
    yield escaped(
        f"Measured in the study {figures.title} ({figures.date}), where it is the arm {arm}, seed {figures.seed}. In "
        f"percent and points, with 95 % intervals; {SMALL}."
    )
    shown = [figure for figure in list_figures() if any(figures.score(figure.name, t) for t in summary.tests)]
    heads = ["test set", "images", "classes", *(figure.caption(summary) for figure in shown)]
    tests = dict.fromkeys([*summary.tests, *summary.paired.values()])
    yield markdown_table(heads, [_row(figures, test, shown) for test in tests])
    if any(score.extrapolated for key, score in summary.scores.items() if (key.arm, key.seed) == (arm, figures.seed)):
        yield "° extrapolates: the clean accuracy lies outside those that the baseline line was fitted on."
    mean, er = summary.find("top1", arm), summary.find("er", arm)
    if mean and len(summary.seeds) > 1:
        robust = f", and its effective robustness {number(er.value, True)} points ({span(er, True)})" if er else ""
        yield escaped(
            f"Over {count(len(summary.seeds), 'seed')} and {count(len(summary.shifts), 'shifted test set')}, the arm's "
            f"top-1 is {number(mean.value)} % ({span(mean)}){robust}."
        )


def _row(figures: Measured, test: str, shown: Sequence[Figure]) -> list[str]:
    def text(figure: Figure) -> str:
        score = figures.score(figure.name, test)
        if score is None:
            return ""
        value = number(score.value, figure.signed, figure.digits)
        return f"{value} ({span(score, figure.signed, figure.digits)})" + (" °" if score.extrapolated else "")

    top1 = figures.summary.score("top1", figures.arm, test, figures.seed)
    name = f"{test} (clean)" if test == figures.summary.clean else test
    return [name, f"{top1.n:,}", str(top1.classes), *map(text, shown)]


def _unscored(info: CheckpointInfo) -> Iterator[str]:
    yield "It was exported without the results of a study, so what it scores on test images is not told here."
    best = info.training.get("best_val_top1")
    if best is not None:
        yield f"Its best top-1 on the validation images, which chose its weights, was {number(best)} %."


# ------------------------------------------------------------------------------------------ words


def _limits(info: CheckpointInfo, figures: Measured | None) -> Iterator[str]:
    yield f"It knows {len(info.classes)} classes and answers one of them whatever an image shows."
    generated = [source for source in info.training.get("counts") or {} if source != REAL]
    if generated:
        yield f"Part of its training images are not the real ones ({', '.join(generated)}): their labels may be wrong."
    if figures is None:
        yield "Its probabilities are the softmax of its logits: whether they are calibrated was not measured."
        return
    for figure in list_figures():
        if any(key.figure == figure.name for key in figures.summary.scores):
            yield f"{figure.heading(figures.summary)} is {figure.note}."
    if not figures.summary.lines:
        yield "The study had no baseline models, so there is no effective robustness."
    own = protocol(info.image_size)
    for words in dict.fromkeys(figures.summary.protocols.values()):
        if words != own:
            yield f"Some figures were measured on images that were prepared otherwise than above: {words}."


def _licence(licence: str) -> str:
    chosen = (
        "No licence was chosen for these weights: ask whoever published them before you use or share them."
        if licence == "other"
        else f"The weights are published under {licence}."
    )
    return f"{chosen} The licences of the training images, and of the generator that drew any of them, hold as well."
