"""Cells (a class in a style): which of the tested cells the training images of an arm have, and which they lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from genrobust.core import Cells, ImageSet
from genrobust.data import Cell, list_cells
from genrobust.study.plan import StudyPlan
from genrobust.study.steps.classifier import ClassifierStep

# Least images of a test set both in cells that an arm has and in cells that it lacks: an accuracy over fewer is noise.
LEAST_IMAGES = 30


def find_cells(
    plan: StudyPlan, excluded: Collection[str] = ()
) -> tuple[tuple[Cells, ...], dict[str, dict[str, np.ndarray]]]:
    """Return the cells that arms have and lack, and the test images in them, as `Comparison.subsets`.

    If the images of a test set have no styles, the name of the set is their style. A set counts if the training images
    have some of its cells and lack others. Shifts count if they are in the mean: not `excluded`, and not small. If no
    shift counts, the clean set may. An arm also has the cells of the arms that it starts from. Arms with the same cells
    share an entry.
    """
    tests = _list_tested_cells(plan, excluded)
    if not tests:
        return (), {}
    clean = plan.context.data.clean
    arms: dict[frozenset[Cell], list[str]] = {}
    tested = set().union(*tests.values())
    for arm in plan.recipe.arms:
        learned = _learned(plan.arm(arm.name)) & tested
        arms.setdefault(frozenset(learned), []).append(arm.name)
    found: list[Cells] = []
    subsets: dict[str, dict[str, np.ndarray]] = {}
    for has, names in arms.items():
        masks: dict[str, np.ndarray] = {}
        for test, cells in tests.items():
            mask = np.array([cell in has for cell in cells])
            if LEAST_IMAGES <= mask.sum() <= len(mask) - LEAST_IMAGES:
                masks[test] = mask
        if len(masks) > 1:
            masks.pop(clean, None)
        if masks:
            present = f"cells that {names[0]} has"
            absent = f"cells that {names[0]} lacks"
            subsets[present] = masks
            subsets[absent] = {test: ~mask for test, mask in masks.items()}
            lacking = _count_lacking(plan, [tests[test] for test in masks], has)
            found.append(Cells(tuple(names), present, absent, lacking))
    return tuple(found), subsets


def _list_tested_cells(plan: StudyPlan, excluded: Collection[str]) -> dict[str, list[Cell]]:
    """List the cell of each image of the test sets that share a style with the training images."""
    styles: set[str] = set()
    for source in sorted(plan.recipe.sources()):
        styles.update(plan.images(source).open().styles)
    styles.discard("")
    sets = plan.context.test_sets
    fewest = plan.recipe.evaluate.min_images
    clean = plan.context.data.clean
    in_mean = [test for test in plan.context.shifts if test not in excluded and len(sets[test]) >= fewest]
    tests: dict[str, list[Cell]] = {}
    for test in (clean, *in_mean):
        cells = _list_cells(sets[test], test)
        # A shift of one class is in no mean: every prediction on it is right.
        if test != clean and len({label for label, _ in cells}) == 1:
            continue
        if styles & {style for _, style in cells}:
            tests[test] = cells
    return tests


def _learned(classifier: ClassifierStep) -> set[Cell]:
    """Return the cells of the training images of a classifier, and of the classifiers that it starts from."""
    cells: set[Cell] = set()
    for images in classifier.open_mixture().parts:
        cells.update(list_cells(images))
    if classifier.origin is None:
        return cells
    return cells | _learned(classifier.origin)


def _list_cells(images: ImageSet, test: str) -> list[Cell]:
    cells = list_cells(images)
    if any(style for _, style in cells):
        return cells
    return [(label, test) for label, _ in cells]


def _count_lacking(
    plan: StudyPlan, tests: Sequence[list[Cell]], has: Collection[Cell]
) -> tuple[tuple[str, str, int], ...]:
    """Count the test images in each cell that is not in `has`, by class and style."""
    names = plan.context.data.labels.names
    counts = Counter[Cell]()
    for cells in tests:
        counts.update(cell for cell in cells if cell not in has)
    return tuple((names[label], style, number) for (label, style), number in counts.most_common())
