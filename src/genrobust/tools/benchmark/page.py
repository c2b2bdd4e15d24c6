"""A benchmark on disk: one HTML page that needs no network, with the hardest images, and JSON beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genrobust import __version__
from genrobust.core import ImageSet, LabelSpace, Score, page_json, write_files
from genrobust.report import (
    MISLABELED,
    SHAPES,
    Lane,
    Thumbnail,
    axis,
    contact_sheet,
    count,
    is_below_guessing,
    is_sure,
    make_thumbnail,
    number,
    render,
    span,
    to_json_values,
)
from genrobust.tools.benchmark.scoring import STYLE, WITHIN, Benchmark, HardImage, Part, Scores

LOOKS = {"generated": {"color": 1, "shape": SHAPES[0]}, "real": {"color": 0, "shape": SHAPES[1]}}
PER_CLASS = 4  # images of each class of either set on the contact sheet
OPEN_CLASSES = 6  # that are shown before the rest is opened
OPEN_HARD = 24  # of the hardest images, likewise
ROWS = 12  # of a table by class, likewise
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
    hardest = [_hard_image(made, hard) for hard in result.hardest]
    both = zip(*(contact_sheet(images, made.labels, PER_CLASS) for images in (made.generated, made.real)), strict=True)
    sheets = [(name, [("generated", generated), (made.real_name, real)]) for (name, generated), (_, real) in both]
    return render(
        "tools/benchmark/benchmark.html.j2",
        made=made,
        models=result.models,
        verdict=benchmark_verdict(made),
        parts=[(part, in_words(part, result)) for part in leading_parts(result)],
        dots=_dots(result),
        looks=LOOKS,
        styles=sorted((part for part in result.parts if part.scope == STYLE), key=_hardness),
        classes=sorted(
            zip(made.labels.names, result.sizes, result.by_class, strict=True),
            key=lambda row: (sum(generated for generated, _ in row[2]), row[0]),
        ),
        rows=ROWS,
        hardest=(hardest[:OPEN_HARD], hardest[OPEN_HARD:]),
        sheets=(sheets[:OPEN_CLASSES], sheets[OPEN_CLASSES:]),
    )


def leading_parts(result: Benchmark) -> list[Part]:
    """Return the parts over several styles: within those of both sets, and over all images where that is else."""
    parts = [part for part in result.parts if part.scope != STYLE]
    return parts if len(result.styles) > 1 else parts[:1]


def in_words(part: Part, result: Benchmark) -> str:
    """Say over which images the scores of `part` are."""
    if part.scope != WITHIN:
        return "over all images"
    if len(result.shared) == 1:
        return f"within the style {result.shared[0]}"
    return f"within the {len(result.shared)} styles of both sets, each with the same weight"


def benchmark_verdict(made: Benchmarked) -> list[str]:
    """Say how the first model does, and how the drops of the others compare with its own, in a sentence each."""
    first, *others = made.result.models
    parts = leading_parts(made.result)
    said = []
    for part in parts:
        generated, real, drop = accuracies(part.scores[0])
        where = in_words(part, made.result)
        who = f"{first}: {where}, " if part is parts[0] else f"{where[0].upper()}{where[1:]}, "
        said.append(
            f"{who}{number(generated.value)} % on {count(generated.n, 'generated image')} and {number(real.value)} % "
            f"on {real.n:,} real ones, a drop of {_points(drop)}."
        )
    for metric, name in (("real", made.real_name), ("generated", made.name)):
        on_set = [getattr(scores, metric) for scores in parts[-1].scores]
        if all(map(is_below_guessing, on_set)):
            chance = number(100 / on_set[0].classes)
            said.append(f"On {name}, no model reaches guessing ({chance} %): perhaps {MISLABELED}.")
    beyond = zip(others, (scores.beyond for scores in parts[0].scores[1:]), strict=True)
    against = sorted(((name, score) for name, score in beyond if score is not None), key=lambda pair: pair[1].value)
    if against:
        drop_of = "the drop within styles" if parts[0].scope == WITHIN else "the drop"
        ends = dict((against[0], against[-1]))  # the smallest and the largest; the table has all
        said.append(
            f"Against that of {first}, {drop_of} differs by "
            f"{'; '.join(f'{_points(score)} for {name}' for name, score in ends.items())}."
        )
    return said


def _points(score: Score) -> str:
    """Write a difference with its interval."""
    chance = "" if is_sure(score) else ", which may be chance"
    return f"{number(score.value, True)} points (95 % interval {span(score, True)}{chance})"


def accuracies(scores: Scores) -> tuple[Score, Score, Score]:
    """Return the accuracies on generated and on real images, and the drop, of a part that both sets have."""
    assert scores.generated is not None and scores.real is not None and scores.drop is not None
    return scores.generated, scores.real, scores.drop


def _dots(result: Benchmark) -> dict[str, Any]:
    """Place both accuracies of each model with their intervals on one axis."""
    scores = {name: accuracies(of)[:2] for name, of in zip(result.models, result.parts[0].scores, strict=True)}
    place, ticks = axis([(score.lo, score.hi) for both in scores.values() for score in both])

    def lane(name: str, metric: str, score: Score) -> Lane:
        label = f"{name}, {metric}: {number(score.value)} % ({span(score)})"
        return Lane(metric, place(score.value), (place(score.lo), place(score.hi)), label)

    rows = {name: [lane(name, *of) for of in zip(LOOKS, both, strict=True)] for name, both in scores.items()}
    return {"rows": rows, "ticks": ticks}


def _hardness(part: Part) -> tuple[bool, float, str]:
    """Order styles: the largest drop first, and those of one set alone last, the hardest first."""
    drops = [scores.drop.value for scores in part.scores if scores.drop]
    found = [score.value for scores in part.scores if (score := scores.generated or scores.real)]
    return not drops, -sum(drops) if drops else sum(found), part.style


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
