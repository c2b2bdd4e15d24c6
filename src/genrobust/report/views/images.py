"""The view of images in a notebook."""

from __future__ import annotations

import numpy as np

from genrobust.core import VIEWS, GenrobustError, ImageSet
from genrobust.report.page import make_thumbnail, render

SHOWN = 24  # images, evenly through the set


@VIEWS.register("images")
def show_images(images: ImageSet) -> str:
    """Return a contact sheet of some of the images; one that cannot be read is named with the reason."""
    names, sheet, notes = getattr(images, "label_names", ()), [], []
    for index in np.unique(np.linspace(0, len(images) - 1, SHOWN, dtype=int)) if len(images) else ():
        label = int(images.labels[index])
        caption = names[label] if names else f"label {label}"
        try:
            sheet.append(make_thumbnail(images, int(index), images.keys[index], caption))
        except GenrobustError as error:
            notes.append(str(error))
    return render("notebook.html.j2", title=repr(images), sheet=sheet, notes=notes)
