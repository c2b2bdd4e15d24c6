"""The section on confused classes: the pairs that an arm confuses most, and its answers as a matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from PIL import Image

from genrobust.core import ClassReport, Confusion
from genrobust.report.nouns import CHARACTER, Plot, ReportSection, Table, plain_table
from genrobust.report.page import data_uri
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import number

NAMED = 25  # classes, up to which they are named beside a matrix
PRINTED = 10  # classes, up to which a matrix has its percents
LEVELS = 15  # shades of a matrix; equal differences of shade are of the square root of a share, so that few are seen
RIGHT, WRONG = (31, 119, 180), (214, 96, 20)  # the colors of answers: on paper of any color, since shades are opacities
SIDE, LEFT, TOP = 280, 36, 22  # SVG units
TEXT = 90  # SVG units at the most beside a matrix
MATRIX = (
    "In a matrix, rows are true classes, columns predicted ones, in the same order. Shades, and the numbers of few "
    "classes, are percents of the true class: right is blue, wrong orange. Point at a row to read it."
)


@SECTIONS.register("confusion")
def confusion(view: ReportView) -> ReportSection | None:
    """Return what the arm of the answer and its reference take classes for.

    None where nothing is mistaken, or this was not recorded.
    """
    summary = view.overview
    sides, arm = list(summary.class_reports)[::-1], view.answer.arm or summary.reference
    arms = dict.fromkeys([arm, summary.reference_of(arm)])
    reports = {name: {side: summary.class_reports[side][name] for side in sides} for name in arms}
    tables = [table for name, of_arm in reports.items() if (table := _pairs(view, name, of_arm))]
    if not tables:
        return None
    plots = [
        _matrix(view, name, side, report)
        for side in sides
        for name in arms
        if (report := reports[name][side]).matrix is not None
    ]
    lead = "The pairs of classes that are confused most: true class → predicted class. results.json has other arms."
    if len(summary.seeds) > 1:
        lead += " Numbers of images are means over the seeds."
    if summary.groups:
        lead += " Those of a group are means over its arms."
    return ReportSection(
        title="Confused classes",
        order=75,
        lead=f"{lead} {MATRIX if plots else 'Matrices are shown for up to 100 classes.'}",
        tables=tables,
        plots=plots,
    )


def _pairs(view: ReportView, arm: str, reports: dict[str, ClassReport]) -> Table | None:
    """The pairs of classes that an arm confuses most, those of each side beside each other."""
    cells = [[_pair(view, pair) for pair in report.confused] for report in reports.values()]
    rows = [[text for pair in row for text in pair] for row in zip_longest(*cells, fillvalue=["", "", ""])]
    heads = [head for side in reports for head in (f"on {side}", "images", "% of the class")]
    return plain_table(heads, rows, view.names[arm], words=range(3, len(heads), 3)) if rows else None


def _pair(view: ReportView, pair: Confusion) -> list[str]:
    names = view.record.class_names
    images = number(pair.images, digits=0 if float(pair.images).is_integer() else 1)
    return [f"{names[pair.label]} → {names[pair.said]}", images, number(100 * pair.share, digits=0)]


def _matrix(view: ReportView, arm: str, side: str, report: ClassReport) -> Plot:
    names, counts = view.record.class_names, np.array(report.matrix)
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(counts / counts.sum(axis=1, keepdims=True))
    is_named = len(names) <= NAMED
    left = min(TEXT, round(CHARACTER * max(map(len, names))) + 8) if is_named else LEFT
    row, percents = SIDE / len(names), (100 * shares).round().astype(int).tolist()
    rows = [
        (
            round(TOP + row * i, 2),
            name if is_named else "",
            _in_words(names, i, shares[i]),
            percents[i] if len(names) <= PRINTED else [],
        )
        for i, name in enumerate(names)
    ]
    box = {"left": left, "top": TOP, "side": SIDE, "width": left + SIDE + 8, "height": TOP + SIDE + 8}
    drawn = {"uri": data_uri(_png(shares)), "rows": rows, "row": round(row, 2)}
    about = f"Matrix of classes by predicted class, {arm} on {side}"
    parts = [(TOP + SIDE + 8, (drawn, box))]
    return Plot(f"confusion {arm} {side}", "confusion", parts, box, description=about, heading=arm, note=side)


def _in_words(names: Sequence[str], label: int, shares: np.ndarray) -> str:
    """Say how the images of a class are answered: "camera: 62 % right, 12 % crane, 8 % bird"."""
    if not shares.any():
        return f"{names[label]}: no images"
    most = [i for i in np.argsort(-shares, kind="stable")[:4].tolist() if i != label and shares[i] > 0][:3]
    taken_for = "".join(f", {100 * shares[i]:.0f} % {names[i]}" for i in most)
    return f"{names[label]}: {100 * shares[label]:.0f} % right{taken_for}"


def _png(shares: np.ndarray) -> bytes:
    """Draw `shares`, [K, K], one pixel a cell: the more, the more opaque."""
    shades = np.ceil(LEVELS * np.sqrt(shares)).astype(np.uint8)
    image = Image.fromarray(shades + (LEVELS + 1) * np.eye(len(shares), dtype=np.uint8), mode="P")
    image.putpalette([*WRONG] * (LEVELS + 1) + [*RIGHT] * (LEVELS + 1))
    opacities = bytes(round(255 * level / LEVELS) for _ in range(2) for level in range(LEVELS + 1))
    data = io.BytesIO()
    image.resize([max(1, SIDE // len(shares)) * len(shares)] * 2, Image.Resampling.NEAREST).save(
        data, "PNG", transparency=opacities, bits=5, optimize=True
    )
    return data.getvalue()
