"""A small study's record, with hand-made figures that are easy to check by eye."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image

from genrobust.core.record import ArmRecord, Picture, StageRecord, StudyRecord
from genrobust.core.results import MEAN_OF_SHIFTS, BaselineModel, Cell, Difference, Group, Line, Score, Summary

TOP1 = {  # by arm and test set; pixel is too small for the mean
    "real": {"test": 90.0, "solid": 60.0, "emoji": 20.0, "pixel": 50.0},
    "real+generated": {"test": 89.6, "solid": 70.0, "emoji": 35.0, "pixel": 55.0},
    "real+retrieved": {"test": 91.0, "solid": 80.0, "emoji": 60.0, "pixel": 75.0},
}
ER = {"real": {"solid": 0.5, "emoji": -1.5}, "real+generated": {"solid": 9.0, "emoji": 12.0}}
ER["real+retrieved"] = {"solid": 18.0, "emoji": 36.0}
MEANS = {arm: (of_sets["solid"] + of_sets["emoji"]) / 2 for arm, of_sets in TOP1.items()}
SIZES = {"test": (400, 6), "solid": (300, 6), "emoji": (200, 3), "pixel": (40, 6)}


def score(value: float, test_set: str, half: float = 2.0, method: str = "bootstrap 95 %") -> Score:
    return Score(value, value - half, value + half, *SIZES.get(test_set, (500, 6)), method)


@pytest.fixture
def summary() -> Summary:
    """Three arms, three seeds, two shifts in the mean and one left out; emoji's line does not reach the arms."""
    cells, differences = [], []
    for arm, of_sets in TOP1.items():
        for seed in (0, 1, 2):
            for test, value in of_sets.items():
                er = score(ER[arm][test], test) if test in ER[arm] else None
                every = Score(value - 5, value - 7, value - 3, SIZES[test][0], 6, "Clopper-Pearson 95 % over images")
                top1 = score(value + seed - 1, test)
                cells.append(Cell(arm, seed, test, top1, every, score(88 + seed, test), er, test == "emoji"))
        if arm == "real":
            continue
        for test, value in of_sets.items():
            differences.append(Difference(arm, "real", test, "top1", score(value - TOP1["real"][test], test)))
        for figure, values in (("top1", TOP1), ("er", ER)):
            gain = sum(values[arm][s] - values["real"][s] for s in ("solid", "emoji")) / 2
            differences.append(Difference(arm, "real", MEAN_OF_SHIFTS, figure, score(gain, MEAN_OF_SHIFTS)))
    return Summary(
        arms=tuple(TOP1),
        reference="real",
        seeds=(0, 1, 2),
        clean="test",
        shifts=("solid", "emoji"),
        left_out={"pixel": "40 images, fewer than 150"},
        cells=tuple(cells),
        lines={
            "solid": Line("solid", "logit", 0.9, -1.2, 0.98, 8, 0.1, 50.0, 95.0, 1.2),
            "emoji": Line("emoji", "logit", 0.6, -2.6, 0.95, 8, 0.2, 50.0, 80.0, 0.6),
        },
        arm_top1={(arm, test): score(v, test) for arm, of_sets in TOP1.items() for test, v in of_sets.items()},
        arm_er={(arm, test): score(v, test) for arm, of_sets in ER.items() for test, v in of_sets.items()},
        mean_top1={arm: score((v["solid"] + v["emoji"]) / 2, MEAN_OF_SHIFTS) for arm, v in TOP1.items()},
        mean_er={arm: score((v["solid"] + v["emoji"]) / 2, MEAN_OF_SHIFTS) for arm, v in ER.items()},
        differences=tuple(differences),
        protocols=dict.fromkeys(SIZES, "64 px: centre crop") | {"emoji": "64 px: centre crop; first label alone"},
    )


@pytest.fixture
def picture() -> Callable[..., Picture]:
    """A red square as PNG, of the class, style and origin asked for."""

    def make(class_name: str = "camera", style: str = "solid", origin: str = "generated", **changes) -> Picture:
        png = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(png, "PNG")
        made = {"png": png.getvalue(), "caption": f"a {style} icon of a {class_name}"}
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
    )


@pytest.fixture
def grouped(record) -> StudyRecord:
    """The record's study with a second network, each mixture a group; the second's top-1 is 10 lower."""
    summary, second = record.summary, {arm: f"{arm}, b" for arm in TOP1}
    lower = {(second[arm], test): score(v - 10, test) for arm, of_sets in TOP1.items() for test, v in of_sets.items()}
    groups = tuple(
        Group(
            name=f"any {arm}",
            arms=(arm, second[arm]),
            reference="" if arm == "real" else "any real",
            top1={t: score(v - 5, t) for t, v in of_sets.items()} | {MEAN_OF_SHIFTS: score(MEANS[arm] - 5, "")},
            er={t: score(v, t) for t, v in ER[arm].items()} | {MEAN_OF_SHIFTS: score(sum(ER[arm].values()) / 2, "")},
            top1_gain={
                **{t: score(v - TOP1["real"][t], t) for t, v in of_sets.items() if arm != "real"},
                **({} if arm == "real" else {MEAN_OF_SHIFTS: score(MEANS[arm] - MEANS["real"], "")}),
            },
            er_gain={} if arm == "real" else {MEAN_OF_SHIFTS: score(sum(ER[arm].values()) / 2 + 0.5, "")},
        )
        for arm, of_sets in TOP1.items()
    )
    changed = replace(
        summary,
        arms=(*TOP1, *second.values()),
        cells=(*summary.cells, *(replace(c, arm=second[c.arm]) for c in summary.cells)),
        arm_top1=summary.arm_top1 | lower,
        arm_er=summary.arm_er | {(second[arm], t): s for (arm, t), s in summary.arm_er.items()},
        mean_top1=summary.mean_top1 | {second[arm]: score(mean - 10, "") for arm, mean in MEANS.items()},
        mean_er=summary.mean_er | {second[arm]: s for arm, s in summary.mean_er.items()},
        differences=(
            *summary.differences,
            *(replace(d, arm=second[d.arm], reference=second["real"]) for d in summary.differences),
        ),
        references=dict.fromkeys(TOP1, "real") | dict.fromkeys(second.values(), second["real"]),
        groups=groups,
    )
    arms = (*record.arms, *(replace(a, name=second[a.name], architecture="regnetx_002") for a in record.arms))
    return replace(record, summary=changed, arms=arms)
