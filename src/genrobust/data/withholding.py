"""Withhold a part of the images to retrieve: cells of class and style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from genrobust.core import ImageSet, LabelSpace, StudyData, Subset, UserError, hashed_seed
from genrobust.recipe import CellShare, WithoutConfig

KEY = "data.retrieved.without"
Cell = tuple[int, str]  # a label and a style


def withhold(data: StudyData, rule: WithoutConfig) -> StudyData:
    """Move the images to retrieve that `rule` excludes to `withheld`."""
    if not rule.cells:
        return data
    pool = data.retrieval
    if pool is None or not any(pool.styles):
        raise UserError(f"{KEY}.cells: there are no labeled images with styles to retrieve: remove the key")
    cells = _choose_cells(data, pool, rule.cells)
    is_withheld = np.array([cell in cells for cell in list_cells(pool)])
    if is_withheld.all():
        raise UserError(f"{KEY} excludes all images of {pool.name}: remove a pattern")
    left = Subset(pool, np.flatnonzero(~is_withheld))
    return replace(data, retrieval=left, withheld=Subset(pool, np.flatnonzero(is_withheld), "withheld"))


def withheld_cells(data: StudyData) -> set[Cell]:
    """Return the cells of the withheld images that no training image and no image to retrieve has."""
    if data.withheld is None:
        return set()
    cells = set(list_cells(data.withheld)) - set(list_cells(data.train))
    if data.retrieval is not None:
        cells -= set(list_cells(data.retrieval))
    return cells


def list_cells(images: ImageSet) -> list[Cell]:
    """Return the cell of each image."""
    return list(zip(np.asarray(images.labels).tolist(), images.styles, strict=True))


def _choose_cells(data: StudyData, pool: ImageSet, rule: CellShare | Sequence[str]) -> set[Cell]:
    """Return the cells of the images to retrieve, `pool`, that `rule` withholds."""
    cells = sorted(cell for cell in set(list_cells(pool)) if cell[1])
    if isinstance(rule, CellShare):
        return _choose_share(sorted(set(cells) - set(list_cells(data.train))), rule, data.labels)
    chosen: set[Cell] = set()
    for pattern in rule:
        matches = [cell for cell in cells if _matches(cell, pattern, data.labels)]
        if not matches:
            example = _cell_names(cells[0], data.labels)[0]
            raise UserError(f"{KEY}.cells: {pattern!a} matches no image: write CLASS/STYLE, such as {example}")
        chosen.update(matches)
    return chosen


def _matches(cell: Cell, pattern: str, labels: LabelSpace) -> bool:
    return any(fnmatchcase(name, pattern) for name in _cell_names(cell, labels))


def _cell_names(cell: Cell, labels: LabelSpace) -> list[str]:
    """Return the names CLASS/STYLE of a cell, by each name of its class."""
    label, style = cell
    return [f"{name}/{style}" for name in labels.classes[label].spellings]


def _choose_share(cells: Sequence[Cell], rule: CellShare, labels: LabelSpace) -> set[Cell]:
    """Choose a share of `cells`, spread evenly over classes and styles. Each class and each style keeps a cell.

    Each step takes a cell of the class and the style that have lost the smallest shares of their cells so far.
    """
    order = sorted(cells, key=lambda cell: hashed_seed(rule.seed, labels.ids[cell[0]], cell[1]))
    class_cells = Counter(label for label, _ in cells)
    style_cells = Counter(style for _, style in cells)
    class_lost: Counter[int] = Counter()
    style_lost: Counter[str] = Counter()

    chosen: set[Cell] = set()

    def is_free(cell: Cell) -> bool:
        label, style = cell
        class_keeps_one = class_lost[label] < class_cells[label] - 1
        style_keeps_one = style_lost[style] < style_cells[style] - 1
        return cell not in chosen and class_keeps_one and style_keeps_one

    def lost_shares(cell: Cell) -> float:
        label, style = cell
        return class_lost[label] / class_cells[label] + style_lost[style] / style_cells[style]

    if not any(is_free(cell) for cell in order):
        raise UserError(
            f"{KEY}.cells: no class and style can be left out: of the {len(order)} that no training image has, each is "
            "the only one of its class or of its style: write patterns CLASS/STYLE"
        )
    for _ in range(round(rule.share * len(order))):
        free = [cell for cell in order if is_free(cell)]
        if not free:
            raise UserError(f"{KEY}.cells: a share of {rule.share:g} leaves a class or a style with none: lower share")
        label, style = min(free, key=lost_shares)
        class_lost[label] += 1
        style_lost[style] += 1
        chosen.add((label, style))
    if not chosen:
        raise UserError(f"{KEY}.cells: {rule.share:g} of {len(order)} cells is none: raise share")
    return chosen
