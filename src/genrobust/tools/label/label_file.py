"""Labels that people give to images, in a CSV file, and the test set that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from genrobust.core import UserError, csv_line, escape_unprintable, read_csv
from genrobust.store import lock, make_folder, replacing

# Answers that are no class.
NO_CLASS = "none of these"
UNCERTAIN = "cannot tell"
COLUMNS = ("path", "answer", "by")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one person about one image: a class id, `NO_CLASS` or `UNCERTAIN`."""

    path: str
    answer: str
    by: str


class LabelFile:
    """All answers about the images of one set, in ``SET.answers.csv``, in their order.

    ``SET.labels.csv`` next to it is a labeled test set: the images on which everybody who labeled them agrees on a
    class. Both files are in `folder`, and paths of images are relative to it, so any reader of CSV tables takes them.
    """

    def __init__(self, folder: Path, name: str, classes: Sequence[str]) -> None:
        self.answers_file = folder / f"{name}.answers.csv"
        self.labels_file = folder / f"{name}.labels.csv"
        self._known = {*classes, NO_CLASS, UNCERTAIN}

    def read(self) -> list[Answer]:
        """Read all answers.

        Raises:
            UserError: The file has other columns, an unknown answer, or two answers of one person about one image.
        """
        if not self.answers_file.exists():
            return []
        (_, columns), *rows = read_csv(self.answers_file, "answers")
        if tuple(columns) != COLUMNS:
            raise UserError(f"{self.answers_file}: its columns are not {', '.join(COLUMNS)}: move it away")
        answers: dict[tuple[str, str], Answer] = {}
        for line, cells in rows:
            answer = Answer(*cells)
            where = f"{self.answers_file}, line {line}"
            if answer.answer not in self._known:
                raise UserError(f"{where}: {answer.answer!r} is no class here: correct or remove the line")
            if (answer.path, answer.by) in answers:
                raise UserError(f"{where}: {answer.by} answered about {answer.path} before: remove one of the lines")
            answers[answer.path, answer.by] = answer
        return list(answers.values())

    def answer(self, path: str, by: str, answer: str | None) -> None:
        """Write the answer of `by` about an image. None takes it back.

        Raises:
            UserError: The answers cannot be read; see `read`.
        """
        make_folder(self.answers_file.parent)
        # Another person may label the same set at the same time.
        with lock(self.answers_file.parent, wait=True):
            answers = [old for old in self.read() if (old.path, old.by) != (path, by)]
            if answer is not None:
                answers.append(Answer(path, answer, by))
            rows = [(each.path, each.answer, each.by) for each in answers]
            _write_csv(self.answers_file, COLUMNS, rows)
            _write_csv(self.labels_file, ("path", "label"), sorted(agreed_labels(answers).items()))


def agreed_labels(answers: Sequence[Answer]) -> dict[str, str]:
    """Return the class of each image on which all answers agree, by path."""
    labels: dict[str, str] = {}
    for path, given in _answers_by_path(answers).items():
        if len({*given.values()}) == 1:
            (label,) = {*given.values()}
            if label not in (NO_CLASS, UNCERTAIN):
                labels[path] = label
    return labels


def disagreements(answers: Sequence[Answer]) -> dict[str, Mapping[str, str]]:
    """Return the answers by person about each image on which people disagree, by path."""
    return {path: given for path, given in _answers_by_path(answers).items() if len({*given.values()}) > 1}


def count_answers(answers: Sequence[Answer], by: str) -> Counter[str]:
    """Count the answers of a person."""
    return Counter(each.answer for each in answers if each.by == by)


def _answers_by_path(answers: Sequence[Answer]) -> dict[str, dict[str, str]]:
    by_path: dict[str, dict[str, str]] = {}
    for each in answers:
        by_path.setdefault(each.path, {})[each.by] = each.answer
    return by_path


def _write_csv(file: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = (columns, *rows)
    for cell in chain.from_iterable(lines):
        # It would be read as another name.
        if escape_unprintable(cell).strip() != cell:
            raise UserError(f"{file}: {cell!a} has unprintable characters, or spaces around it: rename it")
    with replacing(file) as stream:
        for cells in lines:
            stream.write(csv_line(cells).encode())
