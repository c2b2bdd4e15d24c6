"""A benchmark on disk: one HTML page that needs no network, with the hardest images, and JSON beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genrobust import __version__
from genrobust.core import ImageSet, LabelSpace, Score, count, page_json, write_files
from genrobust.report import (
    MISLABELED,
    SHAPES,
    Lane,
    Thumbnail,
    axis,
    contact_sheet,
    is_below_guessing,
    is_sure,
    make_thumbnail,
    number,
    render,
    span,
    to_json_values,
)
from genrobust.tools.benchmark.scoring import Benchmark, HardImage, OfModels

LOOKS = {"generated": {"color": 1, "shape": SHAPES[0]}, "real": {"color": 0, "shape": SHAPES[1]}}
PER_CLASS = 4  # images of each class of either set on the contact sheet
OPEN_CLASSES = 6  # that are shown before the rest is opened
ANSWERS = 2  # wrong classes named below an image
NBSP, TIMES = "\u00a0", "\u00d7"


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A benchmark with what it was made on: both sets, over the classes `labels`, by the names they are known under.

    `notes` are what must be known to read the metrics right.
    """

    name: str
    real_name: str
    generated: ImageSet
    real: ImageSet
    labels: LabelSpace
    result: Benchmark
    notes: tuple[str, ...]


def write_benchmark_page(made: Benchmarked, folder: Path) -> dict[str, Path]:
    """Write benchmark.html and benchmark.json into `folder`; returns their paths by name.

    They replace those of an earlier benchmark.

    Raises:
        UserError: The folder cannot be written, or holds files of these names that were changed.
    """
    return write_files({"benchmark.html": _html(made), "benchmark.json": page_json(_facts(made))}, folder)


def _html(made: Benchmarked) -> str:
    result = made.result
    both = zip(*(contact_sheet(images, made.labels, PER_CLASS) for images in (made.generated, made.real)), strict=True)
    sheets = [(name, [("generated", generated), (made.real_name, real)]) for (name, generated), (_, real) in both]
    return render(
        "tools/benchmark/benchmark.html.j2",
        made=made,
        models=result.models,
        verdict=benchmark_verdict(made),
        parts=leading_parts(result),
        dots=_dots(result),
        looks=LOOKS,
        styles=sorted(result.by_style.items(), key=lambda row: -sum(of.drop.value for of in row[1])),
        classes=sorted(
            zip(made.labels.names, result.sizes, result.by_class, strict=True),
            key=lambda row: (sum(generated for generated, _ in row[2]), row[0]),
        ),
        hardest=[_hard_image(made, hard) for hard in result.hardest],
        sheets=(sheets[:OPEN_CLASSES], sheets[OPEN_CLASSES:]),
    )


def leading_parts(result: Benchmark) -> list[tuple[str, OfModels]]:
    """Return the scores over several styles, with their images in words: what counts most comes first."""
    overall = ("over all images", result.overall)
    if not result.within:
        return [overall]
    styles = list(result.by_style)
    within = f"the {len(styles)} styles of both sets, each with the same weight"
    return [(f"within {within if len(styles) > 1 else f'the style {styles[0]}'}", result.within), overall]


def benchmark_verdict(made: Benchmarked) -> list[str]:
    """Say how the first model does, and where none does better than by guessing, in a sentence each."""
    words, (first, *_) = leading_parts(made.result)[0]
    change = "" if is_sure(first.drop) else ", which may be chance"
    sentences = [
        f"{next(iter(made.result.models))}: {words}, {number(first.generated.value)} % on "
        f"{count(first.generated.n, 'generated image')} and {number(first.real.value)} % on {first.real.n:,} real "
        f"ones, a drop of {number(first.drop.value, True)} points (95 % interval {span(first.drop, True)}{change})."
    ]
    overall = made.result.overall
    for name, scores in ((made.real_name, [s.real for s in overall]), (made.name, [s.generated for s in overall])):
        if all(map(is_below_guessing, scores)):
            chance = number(100 / scores[0].classes)
            sentences.append(f"On {name}, no model reaches guessing ({chance} %): perhaps {MISLABELED}.")
    return sentences


def _dots(result: Benchmark) -> dict[str, Any]:
    """Place both accuracies of each model with their intervals on one axis."""
    leading = leading_parts(result)[0][1]
    scores = {name: (of.generated, of.real) for name, of in zip(result.models, leading, strict=True)}
    place, ticks = axis([(score.lo, score.hi) for both in scores.values() for score in both])

    def lane(name: str, metric: str, score: Score) -> Lane:
        label = f"{name}, {metric}: {number(score.value)} % ({span(score)})"
        return Lane(metric, place(score.value), (place(score.lo), place(score.hi)), label)

    rows = {name: [lane(name, *of) for of in zip(LOOKS, both, strict=True)] for name, both in scores.items()}
    return {"rows": rows, "ticks": ticks}


def _hard_image(made: Benchmarked, hard: HardImage) -> Thumbnail:
    """Show a hard image with its class, and what most checkpoints take it for."""
    names = made.labels.names
    several = sum(made.result.models.values()) > 1
    taken_for = ", ".join(
        names[label] + (f"{NBSP}{TIMES}{NBSP}{n}" if several else "") for label, n in hard.taken_for[:ANSWERS]
    )
    return make_thumbnail(made.generated, hard.index, hard.key, f"{names[hard.label]} → {taken_for}")


def _facts(made: Benchmarked) -> Any:
    """Return everything that was measured as JSON; classes by their names in the data, in the order of the labels."""
    sides = {"generated": (made.name, made.generated), "real": (made.real_name, made.real)}
    sets = {
        side: {"name": name, "images": len(images), "fingerprint": images.fingerprint}
        for side, (name, images) in sides.items()
    }
    more = {"classes": list(made.labels.label_names), "notes": made.notes, **asdict(made.result)}
    return to_json_values({"genrobust": __version__, **sets, **more})
