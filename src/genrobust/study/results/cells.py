"""Cells, classes in a style: which of those that are tested the training images of an arm have, and which they lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np

from genrobust.core import Cells, ImageSet
from genrobust.data import Cell, list_cells
from genrobust.study.graph import Graph
from genrobust.study.sources.checkpoints import PlannedCheckpoint

LEAST_IMAGES = 30  # of a test set, both in present and in lacking cells: an accuracy over fewer says little


def find_cells(
    graph: Graph, beside: Collection[str] = ()
) -> tuple[tuple[Cells, ...], dict[str, dict[str, np.ndarray]]]:
    """Return the cells that arms have and lack, and the test images in them, as `Comparison.subsets`.

    Of a test set whose images have no styles, the set's name is the style. A set counts where the training images have
    some of its cells and lack others: of the shifts those in the mean, which none `beside` it and no small one is, or
    else the clean set. What an arm has are also the cells of the arms that it starts from. Arms that differ in neither
    share an entry.
    """
    trained_on = {name: graph.images.open(name) for name in sorted(graph.recipe.sources())}
    known = {style for images in trained_on.values() for style in images.styles} - {""}
    sets, clean, fewest = graph.context.test_sets, graph.context.data.clean, graph.recipe.evaluate.min_images
    in_mean = [test for test in graph.context.shifts if test not in beside and len(sets[test]) >= fewest]
    tests = {test: _cells(sets[test], test) for test in (clean, *in_mean)}
    tests = {test: cells for test, cells in tests.items() if known & {style for _, style in cells}}
    if not tests:
        return (), {}
    arms: dict[frozenset[Cell], list[str]] = {}
    tested = {cell for cells in tests.values() for cell in cells}
    for arm in graph.recipe.arms:
        learned = _learned(graph.checkpoints.of_arm(arm.name)) & tested
        arms.setdefault(frozenset(learned), []).append(arm.name)
    found: list[Cells] = []
    subsets: dict[str, dict[str, np.ndarray]] = {}
    for has, names in arms.items():
        masks = {test: np.array([cell in has for cell in cells]) for test, cells in tests.items()}
        masks = {test: mask for test, mask in masks.items() if LEAST_IMAGES <= mask.sum() <= len(mask) - LEAST_IMAGES}
        masks = {test: mask for test, mask in masks.items() if test != clean} or masks
        if masks:
            present, absent = (f"cells that {names[0]} {verb}" for verb in ("has", "lacks"))
            subsets |= {present: masks, absent: {test: ~mask for test, mask in masks.items()}}
            found.append(Cells(tuple(names), present, absent, _lacking(graph, {t: tests[t] for t in masks}, has)))
    return tuple(found), subsets


def _learned(planned: PlannedCheckpoint) -> set[Cell]:
    """The cells of what a classifier trains on, and of what those trained on that it starts from."""
    cells = {cell for images in planned.mixture().parts for cell in list_cells(images)}
    return cells if planned.origin is None else cells | _learned(planned.origin)


def _cells(images: ImageSet, test: str) -> list[Cell]:
    cells = list_cells(images)
    return cells if any(style for _, style in cells) else [(label, test) for label, _ in cells]


def _lacking(graph: Graph, tests: dict[str, list[Cell]], has: Collection[Cell]) -> tuple[tuple[str, str, int], ...]:
    names = graph.context.data.labels.names
    counts = Counter(cell for cells in tests.values() for cell in cells if cell not in has)
    return tuple((names[label], style, n) for (label, style), n in counts.most_common())
