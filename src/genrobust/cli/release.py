"""The commands that release a generated dataset: export it to a common format, push it to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.table import Table

from genrobust.cli.app import command, err_console, out_console, tell
from genrobust.cli.options import DatasetFolder, License, Overwrite, argument, option

Form = Annotated[str, option("--to FORM", "imagefolder, parquet or webdataset.")]
Out = Annotated[Path | None, option("--out DIR", "Output folder; default: beside the dataset.")]
Val = Annotated[float | None, option("--val FRACTION", "Split off this fraction of each class for validation: 0.1.")]
ValDataset = Annotated[Path | None, option("--val-dataset DIR", "Another generated dataset, for validation.")]
Audit = Annotated[Path | None, option("--audit FILE", "The audit.json of the dataset, for the card.")]
Filter = Annotated[str | None, option("--filter NAME", "Leave out the images that this filter rejects.")]
Generator = Annotated[Path | None, option("--generator DIR", "The generator's folder, to read its license.")]
Recipe = Annotated[
    str | None, option("--recipe RECIPE", "The recipe that made the dataset; it is checked, then exported with it.")
]
AcceptLicense = Annotated[
    bool, option("--accept-license --accept-licence", "Export even if the generator's license restricts its images.")
]
Folder = Annotated[Path, argument("FOLDER", "A folder that genrobust export wrote.")]
RepoId = Annotated[str, argument("REPO_ID", "The repository on the hub, such as me/icons.")]
Private = Annotated[bool, option("--private", "Create a new repository as a private one.")]
DryRun = Annotated[bool, option("--dry-run", "List the files, and push nothing.")]


@command()
def export(
    dataset: DatasetFolder,
    to: Form,
    out: Out = None,
    val: Val = None,
    val_dataset: ValDataset = None,
    overwrite: Overwrite = False,
    license: License = "other",
    audit: Audit = None,
    filter_: Filter = None,
    generator: Generator = None,
    recipe: Recipe = None,
    accept_license: AcceptLicense = False,
) -> None:
    """Export a generated dataset to the format of another program, with a card."""
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
            f"[bold yellow]warning:[/] the license of the generator {escape(name)} is unknown, and the card says so: "
            "add its folder with --generator, and read the license before you publish"
        )
    tell(", ".join(f"{part}: {count:,} images" for part, count in done.images.items()), done.folder)


@command()
def push(folder: Folder, repo_id: RepoId, private: Private = False, dry_run: DryRun = False) -> None:
    """Push an export to the Hugging Face hub, in one commit."""
    from genrobust.release import files_of, push as run_push

    if not dry_run:
        tell(run_push(folder, repo_id, private))
        return
    sizes = {name: path.stat().st_size for name, path in files_of(folder).items()}
    table = Table("file", "bytes", box=None)
    for name, size in sizes.items():
        table.add_row(escape(name), f"{size:,}")
    out_console.print(table)
    tell(f"{len(sizes):,} files, {sum(sizes.values()):,} bytes, to datasets/{repo_id}")
