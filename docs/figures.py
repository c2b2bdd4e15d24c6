"""Draws the figures of the findings from the results of their studies, as prose.py keeps them in docs/results.

    pip install matplotlib
    python docs/figures.py

writes docs/figures/*.svg.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from prose import drawn_from, read_kept

OUT = Path(__file__).parent / "figures"
BLUE, ORANGE, GREEN, GRAY = "#2f6fde", "#d9730d", "#2e8b57", "#777777"  # distinct for color-blind readers
WIDTH = 7.2  # inches: the width of a page's column at 100 px an inch
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "genrobust",  # equal figures are equal files
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}
Results = dict[str, Any]
Score = dict[str, Any]
MEAN = "mean of shifts"


def scores_of(summary: Results, metric: str, test_set: str = MEAN, minus: str = "") -> dict[str, Score]:
    """Return a metric on a test set by arm or group, over all seeds, or its differences from the arm `minus`."""
    rows = [row for row in summary["scores"] if (row["metric"], row["test_set"]) == (metric, test_set)]
    swapped = [  # a difference is kept in one direction
        {**row, "arm": row["minus"], "value": -row["value"], "lo": -row["hi"], "hi": -row["lo"]}
        for row in rows
        if minus and row["arm"] == minus and row["minus"]
    ]
    return {row["arm"]: row for row in [*swapped, *(row for row in rows if row["minus"] == minus)]}


def dots(axes: Axes, names: Sequence[str], scores: Sequence[Score], colors: Sequence[str], offset: float = 0) -> None:
    """A row for each of `names`, from the top: its score with its interval."""
    for row, (score, color) in enumerate(zip(scores, colors, strict=True)):
        axes.plot([score["lo"], score["hi"]], [row + offset] * 2, color=color, linewidth=1.5)
        axes.plot([score["value"]], [row + offset], "o", color=color, markersize=5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


POLICIES = {"no augmentation": GRAY, "drawing styles": ORANGE}
SOURCES = ("real", "real+generated", "real+retrieved", "real+retrieved+generated")


def crossed(source: str, policy: str) -> str:
    """The arm of pictograms-full that trains on `source` with the augmentation `policy`."""
    if policy == "no augmentation":
        return source
    return policy if source == "real" else f"{source}, {policy}"


def main_question(summary: Results) -> None:
    """Accuracy of each source of images with each augmentation, and what generated images add to it."""
    means = scores_of(summary, "top1")
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.8), layout="constrained", width_ratios=(3, 2))
    for offset, (policy, color) in zip((-0.14, 0.14), POLICIES.items(), strict=True):
        found = [means[crossed(source, policy)] for source in SOURCES]
        dots(panels[0], SOURCES, found, [color] * len(SOURCES), offset)
        added = [
            scores_of(summary, "top1", minus=crossed(without, policy))[crossed(source, policy)]
            for without, source in (SOURCES[:2], SOURCES[2:])
        ]
        dots(panels[1], ["to real", "to real+\nretrieved"], added, [color] * 2, offset)
        panels[0].plot([], [], "o-", color=color, label=policy)
    panels[0].set_xlabel("top-1 on the mean of the shifts, %")
    panels[1].axvline(0, color=GRAY, linestyle="--")
    panels[1].set_xlabel("what generated images\nadd, points")
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    save(figure, "main", "pictograms-full")


ON_BOTH = {  # arms of the recipe pacs: those of pictograms-full that are made alike
    "AutoAugment": "AutoAugment",
    "photograph styles": "drawing styles",
    "generated": "generated",
    "real+generated": "real+generated",
    "real+generated, photograph styles": "real+generated, drawing styles",
    "real+retrieved": "real+retrieved",
    "real+retrieved, photograph styles": "real+retrieved, drawing styles",
    "retrieved+generated": "real+retrieved+generated",
    "retrieved+generated, photograph styles": "real+retrieved+generated, drawing styles",
}


def photographs(summary: Results) -> None:
    """What each way to make data gains over real images alone, on photographs and on icons."""
    gains = scores_of(summary, "top1", minus="real")
    on_icons = scores_of(read_kept("pictograms-full"), "top1", minus="real")
    names = [name.replace("photograph ", "") for name in ON_BOTH]
    figure, axes = plt.subplots(figsize=(WIDTH, 3.9), layout="constrained")
    dots(axes, names, [gains[arm] for arm in ON_BOTH], [ORANGE] * len(names), -0.14)
    dots(axes, names, [on_icons[arm] for arm in ON_BOTH.values()], [BLUE] * len(names), 0.14)
    for color, label in ((ORANGE, "photographs (three other domains)"), (BLUE, "icons (six shifts)")):
        axes.plot([], [], "o-", color=color, label=label)
    axes.axvline(0, color=GRAY, linestyle="--")
    axes.set_xlabel("gain over real images alone on the mean of the shifts, points of top-1")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    save(figure, "photographs", "pacs", "pictograms-full")


POOLS = {"photograph styles": GRAY, "real+generated": BLUE, "real+retrieved": GREEN, "retrieved+generated": ORANGE}


def pools(all_of_it: Results) -> None:
    """Accuracy on the shifts of photographs by how many labeled images of the styles there are."""
    studies = {250: read_kept("pacs-250"), 1000: read_kept("pacs-1000"), 3529: all_of_it}
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    for arm, color in POOLS.items():
        found = [scores_of(study, "top1")[arm] for study in studies.values()]
        lo, value, hi = ([score[key] for score in found] for key in ("lo", "value", "hi"))
        axes.plot(list(studies), value, "o-", color=color, label=arm, markersize=5)
        axes.fill_between(list(studies), lo, hi, color=color, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(list(studies), [f"{count:,}" for count in studies])
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd")
    axes.set_xlabel("labeled paintings, cartoons and sketches, logarithmic")
    axes.set_ylabel("top-1, mean of the shifts, %")
    figure.legend(loc="outside upper left", ncols=4, frameon=False)
    save(figure, "pools", "pacs-250", "pacs-1000", "pacs")


def budgets(summary: Results) -> None:
    """Accuracy by the time that one core takes, generation included, of trainings of different lengths."""
    colors = {
        "real": GRAY, "drawing styles": "#8d5fd3", "real+generated": BLUE, "real+generated, drawing styles": ORANGE,
        "real+retrieved": GREEN, "real+retrieved, drawing styles": "#b8860b",
    }  # fmt: skip
    lengths = (150, 600, 2400)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    for arm, color in colors.items():
        ran = [steps for steps in lengths if f"{arm}, {steps} steps" in summary["arms"]]
        top1 = [scores_of(summary, "top1")[f"{arm}, {steps} steps"]["value"] for steps in ran]
        every = [summary["seconds"][f"{arm}, {steps} steps"] for steps in ran]
        axes.plot([sum(seconds.values()) / 60 for seconds in every], top1, "o-", color=color, label=arm, markersize=5)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd")
    axes.set_xlabel("minutes of one core to generate and train, logarithmic")
    axes.set_ylabel("top-1, mean of the shifts, %")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    save(figure, "budgets", "budgets")


FILLED = {
    "oracle": ("the withheld icons", ORANGE),
    "augmented": ("drawing styles", BLUE),
    "generated": ("generated", GREEN),
}
SHARES = {"sixth": "a sixth", "third": "a third", "twothirds": "two thirds"}  # of the cells, in the names of studies


def holes() -> None:
    """What each filling of a hole gains on the test images of the cells that the pool lacks, by study."""
    studies = json.loads((OUT.parent / "holes.json").read_text(encoding="utf-8"))
    names = [
        f"{study['classes']} classes,\n{SHARES[name.rpartition('-')[2]]} missing" for name, study in studies.items()
    ]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.55 * len(names) + 0.9), layout="constrained")
    for number, (arm, (label, color)) in enumerate(FILLED.items()):
        for row, study in enumerate(studies.values()):
            if arm in study["top1"]["lacks"]:
                _, value, lo, hi = study["top1"]["lacks"][arm]
                place = row + 0.24 * (number - 1)
                axes.plot([lo, hi], [place, place], color=color, linewidth=1.5)
                axes.plot(value, place, "o", color=color, markersize=5)
        axes.plot([], [], "o-", color=color, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color=GRAY, linestyle="--")
    axes.set_xlabel("gain over the pool with its holes in the missing cells, points of top-1")
    figure.legend(loc="outside upper right", ncols=len(FILLED), frameon=False)
    save(figure, "holes", "holes")


def save(figure: Any, name: str, *studies: str) -> None:
    """Write a figure of kept results as a small SVG: without metadata, indentation and a third decimal."""
    file = io.StringIO()
    figure.savefig(file, format="svg", facecolor="white")
    plt.close(figure)
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)
    text = re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", text)).replace("> <", ">\n<")
    (OUT / f"{name}.svg").write_text(f"{text}\n<!-- {drawn_from(*studies)} -->\n", encoding="utf-8")


DRAWN = {main_question: "pictograms-full", budgets: "budgets", photographs: "pacs", pools: "pacs"}


def main() -> None:
    plt.rcParams.update(STYLE)
    for draw, name in DRAWN.items():
        draw(read_kept(name))
    holes()


if __name__ == "__main__":
    main()
