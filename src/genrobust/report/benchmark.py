"""A benchmark on disk: one HTML page that needs no network, with the hardest images, and JSON and CSV beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genrobust import __version__
from genrobust.core import ImageSet, LabelSpace, Score, csv_line, write_files
from genrobust.report.frame import Shown, contact_sheet, plain, render, shown
from genrobust.report.plots import SHAPES, axis
from genrobust.report.wording import count, is_sure, number, span
from genrobust.robustness import Benchmark, HardImage, ModelScores, OnBothSets

CSV_COLUMNS = ("model", "checkpoint", "scope", "of", "figure", "value", "lo", "hi", "n", "method")
FIGURES = ("generated", "real", "drop")
LOOKS = ((1, SHAPES[0]), (0, SHAPES[1]))  # colour and shape of the generated and the real set
PER_CLASS = 4  # images of each class of either set on the contact sheet
OPEN_CLASSES = 6  # that are shown before the rest is opened
OPEN_HARD = 24  # of the hardest images, likewise
ROWS = 12  # of a table by class, likewise
ANSWERS = 2  # wrong classes named below an image
COMPARED = 4  # models that a sentence compares with the first
NBSP, TIMES = "\u00a0", "\u00d7"


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A benchmark with what it was made on: both sets, over the classes `labels`, by the names they are known under.

    `notes` are what must be known to read the figures right.
    """

    name: str
    real_name: str
    generated: ImageSet
    real: ImageSet
    labels: LabelSpace
    result: Benchmark
    notes: tuple[str, ...]


def write_benchmark_page(made: Benchmarked, folder: Path) -> dict[str, Path]:
    """Write benchmark.html, benchmark.json and benchmark.csv into `folder`; returns their paths by name.

    Each file replaces its predecessor whole or not at all. Raises UserError for a folder that cannot be written.
    """
    contents = {
        "benchmark.html": html(made),
        "benchmark.json": json.dumps(facts(made), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "benchmark.csv": table_csv(made),
    }
    return write_files(contents, folder)


def html(made: Benchmarked) -> str:
    """Return the benchmark as one HTML page."""
    models = made.result.models
    hardest = [hard_image(made, hard) for hard in made.result.hardest]
    styles = [(name, score.n, [model.styles[name] for model in models]) for name, score in models[0].styles.items()]
    both = zip(*(contact_sheet(images, made.labels, PER_CLASS) for images in (made.generated, made.real)), strict=True)
    sheets = [(name, [("generated", own), (made.real_name, real)]) for (name, own), (_, real) in both]
    return render(
        "benchmark.html.j2",
        made=made,
        models=models,
        several=any(len(model.each) > 1 for model in models),
        verdict=benchmark_verdict(made),
        dots=dots(models),
        looks=LOOKS,
        styles=sorted(styles, key=lambda row: (sum(score.value for score in row[2]), row[0])),  # the hardest first
        classes=by_class(made),
        rows=ROWS,
        hardest=(hardest[:OPEN_HARD], hardest[OPEN_HARD:]),
        sheets=(sheets[:OPEN_CLASSES], sheets[OPEN_CLASSES:]),
    )


def benchmark_verdict(made: Benchmarked) -> list[str]:
    """Say how the first model does, and how the drops of the others compare with its own, in a sentence each."""
    first, *others = made.result.models
    scores = first.scores
    said = [
        f"{first.name}: {number(scores.generated.value)} % on {count(len(made.generated), 'generated image')} and "
        f"{number(scores.real.value)} % on {len(made.real):,} real ones, {_change(scores.drop)}."
    ]
    against = sorted(((m.name, m.beyond) for m in others if m.beyond is not None), key=lambda pair: pair[1].value)
    if len(against) > COMPARED:
        against = [*against[: COMPARED - 1], against[-1]]
    if against:
        said.append(f"Against that of {first.name}, the drop is {'; '.join(_against(*pair) for pair in against)}.")
    return said


def _change(drop: Score) -> str:
    """From real to generated images, in words."""
    if not is_sure(drop):
        return f"a drop of {number(drop.value, True)} points that may be chance (95 % interval {span(drop, True)})"
    what = "a drop" if drop.value > 0 else "a gain"
    return f"{what} of {number(abs(drop.value))} points (95 % interval {_size(drop)})"


def _against(name: str, beyond: Score) -> str:
    if not is_sure(beyond):
        return f"no other beyond chance for {name} ({span(beyond, True)})"
    side = "smaller" if beyond.value < 0 else "larger"
    return f"{number(abs(beyond.value))} points {side} for {name} ({_size(beyond)})"


def _size(score: Score) -> str:
    """The interval of a figure whose sign the words give."""
    return span(score if score.value > 0 else replace(score, lo=-score.hi, hi=-score.lo))


def dots(models: Sequence[ModelScores]) -> dict[str, Any]:
    """Place both accuracies of each model with their intervals on one axis, in percent of its length."""
    pairs = [(model.name, (model.scores.generated, model.scores.real)) for model in models]
    place, ticks = axis([score for _, scores in pairs for score in scores])
    rows = [
        (
            name,
            [
                (place(s.value), place(s.lo), place(s.hi), f"{name}, {of}: {number(s.value)} % ({span(s)})")
                for of, s in zip(FIGURES, scores, strict=False)
            ],
        )
        for name, scores in pairs
    ]
    return {"rows": rows, "ticks": ticks}


def by_class(made: Benchmarked) -> list[tuple[str, tuple[int, int], list[tuple[float, float]]]]:
    """Return the classes with the images of both sets and each model's accuracies, the hardest generated first."""
    result = made.result
    rows = [
        (name, result.sizes[label], [model.classes[label] for model in result.models])
        for label, name in enumerate(made.labels.names)
    ]
    return sorted(rows, key=lambda row: (sum(generated for generated, _ in row[2]), row[0]))


def hard_image(made: Benchmarked, hard: HardImage) -> Shown:
    """Show a hard image with its class and the commonest wrong answers, and every model's answers in words."""
    names = made.labels.names
    wrong = Counter(label for said in hard.said for label in said if label != hard.label)
    commonest = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:ANSWERS]
    several = sum(map(len, hard.said)) > 1
    answers = ", ".join(names[label] + (f"{NBSP}{TIMES}{NBSP}{n}" if several else "") for label, n in commonest)
    answered = "; ".join(
        f"{model.name}: {', '.join(names[label] for label in said)}"
        for model, said in zip(made.result.models, hard.said, strict=True)
    )
    return shown(made.generated, hard.index, f"{hard.key}. {answered}", f"{names[hard.label]} → {answers}")


