"""The commands that take a trained classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape

from genrobust.cli.opening import open_named, with_studies
from genrobust.cli.options import (
    CLASSIFIER,
    MOST_AT_ONCE,
    ClassifierLabels,
    Device,
    Overwrite,
    argument,
    option,
)
from genrobust.cli.program import USE, command, err_console, tell
from genrobust.core import GenrobustError
from genrobust.store import OutputFile

if TYPE_CHECKING:
    from genrobust.study import Studies

Model = Annotated[str, argument("MODEL", f"{CLASSIFIER}.")]
Images = Annotated[Path, argument("FOLDER", "The images, in this folder and those below it.")]
AnswerFile = Annotated[Path | None, option("--out FILE.csv", "Output file; default: standard output.")]
Top = Annotated[int, option("--top N", "Number of classes for each image, likeliest first.", min=1, max=100_000)]
BatchSize = Annotated[int, option("--batch-size N", "Images in a batch.", min=1, max=MOST_AT_ONCE)]


@command(rich_help_panel=USE)
@with_studies
def predict(
    studies: "Studies",
    model: Model,
    folder: Images,
    device: Device,
    out: AnswerFile = None,
    overwrite: Overwrite = False,
    top: Top = 5,
    labels: ClassifierLabels = None,
    batch_size: BatchSize = 128,
) -> None:
    """Classify the images in a folder, as CSV.

    Example: genrobust predict pictograms:real photos --out answers.csv
    """
    from genrobust.classifiers import images_in, predict_images

    out = out or Path("-")
    to_file = out != Path("-")
    output = OutputFile(out, ".csv", () if labels is None else (labels,), overwrite)
    output.check()  # before the classifier is trained
    studies.require_recipe(model)
    paths = images_in(folder)
    opened = open_named(studies, model, labels)
    err_console.print(f"{escape(opened.name)}: {len(opened.classes):,} classes; {opened.preparation}")
    with output.writing() as file:
        unreadable = predict_images(opened, folder, paths, file.write, top, batch_size, device or "auto")
    if to_file:
        tell(f"{len(paths):,} images in {out}")
    if unreadable:
        raise GenrobustError(
            f"{unreadable:,} of {len(paths):,} images cannot be read; the column error gives the reason"
        )
