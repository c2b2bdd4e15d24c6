"""The commands that take one trained classifier: to give it away in another program's form, and to ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from genrobust.cli.app import (
    RUNS,
    ClassifierLabels,
    Device,
    Quick,
    Runs,
    classifier_called,
    classifier_place,
    command,
    err_console,
    out_console,
)
from genrobust.core import GenrobustError, UserError


@command("export-model")
def export_model(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="RECIPE:ARM, or the folder of a trained classifier.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="timm or onnx.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where it goes; default: CHECKPOINT-FORM, here.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="The results.json of its study, for the card.")
    ] = None,
    arm: Annotated[
        str | None, typer.Option("--arm", metavar="NAME", help="Its arm there, where two were trained alike.")
    ] = None,
    license: Annotated[str, typer.Option("--licence", metavar="ID", help="The weights': cc-by-4.0.")] = "other",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
    quick: Quick = False,
    runs: Runs = RUNS,
) -> None:
    """Write a trained classifier as a folder for timm or as an ONNX file, with a model card."""
    from genrobust.core import slug
    from genrobust.release import check_target, export_model as run_export
    from genrobust.study import names_recipe

    # An arm's folder is called by a hash.
    name = slug(checkpoint) if names_recipe(checkpoint) else Path(checkpoint).resolve().name
    folder = out or Path(f"{name}-{to}")
    check_target(to, folder, overwrite)  # an arm may have to be trained first
    place = Path(classifier_place(checkpoint, runs, quick))
    for path in run_export(place, to, folder, report, arm, license, overwrite).values():
        out_console.print(escape(str(path)))


@command()
def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="RECIPE:ARM, a checkpoint or timm folder, a timm name, hf-hub:NAME, ARCHITECTURE@FILE, or an .onnx "
            "file.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The images, in it and in the folders below it.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv", help="Where the answers go; default: standard output.")
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many classes of each image.")] = 5,
    labels: ClassifierLabels = None,
    quick: Quick = False,
    runs: Runs = RUNS,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images at once.")] = 128,
    device: Device = None,
) -> None:
    """Classify the images in a folder, as CSV."""
    import sys

    from genrobust.classifiers import images_in, predict_images
    from genrobust.core import make_folder, replacing

    if out is not None and out.suffix.lower() != ".csv":
        raise UserError(f"--out {out}: the answers are written as CSV: name a file that ends in .csv")
    paths = images_in(folder)
    opened = classifier_called(model, labels, runs, quick, device)
    err_console.print(f"{escape(opened.place)}: {len(opened.classes):,} classes; {opened.prepared}")
    if out is None:
        counts = predict_images(opened, folder, paths, sys.stdout.buffer.write, top, batch_size, device or "auto")
    else:
        make_folder(out.parent)
        with replacing(out) as file:
            counts = predict_images(opened, folder, paths, file.write, top, batch_size, device or "auto")
        out_console.print(f"{counts.images:,} images in {escape(str(out))}")
    if counts.unreadable:
        raise GenrobustError(
            f"{counts.unreadable:,} of {counts.images:,} images cannot be read: the column error says why, and the "
            "others are done"
        )
