"""Withholds a part of the images to retrieve: cells of class and style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from genrobust.core import ImageSet, LabelSpace, StudyData, Subset, UserError, hashed_seed
from genrobust.recipe import CellShare, WithoutConfig

KEY = "data.retrieved.without"
Cell = tuple[int, str]  # a label and a style


def withhold(data: StudyData, rule: WithoutConfig) -> StudyData:
    """Return `data` without the images to retrieve that `rule` excludes, which are then its `withheld`.

    Raises:
        UserError: A pattern matches no cell, a share of the cells leaves a class or a style without any, or no image is
            left. The message names the key.
    """
    if not rule.cells:
        return data
    pool, cells = _choose_cells(data, rule.cells)
    out = [cell in cells for cell in list_cells(pool)]
    return replace(data, retrieval=_left(pool, out), withheld=Subset(pool, np.flatnonzero(out), "withheld"))


def withheld_cells(data: StudyData) -> set[Cell]:
    """Return the cells of the withheld images that neither the training images nor those to retrieve have."""
    withheld, *others = (
        {*list_cells(images)} if images else set() for images in (data.withheld, data.train, data.retrieval)
    )
    return withheld.difference(*others)


def list_cells(images: ImageSet) -> list[Cell]:
    """Return the cell of each image."""
    return list(zip(np.asarray(images.labels).tolist(), images.styles, strict=True))


def _left(images: ImageSet, out: Sequence[bool]) -> Subset:
    """The images that are not `out`."""
    if all(out):
        raise UserError(f"{KEY} excludes all images of {images.name}: remove a pattern")
    return Subset(images, np.flatnonzero(~np.asarray(out)))


def _choose_cells(data: StudyData, rule: CellShare | Sequence[str]) -> tuple[ImageSet, set[Cell]]:
    """The images to retrieve, and the cells of theirs that are withheld."""
    pool, chosen = data.retrieval, set[Cell]()
    cells = sorted({cell for cell in list_cells(pool) if cell[1]}) if pool is not None else []
    if pool is None or not cells:
        raise UserError(f"{KEY}.cells: there are no labeled images with styles to retrieve: remove the key")
    if isinstance(rule, CellShare):
        return pool, _spread(sorted({*cells} - {*list_cells(data.train)}), rule, data.labels)
    for pattern in rule:
        matches = [cell for cell in cells if any(fnmatchcase(name, pattern) for name in _names(cell, data.labels))]
        if not matches:
            styles = ", ".join(sorted({style for _, style in cells}))
            known = f"write CLASS/STYLE, such as {_names(cells[0], data.labels)[0]}; the styles are {styles}"
            raise UserError(f"{KEY}.cells: {pattern!a} matches no image to retrieve: {known}")
        chosen.update(matches)
    return pool, chosen


def _names(cell: Cell, labels: LabelSpace) -> list[str]:
    label, style = cell
    return [f"{name}/{style}" for name in labels.classes[label].spellings]


def _spread(cells: Collection[Cell], rule: CellShare, labels: LabelSpace) -> set[Cell]:
    """Choose a share of `cells`: each time one of the class and the style that have lost the smallest shares of theirs.

    Each class and each style keeps one.
    """
    order = sorted(cells, key=lambda cell: hashed_seed(rule.seed, labels.ids[cell[0]], cell[1]))
    of_class, of_style = (Counter(cell[axis] for cell in cells) for axis in (0, 1))
    lost_class, lost_style = Counter[int](), Counter[str]()
    chosen: set[Cell] = set()
    for _ in range(round(rule.share * len(order))):
        free = [
            (label, style)
            for label, style in order
            if (label, style) not in chosen
            and lost_class[label] < of_class[label] - 1
            and lost_style[style] < of_style[style] - 1
        ]
        if not free:
            raise UserError(
                f"{KEY}.cells: {rule.share:g} of {len(order)} cells leaves a class or a style with none, and "
                f"{len(chosen)} are the most: lower share"
            )
        label, style = min(free, key=lambda c: lost_class[c[0]] / of_class[c[0]] + lost_style[c[1]] / of_style[c[1]])
        lost_class[label] += 1
        lost_style[style] += 1
        chosen.add((label, style))
    if not chosen:
        raise UserError(f"{KEY}.cells: {rule.share:g} of {len(order)} cells is none: raise share")
    return chosen
