"""Opens a dataset and its audit, serves the page, and says how a recipe uses the review."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from genrobust.core import ImageSet, fetch
from genrobust.data import Review, ShardDataset, audit_folder, read_by_image, review_of
from genrobust.recipe import Recipe, load_recipe
from genrobust.tools.view.page import Viewer, serve


def view_dataset(
    folder: Path,
    audit: Path | None = None,
    against: str | None = None,
    port: int = 0,
    say: Callable[[str], None] = lambda line: None,
    load: Callable[[str], Recipe] = load_recipe,
) -> Review:
    """Serve the page of the dataset in `folder` until Ctrl-C, and return the review.

    Args:
        audit: The folder in which an audit of the dataset may lie, if it does not lie beside it.
        against: The real images of that audit, a folder or a recipe, to show the nearest of them.
        port: Of this machine; 0 is a free one.
        say: Called with the address of the page.
        load: Loads a recipe by its name.

    Raises:
        UserError: There is no such dataset or it is not complete, its review is of another one, or the port is in use.
        GenrobustError: The dataset or the audit is damaged.
    """
    images = ShardDataset(folder)
    fetch(folder.parent, f"{folder.name}.review.json")
    review_of(images)  # a wrong one is reported before the page opens

    def sets() -> Mapping[str, ImageSet]:
        itself: dict[str, ImageSet] = {"itself": images}
        if against is None:
            return itself
        from genrobust.study import open_sets  # with torch, which the page does not need

        opened = open_sets(str(folder), against, load=load)
        return itself | opened.tests | ({} if opened.real is None else {"the real images": opened.real})

    places = [audit_folder(folder), *([] if audit is None else [audit])]
    known = next((known for place in places if (known := read_by_image(place, images)) is not None), {})
    serve(Viewer(images, known, sets), port, say)
    return review_of(images)


def filter_yaml(dataset: str, review: Path) -> str:
    """Return the lines of a recipe by which its `dataset` leaves out what a review rejects."""
    datasets = {dataset: {"filter": {"by": "list", "file": str(review)}}}
    return yaml.safe_dump({"datasets": datasets}, allow_unicode=True, width=math.inf, default_flow_style=None).rstrip()
