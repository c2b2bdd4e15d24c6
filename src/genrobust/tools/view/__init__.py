"""Shows a generated dataset on a local page, on which a person accepts and rejects images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli import COMMANDS, Against, DatasetSpec, option, say, tell, with_studies

if TYPE_CHECKING:
    from genrobust.study import Studies

Port = Annotated[int, option("--port N", "Port of the page on this machine; default: a free one.", min=0, max=65_535)]


@COMMANDS.register("view")
@with_studies()
def view(studies: "Studies", dataset: DatasetSpec, port: Port = 0, against: Against = None) -> None:
    """Look at a generated dataset on a local page, and reject images by keys."""
    from genrobust.report import count
    from genrobust.study import recipe_and_name
    from genrobust.tools.view.viewing import filter_yaml, view_dataset

    studies.require_recipe(dataset, against)
    recipe, name = recipe_and_name(dataset)
    folder = studies.folder(dataset) or Path(dataset)

    def opened(address: str) -> None:
        tell(address)
        say("open this address in a browser; Ctrl-C ends, and what is decided is saved at once")

    audited = Path(f"audit-{studies.label(dataset)}") if recipe else None
    review = view_dataset(folder, audited, against or recipe or None, port, opened, studies.recipe)
    tell(f"{count(len(review.rejected), 'image')} rejected, {len(review.accepted):,} accepted: {review.file}")
    if review.rejected:
        cleaned = name if recipe and name in studies.recipe(recipe).datasets else "cleaned"
        tell("to leave out what is rejected, write this into the recipe, and mix the dataset in an arm:")
        tell(filter_yaml(cleaned, review.file))
