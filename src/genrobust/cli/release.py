"""The commands that give a generated dataset away: in another program's form, and to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genrobust.cli.app import command, err_console, out_console

Fraction = Annotated[
    float | None, typer.Option("--val", metavar="FRACTION", help="Of each class, so much becomes validation: 0.1.")
]
Validation = Annotated[
    Path | None, typer.Option("--val-dataset", metavar="DIR", help="Another generated dataset, for validation.")
]
AuditFile = Annotated[
    Path | None, typer.Option("--audit", metavar="FILE", help="The audit.json of the dataset, for the card.")
]
FilterName = Annotated[
    str | None, typer.Option("--filter", metavar="NAME", help="Leave out what this filter leaves out.")
]
Generator = Annotated[
    Path | None, typer.Option("--generator", metavar="DIR", help="The generator's folder, for its licence.")
]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", metavar="RECIPE", help="The recipe that it came from; it goes along, once checked."),
]


@command()
def export(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The folder of a generated dataset.")],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="imagefolder, parquet or webdataset.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where it goes; default: beside the dataset.")
    ] = None,
    val: Fraction = None,
    val_dataset: Validation = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
    license: Annotated[str, typer.Option("--licence", metavar="ID", help="The dataset's: cc-by-4.0.")] = "other",
    audit: AuditFile = None,
    filter_: FilterName = None,
    generator: Generator = None,
    recipe: RecipeName = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-licence", help="Export although the generator's licence restricts its images.")
    ] = False,
) -> None:
    """Write a generated dataset in the form of another program, with a card."""
    from genrobust.release import ExportOptions, export as run_export
    from genrobust.study import origin_of

    options = ExportOptions(
        dataset,
        to,
        out=out,
        val=val,
        val_dataset=val_dataset,
        overwrite=overwrite,
        license=license,
        audit=audit,
        filter=filter_,
        generator=generator,
        origin=None if recipe is None else origin_of(dataset, recipe),
        accept_license=accept_license,
    )
    done = run_export(options)
    for name in done.unknown:
        err_console.print(
            f"[bold yellow]warning:[/] the licence of the generator {escape(name)} is not known, and the card says so: "
            "name its folder with --generator, and read it before you publish"
        )
    out_console.print(", ".join(f"{part}: {count:,} images" for part, count in done.images.items()))
    out_console.print(escape(str(done.folder)))


@command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What genrobust export wrote.")],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="The repository on the hub: me/icons.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository a private one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and do nothing.")] = False,
) -> None:
    """Push an export to the Hugging Face hub, in one commit."""
    from genrobust.release import files_of, push as run_push

    if not dry_run:
        out_console.print(escape(run_push(folder, repo_id, private)))
        return
    table = Table("file", "bytes", box=None)
    sizes = {name: path.stat().st_size for name, path in files_of(folder).items()}
    for name, size in sizes.items():
        table.add_row(escape(name), f"{size:,}")
    out_console.print(table)
    out_console.print(f"{len(sizes):,} files, {sum(sizes.values()):,} bytes, to datasets/{escape(repo_id)}")
