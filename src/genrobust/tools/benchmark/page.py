"""A benchmark on disk: one HTML page that needs no network, with the hardest images, and JSON and CSV beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genrobust import __version__
from genrobust.core import ImageSet, LabelSpace, Score, csv_line, page_json, write_files
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
from genrobust.tools.benchmark.scoring import Benchmark, Compared, HardImage, ModelScores, OnBothSets, StyleScores

CSV_COLUMNS = ("model", "scope", "of", "metric", "value", "lo", "hi", "n", "method")
METRICS = ("generated", "real", "drop")
BOTH = "generated, real"  # below a heading: a column has both
LOOKS = {"generated": {"color": 1, "shape": SHAPES[0]}, "real": {"color": 0, "shape": SHAPES[1]}}
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
    """Write benchmark.html, benchmark.json and benchmark.csv into `folder`; returns their paths by name.

    They replace those of an earlier benchmark.

    Raises:
        UserError: The folder cannot be written, or holds files of these names that were changed.
    """
    contents = {
        "benchmark.html": benchmark_html(made),
        "benchmark.json": page_json(facts(made)),
        "benchmark.csv": table_csv(made),
    }
    return write_files(contents, folder)


def benchmark_html(made: Benchmarked) -> str:
    """Return the benchmark as one HTML page."""
    models = made.result.models
    hardest = [hard_image(made, hard) for hard in made.result.hardest]
    both = zip(*(contact_sheet(images, made.labels, PER_CLASS) for images in (made.generated, made.real)), strict=True)
    sheets = [(name, [("generated", generated), (made.real_name, real)]) for (name, generated), (_, real) in both]
    return render(
        "tools/benchmark/benchmark.html.j2",
        made=made,
        models=models,
        several=any(model.checkpoints > 1 for model in models),
        verdict=benchmark_verdict(made),
        parts=parts(made),
        dots=dots(models),
        looks=LOOKS,
        styles=by_style(made),
        classes=accuracies_by_class(made),
        class_heads=["class", ("images", BOTH), *((model.name, BOTH) for model in models)],
        rows=ROWS,
        hardest=(hardest[:OPEN_HARD], hardest[OPEN_HARD:]),
        sheets=(sheets[:OPEN_CLASSES], sheets[OPEN_CLASSES:]),
    )


def benchmark_verdict(made: Benchmarked) -> list[str]:
    """Say how the first model does, and how the drops of the others compare with its own, in a sentence each."""
    first, *others = made.result.models
    sides = ("real", made.real_name), ("generated", made.name)
    low = [
        name for side, name in sides if all(is_below_guessing(getattr(of.scores, side)) for of in made.result.models)
    ]
    scores, n = first.scores, (count(len(made.generated), "generated image"), f"{len(made.real):,} real ones")
    overall = f"{number(scores.generated.value)} % on {n[0]} and {number(scores.real.value)} % on {n[1]}"
    said = [f"{first.name}: {overall}, {_change_phrase(scores.drop)}."]
    if first.within is not None:
        within, all_images = first.within.scores, f"Over all images, {overall}, {_change_phrase(scores.drop)}."
        said = [
            f"{first.name}: {_styles_phrase(made.result.shared)}, {number(within.generated.value)} % on generated "
            f"images and {number(within.real.value)} % on real ones, {_change_phrase(within.drop)}.",
            *([all_images] if len(parts(made)) > 1 else []),
        ]
    chance = number(100 / scores.real.classes)
    said += [f"On {name}, no model reaches guessing ({chance} %): perhaps {MISLABELED}." for name in low]
    beyond = ((m.name, m.leading.beyond) for m in others)
    against = sorted(((name, score) for name, score in beyond if score is not None), key=lambda pair: pair[1].value)
    if len(against) > COMPARED:
        against = [*against[: COMPARED - 1], against[-1]]
    if against:
        drop = "the drop within styles" if first.within else "the drop"
        said.append(
            f"Against that of {first.name}, {drop} is {'; '.join(_comparison_phrase(*pair) for pair in against)}."
        )
    return said


def _styles_phrase(styles: Sequence[str]) -> str:
    """Say over which styles the mean is."""
    if len(styles) == 1:
        return f"within the style {styles[0]}"
    return f"within the {len(styles)} styles of both sets, each with the same weight"


def _change_phrase(drop: Score) -> str:
    """From real to generated images, in words."""
    if not is_sure(drop):
        return f"a drop of {number(drop.value, True)} points that may be chance (95 % interval {span(drop, True)})"
    change = "a drop" if drop.value > 0 else "a gain"
    return f"{change} of {number(abs(drop.value))} points (95 % interval {_unsigned_span(drop)})"


def _comparison_phrase(name: str, beyond: Score) -> str:
    if not is_sure(beyond):
        return f"no other beyond chance for {name} ({span(beyond, True)})"
    side = "smaller" if beyond.value < 0 else "larger"
    return f"{number(abs(beyond.value))} points {side} for {name} ({_unsigned_span(beyond)})"


def _unsigned_span(score: Score) -> str:
    """The interval of a metric whose sign the words give."""
    return span(score if score.value > 0 else replace(score, lo=-score.hi, hi=-score.lo))


def dots(models: Sequence[ModelScores]) -> dict[str, Any]:
    """Place both accuracies of each model with their intervals on one axis, within styles where there are such."""
    scores = {model.name: model.leading.scores for model in models}
    place, ticks = axis([(score.lo, score.hi) for both in scores.values() for score in (both.generated, both.real)])

    def lane(name: str, metric: str) -> Lane:
        score = getattr(scores[name], metric)
        label = f"{name}, {metric}: {number(score.value)} % ({span(score)})"
        return Lane(metric, place(score.value), (place(score.lo), place(score.hi)), label)

    return {"rows": {name: [lane(name, metric) for metric in LOOKS] for name in scores}, "ticks": ticks}


def parts(made: Benchmarked) -> list[tuple[str, list[Compared]]]:
    """Return the comparisons of the models: each in words, with what each model scored in it.

    Within styles comes first, where there is that; over all images, where that is anything else.
    """
    result = made.result
    within = [model.within for model in result.models if model.within]
    comparisons: list[tuple[str, list[Compared]]] = [(_styles_phrase(result.shared), within)] if within else []
    if not within or len(result.styles) > 1:
        comparisons.append(("over all images", list(result.models)))
    return comparisons


def by_style(made: Benchmarked) -> dict[str, Any]:
    """Return the known styles with the images of both sets and each model's metrics, the largest drop first.

    Styles of one set alone follow, the hardest first. `metrics` are those that any style has, `heads` those of a table.
    """
    models, sizes = made.result.models, made.result.styles

    def rank(style: str) -> tuple[bool, float, str]:
        scores = [model.styles[style] for model in models]
        drops = [score.drop.value for score in scores if score.drop]
        accuracies = [score.value for both in scores if (score := both.generated or both.real)]
        return not drops, -sum(drops) if drops else sum(accuracies), style

    names = sorted(models[0].styles, key=rank)
    metrics = [metric for metric in METRICS if any(getattr(scores, metric) for scores in models[0].styles.values())]
    rows = [
        (name, sizes[name], [[getattr(model.styles[name], metric) for metric in metrics] for model in models])
        for name in names
    ]
    heads = ["style", ("images", BOTH), *((model.name, metric) for model in models for metric in metrics)]
    return {"metrics": metrics, "heads": heads, "rows": rows}


def accuracies_by_class(made: Benchmarked) -> list[tuple[str, tuple[int, int], list[tuple[float, float]]]]:
    """Return the classes with the images of both sets and each model's accuracies, the hardest generated first."""
    result = made.result
    rows = [
        (name, result.sizes[label], [model.classes[label] for model in result.models])
        for label, name in enumerate(made.labels.names)
    ]
    return sorted(rows, key=lambda row: (sum(generated for generated, _ in row[2]), row[0]))


