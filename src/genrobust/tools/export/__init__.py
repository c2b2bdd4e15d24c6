"""Exports datasets and classifiers to the formats of other programs, with cards, and pushes them to the hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from genrobust.cli import (
    COMMANDS,
    KINDS,
    USE,
    Kind,
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
    from genrobust.study import Studies

What = Annotated[
    str,
    argument(
        "WHAT",
        "RECIPE:DATASET, RECIPE:ARM, or the folder of a dataset or of a checkpoint.",
        autocompletion=datasets_of_recipes,
    ),
]
To = Annotated[str, option("--to FORMAT", "imagefolder or parquet for a dataset; timm or onnx for a classifier.")]
Out = Annotated[Path | None, option("--out DIR", "Output folder; default: WHAT-FORMAT in the current folder.")]
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
    to: To,
    out: Out = None,
    license: License = "other",
    audit: Audit = None,
    filter_: Filter = None,
    push: Push = None,
    private: Private = False,
) -> None:
    """Export a dataset or a classifier with a card, and push it to the hub.

    Example: genrobust export pictograms:generated --to parquet
    """
    from genrobust.core import FLOAT32, require_packages
    from genrobust.study import recipe_and_name
    from genrobust.tools.export.folder import check_target, create_repo, push as run_push
    from genrobust.tools.export.format import FORMATS, Format

    form = FORMATS.get(to)()
    kind = "dataset" if isinstance(form, Format) else "model"
    if private and push is None:
        raise UserError("--private: add --push REPO")
    if not isinstance(form, Format):
        if audit or filter_:
            raise UserError(f"--audit and --filter are about datasets, and --to {to} exports a classifier")
        require_packages(form.packages, form.library, f"--to {to}")
    studies.require_recipe(what)
    folder = out or Path(f"{studies.label(what)}-{to}")
    check_target(folder)  # before anything is made
    if push is not None:
        push = create_repo(push, kind, private)
    if isinstance(form, Format):
        from genrobust.classifiers import with_dtype
        from genrobust.data import read_about
        from genrobust.recipe import recipe_yaml
        from genrobust.tools.export.dataset import export_dataset

        named, rule = studies.dataset(what), studies.filter_of(what)
        images, origin = studies.folder(what) or Path(what), None
        if named is not None:
            dtype = read_about(images).get("dtype", FLOAT32)  # that auto was at the time
            origin = recipe_yaml(with_dtype(studies.recipe(recipe_and_name(what)[0]), dtype), folder), named.name
        count = export_dataset(images, form, folder, filter_ or (str(rule) if rule else None), origin, audit, license)
        tell(f"{count:,} images")
    else:
        from genrobust.tools.export.classifier import export_classifier

        checkpoint = studies.checkpoint(what) or Path(what)
        export_classifier(checkpoint, form, folder, studies.results(what), recipe_and_name(what)[1], license)
    tell(folder)
    if push is not None:
        tell(run_push(folder, push, kind))


def _formats() -> "tuple[Registry[Any], None]":
    from genrobust.tools.export.format import FORMATS

    return FORMATS, None


KINDS.register("formats")(Kind("export --to", _formats))
