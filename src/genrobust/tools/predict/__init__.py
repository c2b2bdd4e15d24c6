"""Classifies the images in a folder: a table on a terminal, a CSV file, or a page with thumbnails."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape

from genrobust.cli import (
    CLASSIFIER,
    COMMANDS,
    MOST_AT_ONCE,
    USE,
    ClassifierLabels,
    Device,
    Overwrite,
    argument,
    err_console,
    in_group,
    open_named,
    option,
    out_console,
    tell,
    with_studies,
)
from genrobust.core import GenrobustError

if TYPE_CHECKING:
    from genrobust.study import Studies

TOP_IN_FILES = 5
TOP_ON_TERMINAL = 1
STDOUT = Path("-")

Model = Annotated[str, argument("MODEL", f"{CLASSIFIER}.")]
Images = Annotated[Path, argument("FOLDER", "The images, in this folder and those below it.")]
Out = Annotated[
    Path | None,
    option("--out FILE.csv|DIR", "A CSV file, or a folder for a page with thumbnails; default: print the answers."),
]
Top = Annotated[
    int | None,
    option("--top N", "Classes for each image, likeliest first; default: 5, and 1 on a terminal.", min=1, max=100_000),
]
BatchSize = Annotated[int, option("--batch-size N", "Images in a batch.", min=1, max=MOST_AT_ONCE)]


@COMMANDS.register("predict")
@in_group(USE)
@with_studies
def predict(
    studies: "Studies",
    model: Model,
    folder: Images,
    device: Device,
    out: Out = None,
    overwrite: Overwrite = False,
    top: Top = None,
    labels: ClassifierLabels = None,
    batch_size: BatchSize = 128,
) -> None:
    """Classify the images in a folder.

    Example: genrobust predict pictograms:real photos --out answers
    """
    from genrobust.classifiers import classify_images, images_in
    from genrobust.data import require_no_images, require_outside
    from genrobust.report import thumbnail_bytes
    from genrobust.store import OutputFile
    from genrobust.tools.predict.answers_csv import write_csv
    from genrobust.tools.predict.answers_page import write_page
    from genrobust.tools.predict.answers_table import answers_table

    is_page = out is not None and out != STDOUT and (out.is_dir() or not out.suffix)
    is_table = out is None and sys.stdout.isatty()
    output = OutputFile(out or STDOUT, ".csv", () if labels is None else (labels,), overwrite)
    # Check options before the images are listed and a classifier is trained.
    if is_page:
        require_outside({"FOLDER": folder}, [output.path])
        require_no_images(output.path)
    else:
        output.check()
    studies.require_recipe(model)
    paths = images_in(folder)
    opened = open_named(studies, model, labels)
    err_console.print(f"{escape(opened.name)}: {len(opened.classes):,} classes; {opened.preparation}")
    top = top or (TOP_ON_TERMINAL if is_table else TOP_IN_FILES)
    draw = thumbnail_bytes if is_page else None
    answers = classify_images(opened, folder, paths, top, batch_size, device or "auto", draw)
    if is_page:
        unreadable, files = write_page(opened, answers, top, model, output.path)
        tell(*files.values())
    elif is_table:
        unreadable, table, lines = answers_table(opened, answers, top)
        out_console.print(table)
        tell(*lines)
    else:
        with output.writing() as file:
            unreadable = write_csv(opened, answers, top, file.write)
        if output.path != STDOUT:
            tell(f"{len(paths):,} images in {out}")
    if unreadable:
        raise GenrobustError(f"{unreadable:,} of {len(paths):,} images cannot be read; their rows give the reason")
