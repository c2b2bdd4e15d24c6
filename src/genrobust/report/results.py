"""A study's figures as data: the Summary to and from JSON, and one CSV row a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from genrobust.core import (
    MEAN_OF_SHIFTS,
    Cell,
    Difference,
    Group,
    Line,
    MultiID,
    Plane,
    Score,
    StudyRecord,
    Summary,
    UserError,
)
from genrobust.report.quality import verdicts

FORMAT = 1  # of a summary's JSON; a reader refuses one that it does not know
CSV_COLUMNS = (
    "arm", "group", "seed", "test_set", "figure", "minus", "value", "lo", "hi", "n", "classes", "extrapolated", "method"
)  # fmt: skip


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """`summary` as JSON values. A mapping from (arm, test set) becomes a list of records that name both."""
    plain = asdict(summary)
    tables = [(plain, "arm_top1"), (plain, "arm_er")]
    if plain["multi_id"]:
        tables.append((plain["multi_id"], "arm_er"))
    for of, key in tables:
        of[key] = [{"arm": arm, "test_set": test, **score} for (arm, test), score in of[key].items()]
    return {"format": FORMAT, **plain}


def summary_from_json(value: dict[str, Any]) -> Summary:
    """The Summary that `summary_to_json` made `value` from; raises UserError where it is of another shape."""
    try:
        if value["format"] != FORMAT:
            raise UserError(f"a summary of format {value['format']}, but this version reads {FORMAT}: evaluate again")
        return Summary(
            arms=tuple(value["arms"]),
            reference=value["reference"],
            seeds=tuple(value["seeds"]),
            clean=value["clean"],
            shifts=tuple(value["shifts"]),
            left_out=dict(value["left_out"]),
            cells=tuple(_cell(row) for row in value["cells"]),
            lines={shift: Line(**row) for shift, row in value["lines"].items()},
            arm_top1=_by_arm_and_set(value["arm_top1"]),
            arm_er=_by_arm_and_set(value["arm_er"]),
            mean_top1={arm: _score(row) for arm, row in value["mean_top1"].items()},
            mean_er={arm: _score(row) for arm, row in value["mean_er"].items()},
            differences=tuple(Difference(**{**row, "score": _score(row["score"])}) for row in value["differences"]),
            protocols=dict(value["protocols"]),
            trained_elsewhere=tuple(value.get("trained_elsewhere", ())),
            multi_id=_multi_id(value["multi_id"]) if value.get("multi_id") else None,
            references=dict(value["references"]),
            groups=tuple(_group(row) for row in value["groups"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"this is no summary of a study: {type(error).__name__} {error}: evaluate again") from None


def record_to_json(record: StudyRecord) -> dict[str, Any]:
    """Everything in `record` but its pictures, as JSON values."""
    return {
        "title": record.title,
        "question": record.question,
        "date": record.date,
        "command": record.command,
        "recipe": record.recipe_yaml,
        "environment": record.environment,
        "notes": list(record.notes),
        "arms": [asdict(arm) for arm in record.arms],
        "stages": [asdict(stage) for stage in record.stages],
        "baselines": [asdict(model) for model in record.baselines],
        "claims": [
            {**asdict(v.claim), "difference": v.score and asdict(v.score), "here": v.word} for v in verdicts(record)
        ],
        "qualities": [asdict(quality) for quality in record.qualities],
        "summary": summary_to_json(record.summary),
    }


def summary_to_csv(summary: Summary) -> str:
    """One row a figure, in percent or points: every cell, the means over seeds and shifts, the differences.

    `seed` is empty for a mean over seeds; `minus` names what a difference subtracts; `group`, in the place of `arm`, is
    named where a figure is a mean over arms.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_rows(summary))
    return text.getvalue()


def _csv_rows(summary: Summary) -> Iterator[dict[str, Any]]:
    for c in summary.cells:
        named = {"arm": c.arm, "seed": c.seed, "test_set": c.test_set}
        for figure, score in (("top1", c.top1), ("top1_all", c.top1_all), ("clean", c.clean), ("er", c.er)):
            if score is not None:
                yield {**named, "figure": figure, **asdict(score), **({"extrapolated": c.extrapolated} if c.er else {})}
    tables = [("top1", summary.arm_top1, summary.mean_top1), ("er", summary.arm_er, summary.mean_er)]
    if summary.multi_id:
        tables.append(("multi_er", summary.multi_id.arm_er, summary.multi_id.mean_er))
    for figure, by_test, means in tables:
        for (arm, test), score in by_test.items():
            yield {"arm": arm, "test_set": test, "figure": figure, **asdict(score)}
        for arm, score in means.items():
            yield {"arm": arm, "test_set": MEAN_OF_SHIFTS, "figure": figure, **asdict(score)}
    for d in summary.differences:
        yield {"arm": d.arm, "minus": d.reference, "test_set": d.test_set, "figure": d.figure, **asdict(d.score)}
    for group in summary.groups:
        yield from _group_rows(group)


def _group_rows(group: Group) -> Iterator[dict[str, Any]]:
    for figure, scores, minus in (
        ("top1", group.top1, ""),
        ("er", group.er, ""),
        ("top1", group.top1_gain, group.reference),
        ("er", group.er_gain, group.reference),
    ):
        for test, score in scores.items():
            yield {"group": group.name, "minus": minus, "test_set": test, "figure": figure, **asdict(score)}


def _score(row: dict[str, Any]) -> Score:
    return Score(**{name: row[name] for name in Score.__slots__})


def _by_arm_and_set(rows: list[dict[str, Any]]) -> dict[tuple[str, str], Score]:
    return {(row["arm"], row["test_set"]): _score(row) for row in rows}


def _group(row: dict[str, Any]) -> Group:
    figures = ("top1", "er", "top1_gain", "er_gain")
    scores = {figure: {test: _score(score) for test, score in row[figure].items()} for figure in figures}
    return Group(row["name"], tuple(row["arms"]), row["reference"], **scores)


def _multi_id(value: dict[str, Any]) -> MultiID:
    return MultiID(
        second=value["second"],
        planes={
            shift: Plane(**{**row, **{name: tuple(row[name]) for name in ("id_sets", "slopes", "lo", "hi")}})
            for shift, row in value["planes"].items()
        },
        arm_er=_by_arm_and_set(value["arm_er"]),
        mean_er={arm: _score(row) for arm, row in value["mean_er"].items()},
        beyond=tuple((arm, test) for arm, test in value["beyond"]),
    )


def _cell(row: dict[str, Any]) -> Cell:
    scores = {name: _score(row[name]) for name in ("top1", "top1_all", "clean")}
    return Cell(**{**row, **scores, "er": _score(row["er"]) if row["er"] else None})
