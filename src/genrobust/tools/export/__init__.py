"""Exports datasets and classifiers to the formats of other programs, with cards, and pushes them to the hub."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from rich.table import Table

from genrobust.cli import (
    COMMANDS,
    KINDS,
    DatasetSpec,
    Kind,
    Overwrite,
    argument,
    arms_of_recipes,
    datasets_of_recipes,
    err_console,
    option,
    out_console,
    tell,
    with_studies,
)
from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.core import Registry
    from genrobust.recipe import Section
    from genrobust.study import Studies

Form = Annotated[str, option("--to FORM", "imagefolder, parquet or webdataset.")]
FormatOptions = Annotated[
    list[str] | None,
    option("--option KEY=VALUE", "An option of the format, of genrobust list formats; repeatable."),
]
Out = Annotated[
    Path | None,
    option("--out DIR", "Output folder; default: beside the dataset, or STUDY-DATASET-FORM here."),
]
Val = Annotated[float | None, option("--val FRACTION", "Split off this fraction of each class for validation: 0.1.")]
ValDataset = Annotated[Path | None, option("--val-dataset DIR", "Another generated dataset, for validation.")]
Audit = Annotated[Path | None, option("--audit FILE", "The audit.json of the dataset, for the card.")]
Filter = Annotated[
    str | None,
    option("--filter NAME", "Leave out the images that this filter rejects; default: the one that the recipe names."),
]
Generator = Annotated[Path | None, option("--generator DIR", "The generator's folder, to read its license.")]
Recipe = Annotated[
    str | None, option("--recipe RECIPE", "The recipe that made the folder; it is checked, then exported with it.")
]
AcceptLicense = Annotated[
    bool, option("--accept-license --accept-licence", "Export even if the generator's license restricts its images.")
]
Exported = Annotated[
    str,
    argument(
        "FOLDER",
        "A folder that genrobust export wrote, or the exported RECIPE:DATASET.",
        autocompletion=datasets_of_recipes,
    ),
]
RepoId = Annotated[str, argument("REPO_ID", "The repository on the hub, such as me/icons.")]
Private = Annotated[bool, option("--private", "Create a new repository as a private one.")]
DryRun = Annotated[bool, option("--dry-run", "List the files, and push nothing.")]
Checkpoint = Annotated[
    str, argument("CHECKPOINT", "RECIPE:ARM, or the folder of a trained classifier.", autocompletion=arms_of_recipes)
]
License = Annotated[str, option("--license --licence ID", "License of the exported work, such as cc-by-4.0.")]
ModelForm = Annotated[str, option("--to FORM", "timm or onnx.")]
ModelFolder = Annotated[
    Path | None, option("--out DIR", "Output folder; default: CHECKPOINT-FORM in the current folder.")
]
Results = Annotated[Path | None, option("--report FILE", "The results.json of the classifier's study, for the card.")]
Arm = Annotated[str | None, option("--arm NAME", "Its arm in --report, if two arms were trained alike.")]


@COMMANDS.register("export")
@with_studies()
def export(
    studies: "Studies",
    dataset: DatasetSpec,
    to: Form,
    option: FormatOptions = None,
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
    from genrobust.study import recipe_and_name
    from genrobust.tools.export.exporting import ExportOptions, export as run_export
    from genrobust.tools.export.origin import origin_of

    studies.require_recipe(dataset, recipe)
    if made_by := recipe_and_name(dataset)[0]:
        recipe, out = recipe or made_by, out or Path(f"{studies.label(dataset)}-{to}")
    folder, rule = studies.folder(dataset) or Path(dataset), studies.filter_of(dataset)
    options = ExportOptions(
        folder,
        to,
        options=option or (),
        out=out,
        val=val,
        val_dataset=val_dataset,
        overwrite=overwrite,
        license=license,
        audit=audit,
        filter=filter_ or (None if rule is None else str(rule)),
        generator=generator,
        origin=None if recipe is None else origin_of(folder, recipe, studies.recipe),
        accept_license=accept_license,
    )
    done = run_export(options)
    for name in done.unknown:
        err_console.print(
            f"[bold yellow]warning:[/] the license of the generator {escape(name)} is unknown, and the card says so: "
            "add its folder with --generator, and read the license before you publish"
        )
    tell(", ".join(f"{part}: {count:,} images" for part, count in done.images.items()), done.folder)


@COMMANDS.register("export-model")
@with_studies()
def export_model(
    studies: "Studies",
    checkpoint: Checkpoint,
    to: ModelForm,
    out: ModelFolder = None,
    report: Results = None,
    arm: Arm = None,
    license: License = "other",
    overwrite: Overwrite = False,
) -> None:
    """Export a trained classifier as a folder for timm or as an ONNX file, with a model card."""
    from genrobust.classifiers import read_checkpoint_info
    from genrobust.study import recipe_and_name
    from genrobust.tools.export.model_card import measured
    from genrobust.tools.export.model_export import check_target, export_model as run_export

    studies.require_recipe(checkpoint)
    folder = out or Path(f"{studies.label(checkpoint)}-{to}")
    check_target(to, folder, overwrite)  # before the arm is trained
    source = studies.checkpoint(checkpoint) or Path(checkpoint)
    if report is None and (study_results := studies.results(checkpoint)) is not None:
        with suppress(UserError):  # a report of another training of this arm, or none
            measured(study_results, read_checkpoint_info(source), arm or recipe_and_name(checkpoint)[1])
            report, arm = study_results, arm or recipe_and_name(checkpoint)[1]
    tell(*run_export(source, to, folder, report, arm, license, overwrite).values())


@COMMANDS.register("push")
@with_studies(without=("run", "runs", "device"))
def push(
    studies: "Studies", exported: Exported, repo_id: RepoId, private: Private = False, dry_run: DryRun = False
) -> None:
    """Push an export to the Hugging Face hub."""
    from genrobust.tools.export.pushing import files_of, push as run_push, require_repo_id

    studies.require_recipe(exported)
    folder = _export_of(studies, exported)
    if not dry_run:
        tell(run_push(folder, repo_id, private))
        return
    require_repo_id(repo_id)
    sizes = {name: path.stat().st_size for name, path in files_of(folder).items()}
    table = Table("file", "bytes", box=None)
    for name, size in sizes.items():
        table.add_row(escape(name), f"{size:,}")
    out_console.print(table)
    tell(f"{len(sizes):,} files, {sum(sizes.values()):,} bytes, to datasets/{repo_id}")


def _export_of(studies: "Studies", spec: str) -> Path:
    """The export that `spec` names: a folder, or what `export` wrote of RECIPE:DATASET."""
    from genrobust.tools.export.format import FORMATS

    if studies.dataset(spec) is None:
        return Path(spec)
    exports = [path for form in FORMATS.names() if (path := Path(f"{studies.label(spec)}-{form}")).is_dir()]
    if len(exports) > 1:
        raise UserError(f"{spec}: there are several exports of it, {' and '.join(map(str, exports))}: name one")
    if not exports:
        export = shlex.join(["genrobust", "export", spec, "--to", "parquet"])
        raise UserError(f"{spec}: there is no export of it in this folder; to write one:\n{export}")
    return exports[0]


def _formats() -> "tuple[Registry[Any], type[Section]]":
    from genrobust.recipe import Section
    from genrobust.tools.export.format import FORMATS

    return FORMATS, Section


KINDS.register("formats")(Kind("export --to", _formats))
