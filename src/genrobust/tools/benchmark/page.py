"""The files of a benchmark: an HTML page that needs no network, with the hardest images, and the numbers as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genrobust import __version__
from genrobust.core import ImageSet, LabelSpace, Score, count
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
from genrobust.store import page_json, write_files
from genrobust.tools.benchmark.scoring import Benchmark, HardImage, OfModels

LOOKS = {"generated": {"color": 1, "shape": SHAPES[0]}, "real": {"color": 0, "shape": SHAPES[1]}}
PER_CLASS = 4  # images of each class of either set on the contact sheet
OPEN_CLASSES = 6  # that are shown before the rest is opened
ANSWERS = 2  # wrong classes named below an image
NBSP, TIMES = "\u00a0", "\u00d7"


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A benchmark and what it was made on.

    Attributes:
        name: The name of the generated set.
        real_name: The name of the real set.
        generated: The generated images of the classes `labels`.
        real: The real images of these classes.
        notes: What must be known to read the metrics right.
        warnings: Test images that models trained on, which make accuracies too high.
    """

    name: str
    real_name: str
    generated: ImageSet
    real: ImageSet
    labels: LabelSpace
    result: Benchmark
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def write_benchmark_page(made: Benchmarked, folder: Path) -> dict[str, Path]:
    """Write benchmark.html and benchmark.json into `folder`. They replace the files of an earlier benchmark.

    Returns:
        Their paths by name.

    Raises:
        UserError: The folder cannot be written, or holds files of these names that were changed.
    """
    texts = {"benchmark.html": _html(made), "benchmark.json": page_json(_facts(made))}
    return write_files(texts, folder)


def _html(made: Benchmarked) -> str:
    result = made.result
    sheets = _sheets(made)
    classes = list(zip(made.labels.names, result.sizes, result.by_class, strict=True))
    classes.sort(key=lambda row: (sum(generated for generated, _ in row[2]), row[0]))
    styles = sorted(result.by_style.items(), key=lambda row: -sum(scores.drop.value for scores in row[1]))
    return render(
        "tools/benchmark/benchmark.html.j2",
        made=made,
        models=result.models,
        verdict=benchmark_verdict(made),
        parts=leading_parts(result),
        dots=_dots(result),
        looks=LOOKS,
        styles=styles,
        classes=classes,
        hardest=[_hard_image(made, hard) for hard in result.hardest],
        sheets=(sheets[:OPEN_CLASSES], sheets[OPEN_CLASSES:]),
    )


def _sheets(made: Benchmarked) -> list[tuple[str, list[tuple[str, list[Thumbnail]]]]]:
    """Return for each class its name, and some images of both sets with the names of the sets."""
    generated = contact_sheet(made.generated, made.labels, PER_CLASS)
    real = contact_sheet(made.real, made.labels, PER_CLASS)
    return [
        (name, [("generated", thumbnails), (made.real_name, real_thumbnails)])
        for (name, thumbnails), (_, real_thumbnails) in zip(generated, real, strict=True)
    ]


def leading_parts(result: Benchmark) -> list[tuple[str, OfModels]]:
    """Return the scores over several styles, the most important first, with their images in words."""
    overall = ("over all images", result.overall)
    if not result.within:
        return [overall]
    styles = list(result.by_style)
    words = f"within the style {styles[0]}"
    if len(styles) > 1:
        words = f"within the {len(styles)} styles of both sets, each with the same weight"
    return [(words, result.within), overall]


def benchmark_verdict(made: Benchmarked) -> list[str]:
    """Say in sentences how the first model does, and on which set no model is better than guessing."""
    words, (first, *_) = leading_parts(made.result)[0]
    change = "" if is_sure(first.drop) else ", which may be chance"
    sentences = [
        f"{next(iter(made.result.models))}: {words}, {number(first.generated.value)} % on "
        f"{count(first.generated.n, 'generated image')} and {number(first.real.value)} % on {first.real.n:,} real "
        f"ones, a drop of {number(first.drop.value, True)} points (95 % interval {span(first.drop, True)}{change})."
    ]
    overall = made.result.overall
    by_set = {made.real_name: [of.real for of in overall], made.name: [of.generated for of in overall]}
    for name, scores in by_set.items():
        if all(map(is_below_guessing, scores)):
            chance = number(100 / scores[0].classes)
            sentences.append(f"On {name}, no model reaches guessing ({chance} %): perhaps {MISLABELED}.")
    return sentences


def _dots(result: Benchmark) -> dict[str, Any]:
    """Place both accuracies of each model with their intervals on one axis."""
    _, leading = leading_parts(result)[0]
    scores = {name: (of.generated, of.real) for name, of in zip(result.models, leading, strict=True)}
    place, ticks = axis([(score.lo, score.hi) for both in scores.values() for score in both])

    def lane(name: str, metric: str, score: Score) -> Lane:
        label = f"{name}, {metric}: {number(score.value)} % ({span(score)})"
        interval = (place(score.lo), place(score.hi))
        return Lane(metric, place(score.value), interval, label)

    rows = {name: [lane(name, "generated", made), lane(name, "real", real)] for name, (made, real) in scores.items()}
    return {"rows": rows, "ticks": ticks}


def _hard_image(made: Benchmarked, hard: HardImage) -> Thumbnail:
    """Show a hard image with its class and the most frequent wrong answers."""
    names = made.labels.names
    answers = [names[label] for label, _ in hard.taken_for[:ANSWERS]]
    if sum(made.result.models.values()) > 1:
        answers = [f"{names[label]}{NBSP}{TIMES}{NBSP}{count}" for label, count in hard.taken_for[:ANSWERS]]
    return make_thumbnail(made.generated, hard.index, hard.key, f"{names[hard.label]} → {', '.join(answers)}")


def _facts(made: Benchmarked) -> Any:
    """Return all measurements as JSON. Classes have their names in the data, in the order of the labels."""
    facts = {
        "genrobust": __version__,
        "generated": _set_facts(made.name, made.generated),
        "real": _set_facts(made.real_name, made.real),
        "classes": list(made.labels.label_names),
        "warnings": made.warnings,
        "notes": made.notes,
        **asdict(made.result),
    }
    return to_json_values(facts)


def _set_facts(name: str, images: ImageSet) -> dict[str, Any]:
    """Return the name, size and identity of a set."""
    return {"name": name, "images": len(images), "fingerprint": images.fingerprint}
