"""Exports datasets and classifiers to the formats of other programs, with cards, and pushes them to the hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from genrobust.cli import (
    COMMANDS,
    KINDS,
    USE,
    Kind,
    Overwrite,
    argument,
    datasets_of_recipes,
    in_group,
    option,
    tell,
    with_studies,
)
from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.core import Registry
    from genrobust.recipe import Section
    from genrobust.study import Studies
    from genrobust.tools.export.format import ClassifierFormat, Format

What = Annotated[
    str,
    argument(
        "WHAT",
        "RECIPE:DATASET, RECIPE:ARM, the folder of a dataset or of a checkpoint, or an export to --push.",
        autocompletion=datasets_of_recipes,
    ),
]
To = Annotated[
    str | None,
    option("--to FORMAT", "imagefolder, parquet or webdataset for a dataset; timm or onnx for a classifier."),
]
Options = Annotated[
    list[str] | None,
    option("--option KEY=VALUE", "An option of the format, of genrobust list formats; repeatable."),
]
Out = Annotated[Path | None, option("--out DIR", "Output folder; default: WHAT-FORMAT in the current folder.")]
Val = Annotated[float | None, option("--val FRACTION", "Split off this fraction of each class for validation: 0.1.")]
Audit = Annotated[Path | None, option("--audit FILE", "The audit.json of the dataset, for the card.")]
Filter = Annotated[
    str | None,
    option("--filter NAME", "Leave out the images that this filter rejects; default: the one of the recipe."),
]
License = Annotated[str, option("--license ID", "License of the exported work, such as cc-by-4.0.")]
Push = Annotated[str | None, option("--push REPO", "Push it to this repository on the Hugging Face hub: me/icons.")]
Private = Annotated[bool, option("--private", "Create a new repository as a private one.")]


@COMMANDS.register("export")
@in_group(USE)
@with_studies()
def export(
    studies: "Studies",
    what: What,
    to: To = None,
    option: Options = None,
    out: Out = None,
    overwrite: Overwrite = False,
    license: License = "other",
    val: Val = None,
    audit: Audit = None,
    filter_: Filter = None,
    push: Push = None,
    private: Private = False,
) -> None:
    """Export a dataset or a classifier with a card, and push it to the hub.

    A folder that `export` wrote is pushed as it is, without --to.

    Example: genrobust export pictograms:generated --to parquet
    """
    from genrobust.tools.export.format import FORMATS, Format, open_format
    from genrobust.tools.export.licenses import check_license
    from genrobust.tools.export.pushing import check_repo, push as run_push

    check_license(license)
    if push is None and (private or to is None):
        raise UserError("--private: add --push REPO" if to else f"add --to FORMAT: {', '.join(FORMATS.names())}")
    if push is not None and to is not None:
        check_repo(push)  # before the export
    studies.require_recipe(what)
    folder = out or Path(what if to is None else f"{studies.label(what)}-{to}")
    if to is not None:
        form = open_format(to, option or ())
        if isinstance(form, Format):
            words = [word for text in option or () for word in ("--option", text)]
            words += ["--filter", Path(filter_).name] if filter_ else []
            _export_dataset(studies, what, form, folder, ["--to", to, *words], filter_, val, audit, license, overwrite)
        elif val or audit or filter_:
            raise UserError(f"--val, --audit and --filter are about datasets, and --to {to} exports a classifier")
        else:
            _export_classifier(studies, what, form, folder, license, overwrite)
    if push is not None:
        tell(run_push(folder, push, private))


def _export_dataset(
    studies: "Studies", what: str, form: "Format", out: Path, words: list[str], filter: str | None, *options: Any
) -> None:
    from genrobust.classifiers import with_dtype
    from genrobust.core import FLOAT32
    from genrobust.data import read_about
    from genrobust.recipe import recipe_yaml
    from genrobust.study import recipe_and_name
    from genrobust.tools.export.dataset import Origin, export_dataset

    named, rule = studies.dataset(what), studies.filter_of(what)
    folder, origin = studies.folder(what) or Path(what), None
    if named is not None and not named.user_provided:
        dtype = read_about(folder).get("dtype", FLOAT32)  # what auto was, where it was made
        origin = Origin(recipe_yaml(with_dtype(studies.recipe(recipe_and_name(what)[0]), dtype)), named.name)
    chosen = filter or (None if rule is None else str(rule))
    content = export_dataset(folder, form, out, words, chosen, origin, *options)
    tell(", ".join(f"{part.name}: {len(part):,} images" for part in content.parts), out)


def _export_classifier(studies: "Studies", what: str, form: "ClassifierFormat", out: Path, *options: Any) -> None:
    from genrobust.study import recipe_and_name
    from genrobust.tools.export.classifier import export_classifier
    from genrobust.tools.export.folder import check_target

    check_target(out, options[-1])  # before the arm is trained
    checkpoint = studies.checkpoint(what) or Path(what)
    results, arm = studies.results(what), recipe_and_name(what)[1]
    tell(*export_classifier(checkpoint, form, out, results, arm, *options).values())


def _formats() -> "tuple[Registry[Any], type[Section]]":
    from genrobust.recipe import Section
    from genrobust.tools.export.format import FORMATS

    return FORMATS, Section


KINDS.register("formats")(Kind("export --to", _formats))
