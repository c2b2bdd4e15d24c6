"""Writes answers as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from genrobust.classifiers import Answer, OpenClassifier
from genrobust.core import csv_line
from genrobust.tools.predict.class_names import class_names


def write_csv(model: OpenClassifier, answers: Iterable[Answer], top: int, write: Callable[[bytes], object]) -> int:
    """Call `write` with the lines of a CSV file (UTF-8). Return the number of images that cannot be read.

    A line has the path of an image, and the `top` classes with their probabilities. A class has its name in the data
    and, if a class of `model` has another one, its readable name. If the image cannot be read, these are empty, and the
    last column gives the reason.
    """
    names = class_names(model)
    has_names = names != list(model.classes)
    if has_names:
        fields = ["class", "name", "probability"]
    else:
        fields = ["class", "probability"]
    ranks = range(1, min(top, len(names)) + 1)
    columns = [f"{field}_{rank}" for rank in ranks for field in fields]
    write(csv_line(["path", *columns, "error"]).encode())
    unreadable = 0
    for answer in answers:
        cells: list[str] = []
        for label, probability in zip(answer.ranking, answer.probabilities, strict=True):
            cells.append(model.classes[label])
            if has_names:
                cells.append(names[label])
            cells.append(f"{probability:.6f}")
        if answer.error:
            unreadable += 1
            cells = [""] * len(columns)
        write(csv_line([answer.path, *cells, answer.error]).encode())
    return unreadable
