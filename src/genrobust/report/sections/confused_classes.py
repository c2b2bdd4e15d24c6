"""The section on confused classes: the pairs that an arm confuses most, and its predictions as a matrix."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

import numpy as np
from PIL import Image

from genrobust.core import ClassReport, Confusion
from genrobust.report.report_section import CHARACTER, Plot, ReportSection, Table, plain_table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.thumbnails import data_uri
from genrobust.report.wording import number

# Up to this many classes, a matrix has their names.
NAMED = 25
# Up to this many classes, a matrix has its percents.
PRINTED = 10
# Shades of a matrix. Equal differences of shade are of the square root of a share, so that few images are visible.
LEVELS = 15
# The colors of predictions. Shades are opacities, so they look right on paper of any color.
RIGHT, WRONG = (31, 119, 180), (214, 96, 20)
# SVG units.
SIDE, LEFT, TOP, MARGIN = 280, 36, 22, 8
# The most space for names, in SVG units.
TEXT = 90
# The height of a name over a column, which is turned by 45 degrees, as a share of its length.
TURNED = 0.72
# Wrong classes that the description of a class names.
TAKEN_FOR = 3
MATRIX = (
    "In a matrix, rows are true classes and columns are predicted ones, in the same order. Shades, and the numbers if "
    "there are few classes, are percents of the true class: right is blue, wrong orange. Point at a row to read it."
)


@SECTIONS.register("confusion")
def confusion(view: ReportView) -> ReportSection | None:
    """Return the classes that the answer's arm and its reference confuse. None if nothing is wrong or was recorded."""
    summary = view.overview
    arm = view.answer.arm or summary.reference
    sides = list(reversed(summary.class_reports))
    arms = list(dict.fromkeys([arm, summary.reference_of(arm)]))
    tables = []
    for name in arms:
        table = _pairs_table(view, name, {side: summary.class_reports[side][name] for side in sides})
        if table is not None:
            tables.append(table)
    if not tables:
        return None
    plots = []
    for side in sides:
        for name in arms:
            report = summary.class_reports[side][name]
            if report.matrix is not None:
                plots.append(_matrix_plot(view, name, side, report))
    lead = "The pairs of classes that are confused most: true class → predicted class. results.json has other arms."
    if len(summary.seeds) > 1:
        lead += " Numbers of images are means over the seeds."
    if view.summary.groups:
        lead += " Numbers of a group are means over its arms."
    return ReportSection(
        title="Confused classes",
        order=75,
        lead=f"{lead} {MATRIX if plots else 'Matrices are shown for up to 100 classes.'}",
        tables=tables,
        plots=plots,
    )


def _pairs_table(view: ReportView, arm: str, reports: Mapping[str, ClassReport]) -> Table | None:
    """Return the pairs of classes that an arm confuses most, one side next to the other. None without any."""
    heads = []
    pairs_of_sides = []
    for side, report in reports.items():
        heads += [f"on {side}", "images", "% of the class"]
        pairs_of_sides.append([_pair_cells(view, pair) for pair in report.confused])
    rows = []
    for cells in zip_longest(*pairs_of_sides, fillvalue=["", "", ""]):
        rows.append(list(chain.from_iterable(cells)))
    if not rows:
        return None
    return plain_table(heads, rows, view.names[arm], words=range(3, len(heads), 3))


def _pair_cells(view: ReportView, pair: Confusion) -> list[str]:
    names = view.record.class_names
    digits = 0 if float(pair.images).is_integer() else 1
    images = number(pair.images, digits=digits)
    return [f"{names[pair.label]} → {names[pair.said]}", images, number(100 * pair.share, digits=0)]


def _matrix_plot(view: ReportView, arm: str, side: str, report: ClassReport) -> Plot:
    names = view.record.class_names
    counts = np.array(report.matrix)
    # A class without images has no shares.
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(counts / counts.sum(axis=1, keepdims=True))
    percents = (100 * shares).round().astype(int).tolist()
    height = SIDE / len(names)
    is_named = len(names) <= NAMED
    left, top_edge = LEFT, TOP
    if is_named:
        left = min(TEXT, round(CHARACTER * max(map(len, names))) + MARGIN)
        top_edge = TOP + round(TURNED * left)
    rows = []
    for i, name in enumerate(names):
        top = round(top_edge + height * i, 2)
        shown = percents[i] if len(names) <= PRINTED else []
        rows.append((top, name if is_named else "", _predictions_in_words(names, i, shares[i]), shown))
    box = {
        "left": left,
        "top": top_edge,
        "side": SIDE,
        # A name over the last column reaches beyond it.
        "width": left + SIDE + (round(TURNED * left) if is_named else MARGIN),
        "height": top_edge + SIDE + MARGIN,
    }
    drawn = {"uri": data_uri(_png(shares)), "rows": rows, "row": round(height, 2)}
    return Plot(
        title=f"confusion {arm} {side}",
        macro="confusion",
        parts=[(box["height"], (drawn, box))],
        box=box,
        description=f"Matrix of classes by predicted class, {arm} on {side}",
        heading=arm,
        note=side,
    )


def _predictions_in_words(names: Sequence[str], label: int, shares: np.ndarray) -> str:
    """Write the predictions for the images of a class: "camera: 62 % right, 12 % crane, 8 % bird"."""
    if not shares.any():
        return f"{names[label]}: no images"
    text = f"{names[label]}: {100 * shares[label]:.0f} % right"
    largest = np.argsort(-shares, kind="stable")[: TAKEN_FOR + 1].tolist()
    wrong = [i for i in largest if i != label and shares[i] > 0]
    for i in wrong[:TAKEN_FOR]:
        text += f", {100 * shares[i]:.0f} % {names[i]}"
    return text


def _png(shares: np.ndarray) -> bytes:
    """Draw `shares`, [K, K], one square per cell: the larger the share, the more opaque."""
    shades = np.ceil(LEVELS * np.sqrt(shares)).astype(np.uint8)
    # The palette has all shades of wrong predictions, then all shades of right ones.
    right = (LEVELS + 1) * np.eye(len(shares), dtype=np.uint8)
    image = Image.fromarray(shades + right, mode="P")
    image.putpalette([*WRONG] * (LEVELS + 1) + [*RIGHT] * (LEVELS + 1))
    opacities = [round(255 * level / LEVELS) for level in range(LEVELS + 1)]
    side = max(1, SIDE // len(shares)) * len(shares)
    image = image.resize((side, side), Image.Resampling.NEAREST)
    data = io.BytesIO()
    image.save(data, "PNG", transparency=bytes(opacities + opacities), bits=5, optimize=True)
    return data.getvalue()