def hard_image(made: Benchmarked, hard: HardImage) -> Thumbnail:
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
    return make_thumbnail(made.generated, hard.index, f"{hard.key}. {answered}", f"{names[hard.label]} → {answers}")


def facts(made: Benchmarked) -> Any:
    """Return everything that was measured as JSON; classes by their names in the data, in the order of the labels.

    Each model begins with its name and how it did within styles, null where the sets share none.
    """
    sides = {"generated": (made.name, made.generated), "real": (made.real_name, made.real)}
    sets = {
        side: {"name": name, "images": len(images), "fingerprint": images.fingerprint}
        for side, (name, images) in sides.items()
    }
    models = [{"name": model.name, "within": None, **asdict(model)} for model in made.result.models]
    more = {"classes": list(made.labels.label_names), "notes": made.notes, **asdict(made.result), "models": models}
    return to_json_values({"genrobust": __version__, **sets, **more})


def table_csv(made: Benchmarked) -> str:
    """Return one row a metric, in percent or points.

    `scope` is within (the mean over the styles of both sets), all (over all images), style or class.
    """
    return "".join(map(csv_line, [CSV_COLUMNS, *_table_rows(made)]))


def _table_rows(made: Benchmarked) -> Iterator[tuple[str | int, ...]]:
    first = made.result.models[0].name
    for model in made.result.models:
        for scope, compared in (("within", model.within), ("all", model)):
            if compared is None:
                continue
            yield from _score_rows(model, scope, "", compared.scores)
            if compared.beyond is not None:
                yield _score_row(model, scope, "", f"drop minus that of {first}", compared.beyond)
        for style, scores in model.styles.items():
            yield from _score_rows(model, "style", style, scores)
        for name, accuracies, sizes in zip(made.labels.label_names, model.classes, made.result.sizes, strict=True):
            for metric, value, n in zip(METRICS, accuracies, sizes, strict=False):
                yield model.name, "class", name, metric, f"{value:.4f}", "", "", n, ""


def _score_rows(
    model: ModelScores, scope: str, style: str, scores: OnBothSets | StyleScores
) -> Iterator[tuple[str | int, ...]]:
    for metric in METRICS:
        if (score := getattr(scores, metric)) is not None:
            yield _score_row(model, scope, style, metric, score)


def _score_row(model: ModelScores, scope: str, style: str, metric: str, score: Score) -> tuple[str | int, ...]:
    values = (f"{value:.4f}" for value in (score.value, score.lo, score.hi))
    return (model.name, scope, style, metric, *values, score.n, score.method)
