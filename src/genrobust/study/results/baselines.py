"""The baseline models of effective robustness: of a grid, or of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from genrobust.classifiers import protocol
from genrobust.core import BaselineModel, Line, Predictions, UserError
from genrobust.data import LINE_CLASSES, published_line, read_baselines
from genrobust.recipe import DataConfig, RobustnessConfig
from genrobust.robustness import Published, find_doubts, fit_lines, score_baselines

KEY = "robustness.baselines"
SHIPPED = protocol(64)  # how the shipped baseline models were scored


def published_lines(
    settings: RobustnessConfig, data: DataConfig, shifts: Sequence[str], classes: int
) -> tuple[dict[str, Line], list[str]]:
    """Return the published lines of `shifts`, and notes on shifts without one.

    The lines are over ImageNet's 1,000 classes, and the `classes` of the study must be as many. Both are empty if the
    recipe names a grid or a table, or no line is published for its data.
    """
    if settings.grid or not data.has_published_lines or settings.baselines != "shipped":
        return {}, []
    if classes < LINE_CLASSES:
        why = f"The published baseline lines are over {LINE_CLASSES:,} classes and this study has {classes}"
        return {}, [f"{why}: for a line, train baseline models with robustness.grid."]
    lines: dict[str, Line] = {}
    notes: list[str] = []
    for name in shifts:
        line = None
        # Sets that are made from test images, such as c-fog-3, have no key of their own.
        if name in data.shifts:
            line = published_line(name, data.shifts[name])
        if line is None:
            notes.append(f"No baseline line for {name}: none is published for such a set.")
        else:
            lines[name] = line
    return lines, notes


def grid_rows(
    predictions: Mapping[tuple[str, int, str], Predictions], clean: str, shifts: Sequence[str], transform: str
) -> tuple[list[BaselineModel], list[str]]:
    """Return the models of a grid as baselines, on the shifts that a line can be fitted to, and notes on other shifts.

    `predictions` are by model, seed and test set, `clean` among these. A study is not lost because its grid is too
    alike for a line.
    """
    scored = score_baselines(predictions, clean, shifts)
    fitted: list[BaselineModel] = []
    notes: list[str] = []
    rows = [replace(row, architecture=row.model.partition(",")[0]) for row in scored]
    for shift in shifts:
        of_shift = [row for row in rows if row.test_set == shift]
        try:
            fit_lines(of_shift, [shift], transform)
        except UserError as error:
            notes.append(f"No baseline line for {shift}: {error}.")
        else:
            fitted += of_shift
    return fitted, notes


def table_rows(
    name: str, shifts: Sequence[str], transform: str, prepared: str = SHIPPED
) -> tuple[list[BaselineModel], list[str]]:
    """Return the models of the table `name` on `shifts`, with notes on shifts without a line and on doubtful lines.

    "pictograms" is the shipped table, anything else a CSV file as `read_baselines` reads it. `prepared` are the words
    of `protocol` on the study's own images.
    """
    shipped = resources.files("genrobust") / "assets" / "pictograms" / "baselines.csv"
    is_shipped = name == "pictograms"
    with resources.as_file(shipped) if is_shipped else nullcontext(Path(name)) as path:
        rows, notes = read_baselines(path, KEY, shifts)
    if shifts and not rows and not is_shipped:
        raise UserError(
            f"{KEY}: {' '.join(notes)} Rename the test sets of the table, or set the key to null for no line"
        )
    if rows and is_shipped and prepared != SHIPPED:
        notes.append(
            f"The shipped baseline models were scored otherwise than this study ({SHIPPED}, here {prepared}): for a "
            "line of the same preparation, train baseline models with robustness.grid."
        )
    for shift, line in fit_lines(rows, shifts, transform).items():
        of_shift = [row for row in rows if row.test_set == shift]
        clean, shifted = np.array([(row.clean, row.shifted) for row in of_shift]).T
        models = Published(tuple(row.model for row in of_shift), clean, shifted, "clean", "shifted")
        notes += [f"Baselines of {shift}: {doubt}" for doubt in find_doubts(models, line)]
    return rows, notes
