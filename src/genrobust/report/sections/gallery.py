"""The gallery: images that the arms trained on."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.core import Picture
from genrobust.report.nouns import ReportSection, template_beside
from genrobust.report.page import Thumbnail, data_uri
from genrobust.report.view import SECTIONS, ReportView

OPEN_CLASSES = 6  # that are shown before one asks for more


@SECTIONS.register("gallery")
def gallery(view: ReportView) -> ReportSection | None:
    """Return the images by class, origin and style."""
    pictures = view.record.pictures
    if not pictures:
        return None
    classes, origins = pictures_by_class(pictures), list(dict.fromkeys(p.origin for p in pictures))
    return ReportSection(
        title="Gallery",
        order=130,
        lead=f"What the arms trained on: {', '.join(origins)}.",
        template=template_beside(__file__),
        values={"shown": classes[:OPEN_CLASSES], "more": classes[OPEN_CLASSES:], "origins": origins},
    )


def pictures_by_class(pictures: Sequence[Picture]) -> list[tuple[str, dict[str, list[Thumbnail]]]]:
    """Return the pictures by class and origin, in the order given."""
    by_class: dict[str, dict[str, list[Thumbnail]]] = {}
    for p in pictures:
        alt = f"{p.origin} {p.class_name}" + (f", {p.style}" if p.style else "")
        picture = Thumbnail(data_uri(p.data), alt, p.style, p.caption)
        by_class.setdefault(p.class_name, {}).setdefault(p.origin, []).append(picture)
    return list(by_class.items())
