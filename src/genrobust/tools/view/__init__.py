"""Shows a generated dataset on a local page, on which a person accepts and rejects images."""

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli import COMMANDS, DATA, Against, DatasetSpec, in_group, option, say, tell, with_studies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genrobust.core import ImageSet
    from genrobust.study import Studies

Port = Annotated[int, option("--port N", "Port of the page on this machine; default: a free one.", min=0, max=65_535)]


@COMMANDS.register("view")
@in_group(DATA)
@with_studies
def view(studies: "Studies", dataset: DatasetSpec, port: Port = 0, against: Against = None) -> None:
    """Look at a generated dataset on a local page, and reject images.

    Example: genrobust view pictograms:generated
    """
    from genrobust.data import ShardDataset, audit_folder, read_by_image, review_of
    from genrobust.report import count
    from genrobust.study import recipe_and_name
    from genrobust.tools.view.page import Viewer, serve

    studies.require_recipe(dataset, against)
    recipe, name = recipe_and_name(dataset)
    folder = studies.folder(dataset) or Path(dataset)
    images = ShardDataset(folder)
    review_of(images)  # a wrong one is reported before the page opens
    real = against or recipe or None

    def sets() -> "Mapping[str, ImageSet]":
        itself: dict[str, ImageSet] = {"itself": images}
        if real is None:
            return itself
        from genrobust.study import open_sets  # with torch, which the page does not need

        opened = open_sets(str(folder), real, load=studies.recipe)
        return itself | opened.tests | ({} if opened.real is None else {"the real images": opened.real})

    def opened(address: str) -> None:
        tell(address)
        say("open this address in a browser; Ctrl-C ends, and what is decided is saved at once")

    places = [audit_folder(folder), *([Path(f"audit-{studies.label(dataset)}")] if recipe else [])]
    known = next((known for place in places if (known := read_by_image(place, images)) is not None), {})
    serve(Viewer(images, known, sets), port, opened)
    review = review_of(images)
    tell(f"{count(len(review.rejected), 'image')} rejected, {len(review.accepted):,} accepted: {review.file}")
    if review.rejected:
        cleaned = name if recipe and name in studies.recipe(recipe).datasets else "cleaned"
        tell("to leave out what is rejected, write this into the recipe, and mix the dataset in an arm:")
        tell(_filter_yaml(cleaned, review.file))


def _filter_yaml(dataset: str, review: Path) -> str:
    """The lines of a recipe by which its `dataset` leaves out what a review rejects."""
    import yaml

    datasets = {dataset: {"filter": {"by": "list", "file": str(review)}}}
    return yaml.safe_dump({"datasets": datasets}, allow_unicode=True, width=inf, default_flow_style=None).rstrip()
