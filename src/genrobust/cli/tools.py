"""The commands that take data or tables: own folders, audits, filters, published figures; and what is installed."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genrobust.cli.app import (
    RUNS,
    ClassifierLabels,
    Device,
    OutFolder,
    Runs,
    classifier_called,
    command,
    err_console,
    out_console,
    say,
)
from genrobust.core import GenrobustError, UserError

ClipFolder = Annotated[
    str | None,
    typer.Option("--clip", metavar="FOLDER", help="A CLIP, as transformers saves it; pictograms: the embedded one."),
]
ClassifierWord = Annotated[
    str | None,
    typer.Option(
        "--classifier",
        metavar="MODEL",
        help="A classifier trained on real images: RECIPE:ARM, a checkpoint or timm folder, a timm name, hf-hub:NAME, "
        "ARCHITECTURE@FILE, or an .onnx file.",
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images shown to a model at once.")]
Against = Annotated[
    str | None, typer.Option("--against", metavar="DIR|RECIPE", help="The real images; a recipe brings its test sets.")
]


@command()
def init(
    train: Annotated[Path, typer.Option("--train", metavar="DIR", help="Training images, one subfolder a class.")],
    test: Annotated[Path | None, typer.Option("--test", metavar="DIR", help="Unshifted test images.")] = None,
    val: Annotated[
        Path | None,
        typer.Option("--val", metavar="DIR", help="Validation images; without --test, they are the test set."),
    ] = None,
    shift: Annotated[
        list[str] | None, typer.Option("--shift", metavar="NAME=DIR", help="A shifted test set; may be repeated.")
    ] = None,
    generated: Annotated[
        Path | None, typer.Option("--generated", metavar="DIR", help="Generated images that you have.")
    ] = None,
    retrieved: Annotated[
        Path | None, typer.Option("--retrieved", metavar="DIR", help="Retrieved images that you have.")
    ] = None,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="The recipe to write.")] = Path("study.yaml"),
    out: OutFolder = RUNS,
    check: Annotated[bool, typer.Option(help="Decode every image, to find broken ones.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recipe that is there.")] = False,
) -> None:
    """Write a commented recipe for your own image folders."""
    from genrobust.core import local_folder
    from genrobust.study import read_folders, write_recipe

    def tell(line: str) -> None:
        out_console.print(escape(line))

    place = local_folder(out)
    folders = read_folders(train, test, val, shift or [], generated, retrieved, tell)
    write_recipe(folders, recipe, place, tell, check, overwrite)


@command()
def er(
    ids: Annotated[
        list[str],
        typer.Option("--id", metavar="COLUMN", help="ID accuracy: COLUMN, or FILE:COLUMN; may be repeated."),
    ],
    shift: Annotated[str, typer.Option("--shift", metavar="COLUMN", help="Shifted accuracy, likewise.")],
    table: Annotated[Path | None, typer.Argument(metavar="TABLE", help="A CSV file with a row a model.")] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="A,B", help="Columns that name a model and join two files; else the first.")
    ] = "",
    baselines: Annotated[
        str | None,
        typer.Option("--baselines", metavar="FILE|REGEX", help="Models to fit the line on: a name a line, or a regex."),
    ] = None,
    exclude: Annotated[
        str | None, typer.Option("--exclude", metavar="FILE|REGEX", help="Models to leave out of the line.")
    ] = None,
    transform: Annotated[
        str, typer.Option("--transform", metavar="SCALE", help="logit, probit or linear: where the line is fitted.")
    ] = "logit",
    min_id: Annotated[
        float, typer.Option("--min-id", metavar="ACC", min=0, max=100, help="Leave models below ACC % out of the line.")
    ] = 0,
    pivot: Annotated[
        str | None,
        typer.Option("--pivot", metavar="MODEL", help="Two lines, as for ImageNet-A: it was filtered against MODEL."),
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", metavar="UNIT", help="percent or fraction.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all figures here.")] = None,
) -> None:
    """Effective robustness from a published accuracy table."""
    from genrobust.data import read_published
    from genrobust.report import describe, score, terminal_table, write_json

    models = read_published(table, ids, shift, [k.strip() for k in key.split(",")] if key else (), unit)
    result = score(models, baselines, exclude, transform, min_id, pivot)
    if json is not None:
        write_json(result, json)
    for note in result.notes:
        err_console.print(f"note: {escape(note)}")
    for warning in result.warnings:
        err_console.print(f"[bold yellow]warning:[/] {escape(warning)}")
    for line in describe(result):
        out_console.print(escape(line))
    out_console.print(terminal_table(result))


@command()
def audit(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A generated dataset, image folders, or a recipe.")],
    against: Against = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", metavar="NAME=DIR", help="A test set to search; may be repeated.")
    ] = None,
    wild: Annotated[
        str | None,
        typer.Option("--train-of-generator", metavar="DIR|RECIPE", help="What the generator was trained on."),
    ] = None,
    classifier: ClassifierWord = None,
    labels: ClassifierLabels = None,
    clip: ClipFolder = None,
    allow_leaks: Annotated[
        list[str] | None,
        typer.Option("--allow-leaks", metavar="NAME", help="Do not fail for copies of this test set; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the page goes; default: beside the dataset.")
    ] = None,
    runs: Runs = RUNS,
    device: Device = None,
    batch_size: BatchSize = 256,
) -> None:
    """Show what a generated dataset is worth: copies, leaks, labels, diversity, fidelity."""
    from genrobust.report import audit_verdict
    from genrobust.study import audit as run_audit

    if labels is not None and classifier is None:
        raise UserError(f"--labels {labels} names the classes of a classifier: give it with --classifier MODEL")
    opens = None if classifier is None else partial(classifier_called, classifier, labels, runs, device=device)
    how = out, device or "auto", say, batch_size
    done = run_audit(dataset, against, test or [], wild, opens, clip, allow_leaks or [], *how)
    for line in (*audit_verdict(done.audit, tuple(done.leaks)), *done.audit.left_out):
        out_console.print(escape(line))
    for path in done.files.values():
        out_console.print(escape(str(path)))
    if done.leaks:
        where = ", ".join(f"{name} ({count:,})" for name, count in done.leaks.items())
        raise GenrobustError(
            f"leaks: the dataset holds copies of test images of {where}; look at {done.files['audit.html']}, and allow "
            "what is none with --allow-leaks NAME"
        )


@command("filter")
def filter_(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The folder of a generated dataset.")],
    by: Annotated[str, typer.Option("--by", metavar="clip|classifier", help="Who judges image and label.")],
    clip: ClipFolder = None,
    classifier: ClassifierWord = None,
    labels: ClassifierLabels = None,
    drop: Annotated[
        float | None, typer.Option("--drop", metavar="SHARE", help="Leave out the lowest SHARE of each class: 0.1.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="SCORE", help="Leave out what scores below SCORE.")
    ] = None,
    against: Against = None,
    runs: Runs = RUNS,
    device: Device = None,
    batch_size: BatchSize = 256,
) -> None:
    """List the images of a dataset that do not show their label; the shards stay as they are."""
    from genrobust.study import by_classifier, by_clip, filter_dataset

    if by not in ("clip", "classifier"):
        raise UserError(f"--by {by}: filter by clip or by classifier")
    if by == "clip":
        if labels is not None:
            raise UserError(f"--labels {labels} names the classes of a classifier: give it with --by classifier")
        if clip is None:
            raise UserError("--by clip: name it with --clip FOLDER")
        judge = by_clip(clip, batch_size)
    else:
        if classifier is None:
            raise UserError("--by classifier: name it with --classifier MODEL")
        judge = by_classifier(partial(classifier_called, classifier, labels, runs, device=device), batch_size)
    done = filter_dataset(dataset, judge, drop, threshold, against, device or "auto")
    out_console.print(f"{done.kept:,} of {done.made:,} images kept, by {done.by}; what is left out, and why:")
    out_console.print(escape(str(done.path)))


@command()
def verify(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The folder of a generated dataset.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged shards aside, so that they alone are made again.")
    ] = False,
) -> None:
    """Check every byte of a generated dataset against its hashes."""
    from genrobust.data import describe_verdict, verify as run_verify

    found = run_verify(dataset, repair)
    for line in describe_verdict(found):
        out_console.print(escape(line))
    again = "generate again with the recipe that made it, and what is there stays: genrobust generate RECIPE"
    if found.aside is not None:
        out_console.print(again)
    elif found.damaged:
        command = shlex.join(["genrobust", "verify", str(dataset), "--repair"])
        raise GenrobustError(f"{len(found.damaged)} of {found.total} shards are damaged. To set them aside: {command}")
    elif found.unfinished:
        raise GenrobustError(f"{dataset} is not complete: {again}")
    if found.manifest:
        raise GenrobustError(f"{dataset} is no dataset until its manifest is put back")


@command()
def doctor(out: OutFolder = RUNS) -> None:
    """Show versions, devices, disk and caches."""
    from genrobust.cli.doctor import facts
    from genrobust.core import local_folder

    table = Table(show_header=False, box=None)
    for name, value in facts(local_folder(out)):
        table.add_row(escape(name), escape(value))
    out_console.print(table)


@command()
def recipes() -> None:
    """List the installed recipes."""
    from genrobust.recipe import load_recipe, recipe_names

    for name in recipe_names():
        out_console.print(f"{name:<20} {escape(load_recipe(name).title)}")
