"""Exports datasets and classifiers to the formats of other programs, with cards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli import COMMANDS, USE, argument, in_group, option, say, tell, with_studies
from genrobust.core import UserError, require_packages
from genrobust.tools.export.format import FORMATS, Format

if TYPE_CHECKING:
    from genrobust.study import Studies


@COMMANDS.register("export")
@in_group(USE)
@with_studies
def export(
    studies: "Studies",
    what: Annotated[str, argument("WHAT", "RECIPE:DATASET, RECIPE:ARM, or either's folder.")],
    to: Annotated[str, option("--to FORMAT", "imagefolder or parquet for a dataset; timm or onnx for a classifier.")],
    out: Annotated[Path | None, option("--out DIR", "Output folder; default: WHAT-FORMAT here.")] = None,
    license: Annotated[str, option("--license ID", "License of the exported work, such as cc-by-4.0.")] = "other",
) -> None:
    """Export a dataset or a classifier with a card.

    Example: genrobust export pictograms:generated --to parquet
    """
    from genrobust.data import require_outside
    from genrobust.study import recipe_and_name

    form = FORMATS.get(to)()
    if not isinstance(form, Format):
        require_packages(form.packages, form.library, f"--to {to}")
    studies.require_recipe(what)
    folder = out or Path(f"{studies.label(what)}-{to}")
    recipe, arm = recipe_and_name(what)
    if recipe:
        require_outside(studies.recipe(recipe).data.places, [folder])
    # Check before anything is made.
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is there already: remove it, or name another folder with --out")
    if isinstance(form, Format):
        from genrobust.tools.export.dataset import export_dataset

        tell(f"{export_dataset(studies, what, form, folder, license):,} images")
    else:
        from genrobust.tools.export.classifier import Origin, export_classifier

        checkpoint = studies.checkpoint(what) or Path(what)
        origin = None
        if recipe:
            study = studies.open(recipe)
            results = studies.results(what)
            origin = Origin(results, arm, study.recipe.evaluate, study.data.labels.descriptions)
            if results is None:
                say(f"the card gives no accuracies: {recipe} has no report as it is now; genrobust run makes it")
        export_classifier(checkpoint, form, folder, license, origin)
    tell(folder)
