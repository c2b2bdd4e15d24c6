"""Draws the figures of the findings from the results of their studies, as prose.py keeps them in docs/results.

    pip install matplotlib
    python docs/figures.py

writes docs/figures/*.svg, those of the studies that are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from prose import read_kept

OUT = Path(__file__).parent / "figures"
RESULTS = Path(__file__).parent / "results"
BLUE, ORANGE, GREEN, GRAY = "#2f6fde", "#d9730d", "#2e8b57", "#777777"  # distinct for color-blind readers
ABOVE, BELOW = (5, 4), (5, -11)  # offset of a name from its point, in points
WIDTH = 7.2  # inches: the width of a page's column at 100 px an inch
STYLE = {
    "font.family": "sans-serif",
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


def scores_of(summary: Results, figure: str, test_set: str = MEAN) -> dict[str, Score]:
    """The means over seeds of a figure on a test set, by arm or group."""
    rows = summary["scores"]
    wanted = {"figure": figure, "test_set": test_set, "minus": ""}
    return {row["arm"]: row for row in rows if wanted.items() <= row.items()}


def dots(axes: Axes, names: Sequence[str], scores: Sequence[Score], colors: Sequence[str], offset: float = 0) -> None:
    """A row for each of `names`, from the top: its score with its interval."""
    for row, (score, color) in enumerate(zip(scores, colors, strict=True)):
        axes.plot([score["lo"], score["hi"]], [row + offset] * 2, color=color, linewidth=1.5)
        axes.plot([score["value"]], [row + offset], "o", color=color, markersize=5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def main_question(summary: Results) -> None:
    """Some arms on each test set, and on the mean of the shifts."""
    colors = {
        "real": GRAY, "drawing styles": "#8d5fd3", "real+generated": BLUE, "real+generated, drawing styles": ORANGE,
        "real+retrieved": GREEN,
    }  # fmt: skip
    sets = [summary["clean"], *summary["shifts"]]
    by_set = [scores_of(summary, "top1", name) for name in (*sets, MEAN)]
    figure, axes = plt.subplots(figsize=(WIDTH, 4.8), layout="constrained")
    for place, (arm, color) in enumerate(colors.items()):
        scores = [of_set[arm] for of_set in by_set]
        dots(axes, [*sets, "mean of the shifts"], scores, [color] * len(scores), (place - 2) * 0.15)
        axes.plot([], [], "o-", color=color, label=arm)
    axes.set_xlabel("top-1, %")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    save(figure, "main")


def conditioning(summary: Results) -> None:
    """Each source of images: FID to the real ones, and accuracy when mixed with them."""
    means = scores_of(summary, "top1")
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    for quality in summary["qualities"]:
        name, mixed = quality["source"], means.get(f"real+{quality['source']}")
        if mixed:
            at = quality["fid"], mixed["value"]
            axes.plot(*at, "o", color=GREEN if name == "retrieved" else BLUE, markersize=5)
            place = BELOW if name in ("no style words", "labels+images fine-tuned") else ABOVE  # two are close
            axes.annotate(name, at, xytext=place, textcoords="offset points", fontsize=8)
    real = means["real"]["value"]
    axes.axhline(real, color=GRAY, linestyle="--")
    axes.annotate("real alone", (0.30, real), xytext=(0, 4), textcoords="offset points", fontsize=8, color=GRAY)
    axes.set_xlim(0.04, 0.345)
    axes.grid(axis="y", color="#dddddd")
    axes.set_xlabel("FID to the real training images (less is nearer)")
    axes.set_ylabel("top-1 beside real images,\nmean of the shifts, %")
    save(figure, "conditioning")


def amounts(summary: Results) -> None:
    """Accuracy by the amount of generated images."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained")
    means, er = scores_of(summary, "top1"), scores_of(summary, "er")
    for axes, scores, label in zip(panels, (means, er), ("top-1, %", "effective robustness, points"), strict=True):
        for pattern, color, told in (("real+{}x", BLUE, "beside real images"), ("{}x alone", ORANGE, "alone")):
            found = [(float(x), scores[pattern.format(x)]) for x in ("0.1", "0.3", "1", "2", "6")
                     if pattern.format(x) in scores]  # fmt: skip
            at, found_scores = [x for x, _ in found], [score for _, score in found]
            axes.plot(at, [s["value"] for s in found_scores], "o-", color=color, label=told, markersize=5)
            axes.fill_between(
                at, [s["lo"] for s in found_scores], [s["hi"] for s in found_scores], color=color, alpha=0.15
            )
        axes.axhline(scores["real"]["value"], color=GRAY, linestyle="--", label="real alone")
        axes.set_xscale("log")
        axes.set_xticks([0.1, 0.3, 1, 2, 6], ["0.1", "0.3", "1", "2", "6"])
        axes.minorticks_off()
        axes.grid(axis="y", color="#dddddd")
        axes.set_xlabel("generated images for each real one")
        axes.set_ylabel(f"{label}\n(mean of the shifts)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)
    save(figure, "amounts")


def budgets(longest: Results) -> None:
    """Accuracy by the time that one core takes, generation included, of trainings of different lengths."""
    colors = {
        "real": GRAY, "AutoAugment": "#b8860b", "drawing styles": "#8d5fd3", "real+generated": BLUE,
        "real+generated, drawing styles": ORANGE, "real+retrieved": GREEN,
    }  # fmt: skip
    studies = dict.fromkeys((300, 600), read_kept("budgets")) | {1200: read_kept("budgets-1200"), 2400: longest}
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    for arm, color in colors.items():
        top1 = [scores_of(study, "top1")[f"{arm}, {steps} steps"]["value"] for steps, study in studies.items()]
        seconds = longest["seconds"][f"{arm}, 2400 steps"]  # by its rates: others were timed apart
        minutes = [(seconds.get("generate", 0) + seconds["train"] * steps / 2400) / 60 for steps in studies]
        axes.plot(minutes, top1, "o-", color=color, label=arm, markersize=5)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 15], ["1", "2", "5", "10", "15"])
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd")
    axes.set_xlabel("minutes of one core to generate and train, logarithmic")
    axes.set_ylabel("top-1, mean of the shifts, %")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    save(figure, "budgets")


