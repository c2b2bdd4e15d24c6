"""Labels the images of a folder that decide which of two classifiers is better."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli import (
    CLASSIFIER,
    COMMANDS,
    USE,
    Device,
    argument,
    in_group,
    open_named,
    option,
    say,
    serve,
    tell,
    with_studies,
)
from genrobust.core import UserError, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genrobust.classifiers import OpenClassifier
    from genrobust.study import Studies

Images = Annotated[Path, argument("FOLDER", "The images, in this folder and those below it.")]
Between = Annotated[tuple[str, str], option("--between MODEL MODEL", f"Two classifiers, each {CLASSIFIER}.")]
By = Annotated[str, option("--by NAME", "Who labels: two people may label the same images.")]
Port = Annotated[int, option("--port N", "Port of the page on this machine; default: a free one.", min=0, max=65_535)]


@COMMANDS.register("label")
@in_group(USE)
@with_studies
def label(studies: "Studies", folder: Images, between: Between, device: Device, by: By = "me", port: Port = 0) -> None:
    """Label images on a local page until it is sure which of two classifiers is better on them.

    Example: genrobust label photos --between pictograms:real pictograms:real+generated
    """
    from genrobust.classifiers import images_in
    from genrobust.tools.label.label_file import LabelFile, disagreements
    from genrobust.tools.label.label_page import Compared, LabelDesk, labeling_app

    first, second = between
    if first == second:
        raise UserError(f"--between: both classifiers are {first}: name two")
    studies.require_recipe(first, second)
    images = images_in(folder)
    models = [open_named(studies, name, None) for name in between]
    classes = _common_classes(models, between)
    answers = [_predict(model, folder, images, device or "auto") for model in models]
    # Images that cannot be read have no answer.
    paths = sorted(answers[0])
    # Paths in the file of labels begin at its own folder, which is that of the images.
    place = folder.resolve()
    compared = Compared(
        folder=place.parent,
        paths=[f"{place.name}/{path}" for path in paths],
        names=between,
        predicted=([answers[0][path] for path in paths], [answers[1][path] for path in paths]),
    )
    # A table has no spaces around its cells.
    desk = LabelDesk(compared, classes, LabelFile(place.parent, place.name, classes), by.strip())
    say(f"{first} and {second} predict different classes for {len(desk.order):,} of {count(len(paths), 'image')}")
    # Report a damaged file before the page opens.
    desk.state()

    def opened(address: str) -> None:
        tell(address)
        say("open this address in a browser; Ctrl-C ends, and each label is saved at once")

    serve(partial(labeling_app, desk), port, opened)
    tell(desk.state()["result"])
    for path, given in disagreements(desk.file.read()).items():
        say(f"different answers: {path}: {', '.join(f'{answer} ({who})' for who, answer in given.items())}")
    if desk.file.labels_file.exists():
        tell(f"labels, all of them of images on which the two classifiers differ: {desk.file.labels_file}")


def _common_classes(models: "Sequence[OpenClassifier]", names: tuple[str, str]) -> tuple[str, ...]:
    """Return the classes of two classifiers. Raise UserError if they differ."""
    first, second = models
    differing = set(first.classes) ^ set(second.classes)
    if differing:
        raise UserError(
            f"--between: {names[0]} and {names[1]} have different classes, such as {min(differing)}: compare two "
            "classifiers of the same classes"
        )
    return first.classes


def _predict(model: "OpenClassifier", folder: Path, images: "Sequence[Path]", device: str) -> dict[str, str]:
    """Return the likeliest class of each image that can be read, by its path below `folder`."""
    from genrobust.classifiers import classify_images

    predicted: dict[str, str] = {}
    for answer in classify_images(model, folder, images, top=1, device=device):
        if answer.error:
            say(f"left out: {answer.error}")
        else:
            predicted[answer.path] = model.classes[answer.ranking[0]]
    return predicted
