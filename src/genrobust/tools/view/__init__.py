"""Shows images on a local page, where a person accepts or rejects the images of a generated dataset."""

import os
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from genrobust.cli import COMMANDS, DATA, DatasetSpec, in_group, option, say, serve, tell, with_studies
from genrobust.core import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genrobust.core import ImageSet
    from genrobust.study import Studies

Port = Annotated[int, option("--port N", "Port of the page on this machine; default: a free one.", min=0, max=65_535)]


@COMMANDS.register("view")
@in_group(DATA)
@with_studies
def view(studies: "Studies", dataset: DatasetSpec, port: Port = 0) -> None:
    """Look at images on a local page, and reject images of a generated dataset.

    Example: genrobust view pictograms:generated
    """
    from genrobust.data import ShardDataset, review_of
    from genrobust.study import recipe_and_name
    from genrobust.tools.view.page import Viewer, viewer_app

    studies.require_recipe(dataset)
    recipe, name = recipe_and_name(dataset)
    folder = studies.folder(dataset) or Path(dataset)
    images, names = _open(folder)

    def opened(address: str) -> None:
        tell(address)
        if isinstance(images, ShardDataset):
            saved = ", and each decision is saved at once"
        else:
            saved = ""
        say(f"open this address in a browser; Ctrl-C ends{saved}")

    own_audit = Path(f"audit-{studies.label(dataset)}") if recipe else None
    viewer = Viewer(folder, images, names, _read_audit(folder, own_audit, images))
    serve(partial(viewer_app, viewer), port, opened)
    if not isinstance(images, ShardDataset):
        return
    review = review_of(images)
    tell(f"{count(len(review.rejected), 'image')} rejected, {len(review.accepted):,} accepted: {review.file}")
    if review.rejected:
        if recipe and name in studies.recipe(recipe).datasets:
            cleaned = name
        else:
            cleaned = "cleaned"
        tell("to leave out the rejected images, write this into the recipe, and mix the dataset in an arm:")
        tell(_filter_yaml(cleaned, review.file, Path(recipe).parent))


def _read_audit(folder: Path, own_audit: Path | None, images: "ImageSet") -> "Mapping[str, list[Any]]":
    """Return the columns of an audit of `images`: of their folder, or of their recipe. Empty if there is none."""
    from genrobust.data import audit_folder, read_by_image

    for place in filter(None, [audit_folder(folder), own_audit]):
        columns = read_by_image(place, images)
        if columns is not None:
            return columns
    return {}


def _open(folder: Path) -> "tuple[ImageSet, Sequence[str]]":
    """Open the images at `folder` as an audit does. Returns them and the names of their classes."""
    from genrobust.data import ShardDataset, is_dataset, review_of

    if is_dataset(folder):
        shards = ShardDataset(folder)
        review_of(shards)  # reports a damaged review before the page opens
        return shards, shards.label_names
    # Import late: shards do not need torch.
    from genrobust.study import open_sets

    sets = open_sets(str(folder))
    return sets.dataset, sets.labels.label_names


def _filter_yaml(dataset: str, review: Path, folder: Path) -> str:
    """Return the lines of a recipe in `folder` that leave the rejected images out of its `dataset`."""
    import yaml

    if review.is_absolute():
        file = str(review)
    else:
        file = os.path.relpath(review, folder)
    datasets = {dataset: {"filter": {"by": "list", "file": file}}}
    return yaml.safe_dump({"datasets": datasets}, allow_unicode=True, width=inf, default_flow_style=None).rstrip()
