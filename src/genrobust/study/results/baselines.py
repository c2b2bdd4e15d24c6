"""The baseline models of effective robustness: a grid of standard models trained on real data alone, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import BaselineModel, Line, Predictions, UserError
from genrobust.data import LINE_CLASSES, published_line, read_baselines
from genrobust.recipe import COMBINED, FROM_SCRATCH, DataConfig, MixturePart, RobustnessConfig, TrainConfig
from genrobust.robustness import Published, doubts_of, fit_lines, score_baselines
from genrobust.study.training_runs import TrainingRun

SECOND = ("resnet14t", "resnet10t")  # the one that is not the study's: no line is one architecture's
# Further ones, of other kinds; all are small enough for a CPU.
OTHERS: dict[str, dict[str, Any]] = {
    "regnetx_002": {},
    "densenet121": {"growth_rate": 12, "block_config": [3, 6, 12, 8]},
    "mobilenetv3_small_050": {},
    "vit_tiny_patch16_224": {"embed_dim": 128, "depth": 4, "num_heads": 4},
}
PATCHES = 8  # of a transformer, along a side
# Fractions of the real images and of the study's steps: strong models first, then ever weaker ones. The first train for
# longer than the study's arms, since data that help also raise clean accuracy, and beyond the models no line is known.
SPANS = ((1.0, 2.0), (1.0, 1.0), (0.5, 0.5), (0.25, 0.5), (1.0, 0.25), (0.5, 1.0), (0.12, 0.5), (0.25, 1.0))
KEY = "robustness.baselines"


def grid(train: TrainConfig, count: int, images: int) -> list[TrainingRun]:
    """Return `count` standard models around the study's own settings, from strong to weak, to span clean accuracies.

    They differ as the models of the robustness testbed do (Taori et al., 2020): in size, training length and amount of
    real data (of `images` in all), and beyond twice as many models as SPANS in the kind of network; none sees
    generated data or more than standard augmentation. A longer grid begins with the shorter one.

    Raises:
        UserError: The grid does not hold so many models.
    """
    second = SECOND[train.architecture == SECOND[0]]
    second_kwargs = train.model_kwargs if train.architecture.startswith("resnet") else {}
    patches = {"patch_size": max(1, train.image_size // PATCHES)}
    others = [
        (name, {**kwargs, **(patches if name.startswith("vit") else {})})
        for name, kwargs in OTHERS.items()
        if name != train.architecture
    ]
    first = ((train.architecture, train.model_kwargs), (second, second_kwargs))
    runs: list[TrainingRun] = []
    for networks, (fraction, length) in (*product([first], SPANS), *product([others], SPANS)):
        parts = (MixturePart(source="real", fraction=None if fraction == 1 else fraction),)
        for architecture, model_kwargs in networks:
            steps = max(20, round(train.steps_for(images) * length))
            standard = {
                **FROM_SCRATCH,
                "architecture": architecture,
                "model_kwargs": model_kwargs,
                "steps": steps,
                "epochs": None,
                "warmup_steps": min(train.warmup_for(images), steps // 10),
                "warmup_epochs": None,
                "augmentation": "standard",
                "augmentation_share": 1.0,
                **dict.fromkeys(COMBINED, 0.0),
            }
            settings = train.changed(standard, "a baseline")
            name = f"{architecture}, {fraction:g} of real, {steps} steps"
            runs.append(TrainingRun(name, parts, settings, 0, baseline=True))
    if count > len(runs):
        raise UserError(f"robustness.grid: {count} asks for more than the {len(runs)} models that the grid holds")
    return runs[:count]


def published_lines(
    settings: RobustnessConfig, data: DataConfig, shifts: Sequence[str], classes: int
) -> tuple[dict[str, Line], list[str]]:
    """Return the lines of those of `shifts` that are known without their models, with notes on why others have none.

    They are over ImageNet's 1,000 classes, and the `classes` of the study must be as many.
    """
    if settings.grid or not data.has_published_lines or settings.baselines != "shipped":
        return {}, []
    if classes < LINE_CLASSES:
        why = f"The published baseline lines are over {LINE_CLASSES:,} classes and this study has {classes}"
        return {}, [f"{why}: for a line, train baseline models with robustness.grid."]
    lines = {name: published_line(name, data.shifts[name]) if name in data.shifts else None for name in shifts}
    missing = [
        f"No baseline line for {name}: none is published for such a set." for name in shifts if lines[name] is None
    ]
    return {name: line for name, line in lines.items() if line is not None}, missing


def grid_rows(
    predictions: Mapping[tuple[str, int, str], Predictions], clean: str, shifts: Sequence[str], transform: str
) -> tuple[list[BaselineModel], list[str]]:
    """Return the models of a grid as baselines on those of `shifts` that a line can be fitted to, with notes on others.

    `predictions` are by model, seed and test set, `clean` among these. A study is not lost because its grid is too
    alike for a line.
    """
    scored, fitted, notes = score_baselines(predictions, clean, shifts), [], []
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


def table_rows(name: str, shifts: Sequence[str], transform: str) -> tuple[list[BaselineModel], list[str]]:
    """Return the models of the table `name` on `shifts`, with notes on shifts without a line and on what is doubtful.

    "pictograms" is the shipped table, anything else a CSV file as `read_baselines` reads it.

    Raises:
        UserError: The table cannot be read, has none of `shifts`, or has too few models for a line.
    """
    shipped = resources.files("genrobust") / "assets" / "pictograms" / "baselines.csv"
    with nullcontext(Path(name)) if name != "pictograms" else resources.as_file(shipped) as path:
        rows, notes = read_baselines(path, KEY, shifts)
    if shifts and not rows and name != "pictograms":
        raise UserError(
            f"{KEY}: {' '.join(notes)} Rename the test sets of the table, or set the key to null for no line"
        )
    for shift, line in fit_lines(rows, shifts, transform).items():
        of_shift = [row for row in rows if row.test_set == shift]
        clean, shifted = np.array([(row.clean, row.shifted) for row in of_shift]).T
        models = Published(tuple(row.model for row in of_shift), clean, shifted, "clean", "shifted")
        notes += [f"Baselines of {shift}: {doubt}" for doubt in doubts_of(models, [line])]
    return rows, notes
