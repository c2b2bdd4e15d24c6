"""Withholds a part of the images to retrieve: cells of class and style, or images by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from genrobust.core import ImageSet, LabelSpace, StudyData, Subset, UserError, hashed_seed
from genrobust.data.copies.exact import ContentsOf
from genrobust.recipe import CellShare, WithoutConfig

KEY = "data.retrieved.without"
Cell = tuple[int, str]  # a label and a style


def withhold(data: StudyData, rule: WithoutConfig) -> StudyData:
    """Return `data` without the images to retrieve that `rule` excludes; those with labels are then its `withheld`.

    Raises:
        UserError: A pattern matches no cell or no name, a share of the cells leaves a class or a style without any, or
            no image is left. The message names the key.
    """
    excluded = _matching_keys(data, rule.names)
    if data.unlabeled is not None and excluded:
        data = replace(data, unlabeled=_left(data.unlabeled, [key in excluded for key in data.unlabeled.keys]))
    pool = data.retrieval
    cells = _choose_cells(data, rule.cells) if rule.cells else set()
    if pool is None or not (excluded or cells):
        return data
    out = [key in excluded or cell in cells for key, cell in zip(pool.keys, list_cells(pool), strict=True)]
    withheld = Subset(pool, np.flatnonzero(out), "withheld") if any(out) else None
    return replace(data, retrieval=_left(pool, out), withheld=withheld)


def without_withheld(data: StudyData, contents_of: ContentsOf) -> StudyData:
    """Return `data` without the copies of withheld images, byte for byte, among the images to search.

    Args:
        contents_of: As for `without_copies`.

    Raises:
        UserError: No image is left, or a file cannot be read.
    """
    pool, withheld = data.unlabeled, data.withheld
    if pool is None or withheld is None or (hidden := contents_of(withheld)) is None:
        return data
    hashes, contents = {*map(bytes, hidden)}, contents_of(pool)
    out = [] if contents is None else [content in hashes for content in map(bytes, contents)]
    return replace(data, unlabeled=_left(pool, out)) if any(out) else data


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


def _matching_keys(data: StudyData, patterns: Sequence[str]) -> set[str]:
    matched: set[str] = set()
    if not patterns:  # the keys may be millions
        return matched
    keys = [key for pool in (data.retrieval, data.unlabeled) if pool is not None for key in pool.keys]
    for pattern in patterns:
        matches = [key for key in keys if fnmatchcase(key, pattern)]
        if not matches:
            known = f"their keys are like {keys[0]!a}" if keys else "there are none"
            raise UserError(f"{KEY}.names: {pattern!a} matches no image to retrieve; {known}")
        matched.update(matches)
    return matched


def _choose_cells(data: StudyData, rule: CellShare | Sequence[str]) -> set[Cell]:
    pool, chosen = data.retrieval, set[Cell]()
    cells = sorted({cell for cell in list_cells(pool) if cell[1]}) if pool is not None else []
    if not cells:
        raise UserError(f"{KEY}.cells: there are no labeled images with styles to retrieve: remove the key")
    if isinstance(rule, CellShare):
        return _spread(sorted({*cells} - {*list_cells(data.train)}), rule, data.labels)
    for pattern in rule:
        matches = [cell for cell in cells if any(fnmatchcase(name, pattern) for name in _names(cell, data.labels))]
        if not matches:
            styles = ", ".join(sorted({style for _, style in cells}))
            known = f"write CLASS/STYLE, such as {_names(cells[0], data.labels)[0]}; the styles are {styles}"
            raise UserError(f"{KEY}.cells: {pattern!a} matches no image to retrieve: {known}")
        chosen.update(matches)
    return chosen


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
