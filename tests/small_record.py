"""A small study's record, with hand-made metrics that are easy to check by eye."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter
from rich.console import Console
from scipy.special import ndtr

from genrobust.core import (
    ALL_SHIFTS,
    MEAN_OF_SHIFTS,
    ArmRecord,
    BaselineModel,
    ClassReport,
    Line,
    MissedImage,
    MissedPicture,
    Picture,
    Score,
    ScoreKey,
    StageRecord,
    StudyRecord,
    Summary,
)
from genrobust.report import ReportView, terminal
from genrobust.report.renderers.results_json import summary_to_json
from genrobust.robustness import list_metrics

TOP1 = {  # by arm and test set; pixel is too small for the mean
    "real": {"test": 90.0, "solid": 60.0, "emoji": 20.0, "pixel": 50.0},
    "real+generated": {"test": 89.6, "solid": 70.0, "emoji": 35.0, "pixel": 55.0},
    "real+retrieved": {"test": 91.0, "solid": 80.0, "emoji": 60.0, "pixel": 75.0},
}
ER = {"real": {"solid": 0.5, "emoji": -1.5}, "real+generated": {"solid": 9.0, "emoji": 12.0}}
ER["real+retrieved"] = {"solid": 18.0, "emoji": 36.0}
BY_CLASS = {"real": (50.0, None, 30.0), "real+generated": (40.0, None, 90.0), "real+retrieved": (50.0, None, 80.0)}
CLASSES = ("camera", "crane", "crane bird")
SIZES = {"test": (400, 6), "solid": (300, 6), "emoji": (200, 12), "pixel": (40, 6)}  # images and classes


def score(value: float, test_set: str, half: float = 2.0, method: str = "bootstrap 95 %") -> Score:
    return Score(value, value - half, value + half, *SIZES.get(test_set, (500, 6)), method)


Values = dict[str, dict[str, float]]


def with_mean(of_sets: dict[str, float]) -> dict[str, float]:
    return of_sets | {MEAN_OF_SHIFTS: (of_sets["solid"] + of_sets["emoji"]) / 2}


def table(metric: str, values: Values, reference: str = "real") -> dict[ScoreKey, Score]:
    """The scores of the arms in `values`, with their means over shifts and their differences from `reference`."""
    scores = {}
    for arm, of_sets in values.items():
        for test, value in with_mean(of_sets).items():
            made = score(value, test)
            scores[ScoreKey(metric, arm, test)] = replace(made, extrapolated=metric == "er" and test != "solid")
            if arm != reference:
                less = value - with_mean(values[reference])[test]
                p = 2 * float(ndtr(-abs(less)))  # the half widths of 2 are two standard errors
                scores[ScoreKey(metric, arm, test, minus=reference)] = replace(score(less, test), p=p)
    return scores


def any_two(values: Values, arm: str, other: str) -> dict[ScoreKey, Score]:
    """The differences in top-1 between two arms that are not each other's reference."""
    pairs = zip(with_mean(values[arm]).items(), with_mean(values[other]).values(), strict=True)
    return {ScoreKey("top1", arm, test, minus=other): score(ours - theirs, test) for (test, ours), theirs in pairs}


def by_class(recalls: dict[str, tuple[float | None, ...]]) -> dict[str, ClassReport]:
    return {arm: ClassReport((None,) * len(recall), recall, ()) for arm, recall in recalls.items()}


def by_seed(metric: str, values: Values, step: float = 1) -> dict[ScoreKey, Score]:
    return {
        ScoreKey(metric, arm, test, seed): score(value + step * (seed - 1), test)
        for arm, of_sets in values.items()
        for test, value in of_sets.items()
        for seed in (0, 1, 2)
    }


@pytest.fixture
def summary() -> Summary:
    """Three arms, three seeds, two shifts in the mean and one left out; emoji's line does not reach the arms."""
    nll = {arm: {test: (100 - value) / 50 for test, value in of_sets.items()} for arm, of_sets in TOP1.items()}
    paired = {arm: {"test on the classes of emoji": 89.0} for arm in TOP1}
    return Summary(
        arms=tuple(TOP1),
        reference="real",
        seeds=(0, 1, 2),
        clean="test",
        shifts=("solid", "emoji"),
        left_out={"pixel": "40 images, fewer than 150"},
        scores=table("top1", TOP1) | by_seed("top1", TOP1) | by_seed("top1", paired) | table("er", ER)
        | by_seed("er", ER, 0) | table("nll", nll) | any_two(TOP1, "real+retrieved", "real+generated"),
        paired={"test": "test", "solid": "test", "emoji": "test on the classes of emoji", "pixel": "test"},
        lines={
            "solid": Line(
                test_set="solid", transform="logit", slope=0.9, intercept=-1.2, r2=0.98, n=8, residual_sd=0.1,
                lo=50.0, hi=95.0, center=1.2,
            ),
            "emoji": Line(
                test_set="emoji", transform="logit", slope=0.6, intercept=-2.6, r2=0.95, n=8, residual_sd=0.2,
                lo=50.0, hi=80.0, center=0.6,
            ),
        },
        protocols=dict.fromkeys(SIZES, "64 px: center crop") | {"emoji": "64 px: center crop; first label alone"},
        gaps={"top5": {"emoji": "over 5 classes it is always 100 %"}},
        by_group={"emoji": {arm: (of["emoji"] - 9.0, of["emoji"] + 8.0) for arm, of in TOP1.items()}},
        class_reports={ALL_SHIFTS: by_class(BY_CLASS)},
        class_sizes={ALL_SHIFTS: (200, 0, 300)},
        missed=(MissedImage("solid", 7, "solid-7", 0, 2, 0.75),),
        missed_counts={"test": 0, "solid": 12},
    )  # fmt: skip