def facts(made: Benchmarked) -> Any:
    """Return everything that was measured as JSON; classes by their ids in the order of the labels."""
    sides = {"generated": (made.name, made.generated), "real": (made.real_name, made.real)}
    sets = {
        side: {"name": name, "images": len(images), "fingerprint": images.fingerprint}
        for side, (name, images) in sides.items()
    }
    more = {"classes": list(made.labels.ids), "notes": made.notes, **asdict(made.result)}
    return plain({"genrobust": __version__, **sets, **more})


def table_csv(made: Benchmarked) -> str:
    """Return one row a figure, in percent or points; `scope` is all (over checkpoints), checkpoint, style or class."""
    return "".join(map(csv_line, [CSV_COLUMNS, *_table_rows(made)]))


def _table_rows(made: Benchmarked) -> Iterator[tuple[str | int, ...]]:
    first = made.result.models[0].name
    for model in made.result.models:
        yield from _rows(model, "", "all", model.scores)
        if model.beyond is not None:
            yield _row(model, "", "all", "", f"drop minus that of {first}", model.beyond)
        if len(model.each) > 1:
            for checkpoint, pair in enumerate(model.each):
                yield from _rows(model, str(checkpoint), "checkpoint", pair)
        for style, score in model.styles.items():
            yield _row(model, "", "style", style, "generated", score)
        for id, accuracies, sizes in zip(made.labels.ids, model.classes, made.result.sizes, strict=True):
            for figure, value, n in zip(FIGURES, accuracies, sizes, strict=False):
                yield model.name, "", "class", id, figure, f"{value:.4f}", "", "", n, ""


def _rows(model: ModelScores, checkpoint: str, scope: str, pair: OnBothSets) -> Iterator[tuple[str | int, ...]]:
    for figure in FIGURES:
        yield _row(model, checkpoint, scope, "", figure, getattr(pair, figure))


def _row(model: ModelScores, checkpoint: str, scope: str, of: str, figure: str, score: Score) -> tuple[str | int, ...]:
    values = (f"{value:.4f}" for value in (score.value, score.lo, score.hi))
    return (model.name, checkpoint, scope, of, figure, *values, score.n, score.method)
