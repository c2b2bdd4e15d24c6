"""The view of images in a notebook."""

from __future__ import annotations

import numpy as np

from genrobust.core import VIEWS, GenrobustError, ImageSet
from genrobust.report.page_templates import render
from genrobust.report.thumbnails import Thumbnail, make_thumbnail

# Images that are shown, evenly through the set.
SHOWN = 24


@VIEWS.register("images")
def show_images(images: ImageSet) -> str:
    """Return a contact sheet of some of the images. An image that cannot be read is named with the reason."""
    names = getattr(images, "label_names", ())
    sheet: list[Thumbnail] = []
    notes: list[str] = []
    for index in _spread_evenly(len(images)):
        label = int(images.labels[index])
        caption = names[label] if names else f"label {label}"
        try:
            sheet.append(make_thumbnail(images, index, images.keys[index], caption))
        except GenrobustError as error:
            notes.append(str(error))
    return render("notebook.html.j2", title=repr(images), sheet=sheet, notes=notes)


def _spread_evenly(count: int) -> list[int]:
    if count == 0:
        return []
    return np.unique(np.linspace(0, count - 1, SHOWN, dtype=int)).tolist()
