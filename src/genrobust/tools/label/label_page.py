"""A local page on which a person labels the images that decide which of two classifiers is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genrobust.cli import NO_SNIFF, local_app
from genrobust.core import key_hash
from genrobust.data import read_image
from genrobust.report import media_type, own_script, render, thumbnail_bytes
from genrobust.robustness import Labeled, interval_at_every_look
from genrobust.tools.label.label_file import NO_CLASS, UNCERTAIN, LabelFile, count_answers, disagreements

SIDE = 1024  # pixels of the longer side: larger images are sent smaller
NO_STORE = {"Cache-Control": "no-store"}
# Keys of the keyboard for classes. Others are for "none of these", "cannot tell" and undo.
CLASS_KEYS = "123456789abcdefghijklmoprstvwxyz"


@dataclass(frozen=True, slots=True)
class Compared:
    """The images of a folder, and the classes that two classifiers predict for them.

    Attributes:
        folder: The folder that contains the folder of the images.
        paths: Paths of the N images below `folder`.
        names: The names of the two classifiers.
        predicted: The class that the first, and the second, predicts for each image, [2][N].
    """

    folder: Path
    paths: Sequence[str]
    names: tuple[str, str]
    predicted: tuple[Sequence[str], Sequence[str]]


class LabelDesk:
    """Chooses the images to label, keeps the labels, and compares two classifiers by them.

    The images are those for which the two classifiers predict different classes, in an order that depends on their
    paths alone. For all others both are right or both are wrong, so they do not change the difference in accuracy.
    """

    def __init__(self, compared: Compared, classes: Sequence[str], file: LabelFile, by: str) -> None:
        self.compared = compared
        self.classes = classes
        self.file = file
        self.by = by
        first, second = compared.predicted
        differing = [index for index in range(len(compared.paths)) if first[index] != second[index]]
        self.order = sorted(differing, key=lambda index: key_hash(compared.paths[index]))
        self._index_of = {compared.paths[index]: index for index in self.order}

    def state(self) -> dict[str, Any]:
        """Return the next image, what was answered, and the difference of the two classifiers so far."""
        answers = self.file.read()
        mine = {each.path: each.answer for each in answers if each.by == self.by and each.path in self._index_of}
        following = next((index for index in self.order if self.compared.paths[index] not in mine), None)
        counts = count_answers([each for each in answers if each.path in self._index_of], self.by)
        certain = len(self.compared.paths) - counts[UNCERTAIN]
        return {
            "next": following,
            "key": None if following is None else self.compared.paths[following],
            "labeled": len(mine),
            "differing": len(self.order),
            "uncertain": counts[UNCERTAIN],
            "disagreements": len(disagreements(answers)),
            "last": None if not mine else self._index_of[list(mine)[-1]],
            "result": describe_difference(self._count(mine), certain, self.compared.names),
        }

    def answer(self, index: int, answer: str | None) -> None:
        """Write an answer about an image, or take it back.

        Raises:
            HTTPException: The answer or the image is not known.
        """
        if answer is not None and answer not in (*self.classes, NO_CLASS, UNCERTAIN):
            raise HTTPException(400, "answer: it is no class of these classifiers")
        self.file.answer(self.compared.paths[index], self.by, answer)

    def index(self, number: str) -> int:
        """Return the index of the image that an address names by its `number`.

        Raises:
            HTTPException: There is no such image to label.
        """
        if not number.isdecimal() or int(number) not in self._places:
            raise HTTPException(404, "there is no such image to label")
        return int(number)

    @cached_property
    def _places(self) -> set[int]:
        return set(self.order)

    def picture(self, index: int) -> bytes:
        """Return an image as a WebP of at most `SIDE` pixels.

        Raises:
            UserError: It can no longer be read.
        """
        return thumbnail_bytes(read_image(self.compared.folder / self.compared.paths[index]), SIDE)

    def html(self) -> str:
        """Render the page. Its script requests everything else."""
        keys = [*CLASS_KEYS[: len(self.classes)], *[""] * (len(self.classes) - len(CLASS_KEYS))]
        return render(
            "tools/label/label_page.html.j2",
            name=self.file.labels_file.name,
            classes=list(zip(self.classes, keys, strict=True)),
            others=[(NO_CLASS, "n"), (UNCERTAIN, "q")],
            **own_script(Path(__file__).with_name("label_page.js")),
        )

    def _count(self, answers: Mapping[str, str]) -> Labeled:
        """Count which classifier is right on the images with `answers`. Without a certain answer, they are left out."""
        first, second = self.compared.predicted
        better = worse = neither = uncertain = 0
        for path, answer in answers.items():
            if answer == UNCERTAIN:
                uncertain += 1
                continue
            index = self._index_of[path]
            better += int(first[index] == answer)
            worse += int(second[index] == answer)
            neither += int(answer not in (first[index], second[index]))
        return Labeled(better, worse, neither, len(self.order) - uncertain)


def describe_difference(labeled: Labeled, images: int, names: tuple[str, str]) -> str:
    """Describe the difference in accuracy of two classifiers on `images`, and whether labeling may stop."""
    first, second = names
    if not labeled.differing:
        return f"{first} and {second} predict the same class for each image: they are equally accurate here."
    low, high = interval_at_every_look(labeled)
    to_points = 100 / images
    if low > 0:
        return f"Enough: {first} is better than {second} by at least {low * to_points:.1f} points on these images."
    if high < 0:
        return f"Enough: {second} is better than {first} by at least {-high * to_points:.1f} points on these images."
    if labeled.count == labeled.differing:
        return f"{first} and {second} are right on equally many of these images."
    interval = f"{low * to_points:+.1f} to {high * to_points:+.1f} points"
    return f"{first} minus {second}: {interval}, so not decided yet. {_describe_rest(labeled)}"


def _describe_rest(labeled: Labeled) -> str:
    """Describe how many more labels may decide, if they come as they came so far."""
    if labeled.count < 10:
        return ""
    left = labeled.differing - labeled.count
    for more in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if more >= left:
            break
        factor = 1 + more / labeled.count
        # Rounded down, so that there are no more labels than images.
        better, worse, neither = (int(count * factor) for count in (labeled.better, labeled.worse, labeled.neither))
        low, high = interval_at_every_look(Labeled(better, worse, neither, labeled.differing))
        if low > 0 or high < 0:
            return f"About {more} more labels may decide."
    return f"Even most of the {left:,} other labels may not decide: the two are about equally good here."


def labeling_app(desk: LabelDesk, token: str) -> Starlette:
    """Return the web application."""

    def state(request: Request) -> Response:
        return JSONResponse(desk.state(), headers=NO_STORE)

    def picture(request: Request) -> Response:
        index = desk.index(request.path_params["number"])
        data = desk.picture(index)
        return Response(data, media_type=media_type(data), headers={**NO_STORE, **NO_SNIFF})

    def answer(request: Request) -> Response:
        desk.answer(desk.index(request.path_params["number"]), request.query_params.get("answer"))
        return JSONResponse(desk.state(), headers=NO_STORE)

    routes = [
        Route("/state", state),
        Route("/images/{number}", picture),
        Route("/answers/{number}", answer, methods=["POST"]),
    ]
    return local_app(desk.html(), routes, token)