def augmentations(summary: Results) -> None:
    """Augmented and generated images."""
    means, clean = scores_of(summary, "top1"), scores_of(summary, "top1", summary["clean"])
    arms = sorted(summary["arms"], key=lambda arm: -means[arm]["value"])
    colors = [BLUE if "generated" in arm else GRAY for arm in arms]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained", sharey=True)
    dots(panels[0], arms, [means[arm] for arm in arms], colors)
    dots(panels[1], arms, [clean[arm] for arm in arms], colors)
    panels[0].set_xlabel("top-1 on the mean of the shifts, %")
    panels[1].set_xlabel(f"top-1 on {summary['clean']}, %")
    save(figure, "augmentations")


def architectures(summary: Results) -> None:
    """Effective robustness of each architecture and of their mean."""
    er = scores_of(summary, "er")
    colors = {"real": GRAY, "generated": ORANGE, "real+generated": BLUE}
    figure, axes = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    rows = [arm.split(", ")[1] for arm in summary["groups"]["real"]]
    for place, (name, color) in enumerate(colors.items()):
        scores = [er[arm] for arm in (*summary["groups"][name], name)]
        dots(axes, [*rows, "mean"], scores, [color] * len(scores), (place - 1) * 0.2)
        axes.plot([], [], "o-", color=color, label=name)
    axes.set_xlabel("effective robustness, points, mean of the shifts")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    save(figure, "architectures")


def benchmark(drops: Results) -> None:
    """Each model on real and on generated images, within styles."""
    models = drops["models"]
    names = [model["name"].partition(":")[2] or model["name"] for model in models]
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    for side, color, offset in (("real", GRAY, -0.1), ("generated", ORANGE, 0.1)):
        dots(axes, names, [model["within"][side] for model in models], [color] * len(names), offset)
        axes.plot([], [], "o-", color=color, label=f"on {side} images")
    axes.set_xlabel("top-1 within styles, %")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save(figure, "benchmark")


def save(figure: Any, name: str) -> None:
    """Write a figure without its date."""
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / f"{name}.svg", metadata={"Date": None}, facecolor="white")
    plt.close(figure)


DRAWN = {
    "pictograms-full": main_question,
    "amounts": amounts,
    "budgets-2400": budgets,
    "augmentations": augmentations,
    "headline": architectures,
    "generators": conditioning,
    "benchmarks/pictograms-full-generated-val": benchmark,
}


def main() -> None:
    plt.rcParams.update(STYLE)
    for name, draw in DRAWN.items():
        if (kept := RESULTS / f"{name}.json").exists():
            draw(read_kept(name) if "/" not in name else json.loads(kept.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