def summary_from_json(plain: dict[str, Any]) -> Summary:
    """What `summary_to_json` made `plain` from."""
    keys = [ScoreKey(*(row[name] for name in ScoreKey._fields)) for row in plain["scores"]]
    scores = TypeAdapter(list[Score]).validate_python(plain["scores"])
    summary = TypeAdapter(Summary).validate_python({**plain, "scores": {}})
    return replace(summary, scores=dict(zip(keys, scores, strict=True)))


@pytest.fixture
def renamed(summary) -> Callable[[str], Summary]:
    """The summary with names of an arm and a test set that begin with a text from outside."""

    def rename(text: str) -> Summary:
        plain = json.dumps(summary_to_json(summary, list_metrics()))
        for old in ("real+generated", "solid"):
            plain = plain.replace(json.dumps(old)[1:-1], json.dumps(text + old)[1:-1])
        return summary_from_json(json.loads(plain))

    return rename


@pytest.fixture
def shown(record) -> Callable[..., str]:
    """The final table as a terminal of so many columns shows it."""

    def show(summary: Summary, width: int = 80) -> str:
        console = Console(width=width, file=io.StringIO())
        console.print(terminal(ReportView(replace(record, summary=summary))))
        lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
        assert max(map(len, lines)) <= width
        return "\n".join(lines)

    return show


@pytest.fixture
def picture() -> Callable[..., Picture]:
    """A red square as PNG, of the class, style and origin asked for."""

    def make(class_name: str = "camera", style: str = "solid", origin: str = "generated", **changes) -> Picture:
        png = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(png, "PNG")
        made = {"data": png.getvalue(), "caption": f"a {style} icon of a {class_name}"}
        return Picture(origin=origin, class_name=class_name, style=style, **{**made, **changes})

    return make


@pytest.fixture
def record(summary, picture) -> StudyRecord:
    parts = ({"real": 1800}, {"real": 1800, "generated": 5000}, {"real": 1800, "retrieved": 4987})
    return StudyRecord(
        title="Do generated icons help?",
        question="Does a mixture make a classifier more robust?",
        command="genrobust run pictograms-full",
        recipe_yaml="name: pictograms-full\nseeds: [0, 1, 2]\n",
        date="2026-01-31",
        summary=summary,
        arms=tuple(ArmRecord(n, p, "resnet10t", "standard", 600, 128) for n, p in zip(TOP1, parts, strict=True)),
        stages=(StageRecord("generate", 231.4, 5000, "images", False), StageRecord("train", 0, 9, "models", True)),
        pictures=(picture(origin="real"), picture(), picture("crane bird"), picture("crane bird", "emoji", "real")),
        environment={"genrobust": "0.1.0", "device": "cpu"},
        notes=("The generator saw no test image.",),
        baselines=tuple(
            BaselineModel(f"m{i}", t, 50.0 + 5 * i, 30.0 + 5 * i) for t in ("solid", "emoji") for i in range(8)
        ),
        class_names=CLASSES,
        missed=(
            MissedPicture(picture().data, "solid", "camera", "crane bird (75 %)", "solid-7"),
            MissedPicture(picture().data, "emoji", "camera", "crane bird (99 %)", "emoji-3", "generated"),
        ),
    )


@pytest.fixture
def grouped(record) -> StudyRecord:
    """The record's study with a second network, each mixture a group; the second's top-1 is 10 lower."""
    second = {arm: f"{arm}, b" for arm in TOP1}
    lower = {second[arm]: {test: value - 10 for test, value in of_sets.items()} for arm, of_sets in TOP1.items()}
    same = {second[arm]: of_sets for arm, of_sets in ER.items()}
    mean = {f"any {arm}": {test: value - 5 for test, value in of_sets.items()} for arm, of_sets in TOP1.items()}
    mean_er = {f"any {arm}": of_sets for arm, of_sets in ER.items()}
    changed = replace(
        record.summary,
        arms=(*TOP1, *second.values()),
        scores=record.summary.scores
        | table("top1", lower, "real, b") | by_seed("top1", lower) | table("er", same, "real, b")
        | by_seed("top1", {arm: {"test on the classes of emoji": 89.0} for arm in lower})
        | table("top1", mean, "any real") | table("er", mean_er, "any real")
        | any_two(mean, "any real+retrieved", "any real+generated"),
        by_group={"emoji": dict.fromkeys((*TOP1, *second.values()), (11.0, 28.0))},
        class_reports={
            ALL_SHIFTS: by_class(
                BY_CLASS
                | {second[arm]: top1 for arm, top1 in BY_CLASS.items()}
                | {f"any {arm}": top1 for arm, top1 in BY_CLASS.items()}
            )
        },
        references=dict.fromkeys(TOP1, "real") | dict.fromkeys(lower, "real, b") | dict.fromkeys(mean, "any real"),
        groups={f"any {arm}": (arm, second[arm]) for arm in TOP1},
    )  # fmt: skip
    arms = (*record.arms, *(replace(a, name=second[a.name], architecture="regnetx_002") for a in record.arms))
    return replace(record, summary=changed, arms=arms)
