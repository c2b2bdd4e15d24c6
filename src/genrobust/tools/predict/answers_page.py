"""Writes answers as an HTML page with thumbnails, and as a CSV file next to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from genrobust.classifiers import Answer, OpenClassifier
from genrobust.report import Thumbnail, data_uri, percent, render
from genrobust.store import write_files
from genrobust.tools.predict.answers_csv import write_csv
from genrobust.tools.predict.class_names import class_names

# About 1.5 kB each, since the page is one file.
THUMBNAILS = 4000
PAGE = "answers.html"
TABLE = "answers.csv"


def write_page(
    model: OpenClassifier, answers: Iterable[Answer], top: int, title: str, out: Path
) -> tuple[int, dict[str, Path]]:
    """Write answers.html and answers.csv into `out`. Return the number of images that cannot be read, and the paths.

    The page shows the images by predicted class, the least confident first. If there are too many images, it shows the
    least confident ones of each class.
    """
    listed = list(answers)
    lines: list[bytes] = []
    unreadable = write_csv(model, listed, top, lines.append)
    page = _html(listed, class_names(model), title)
    files = write_files({PAGE: page, TABLE: b"".join(lines)}, out)
    return unreadable, files


def _html(answers: list[Answer], names: list[str], title: str) -> str:
    by_class: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        if not answer.error:
            by_class[answer.ranking[0]].append(answer)
    most = THUMBNAILS // max(1, len(by_class))
    sheets = []
    for label in sorted(by_class, key=lambda label: names[label]):
        of_class = sorted(by_class[label], key=lambda answer: answer.probabilities[0])
        shown = [_thumbnail(answer, names) for answer in of_class[:most]]
        sheets.append((names[label], len(of_class), shown))
    return render(
        "tools/predict/answers.html.j2",
        title=title,
        images=len(answers),
        classes=len(names),
        sheets=sheets,
        unreadable=[answer for answer in answers if answer.error],
        table=TABLE,
    )


def _thumbnail(answer: Answer, names: list[str]) -> Thumbnail:
    likeliest = zip(answer.ranking, answer.probabilities, strict=True)
    title = ", ".join(f"{names[label]} {percent(probability)}" for label, probability in likeliest)
    alt = f"{answer.path}, {names[answer.ranking[0]]}"
    caption = f"{percent(answer.probabilities[0], 0)} {Path(answer.path).name}"
    return Thumbnail(data_uri(answer.picture), alt, caption, f"{answer.path}: {title}")
