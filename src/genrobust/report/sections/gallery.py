"""The gallery: images that the arms trained on."""

from __future__ import annotations

from genrobust.report.nouns import ReportSection
from genrobust.report.page import Thumbnail, data_uri
from genrobust.report.view import SECTIONS, ReportView

OPEN_CLASSES = 6  # that are shown before one asks for more


@SECTIONS.register("gallery")
def gallery(view: ReportView) -> ReportSection | None:
    """Return the images by class, origin and style, in the order given."""
    pictures = view.record.pictures
    if not pictures:
        return None
    origins = list(dict.fromkeys(picture.origin for picture in pictures))
    by_class: dict[str, dict[str, list[Thumbnail]]] = {}
    for p in pictures:
        alt = f"{p.origin} {p.class_name}" + (f", {p.style}" if p.style else "")
        of_class = by_class.setdefault(p.class_name, {origin: [] for origin in origins})
        of_class[p.origin].append(Thumbnail(data_uri(p.data), alt, p.style, p.caption))
    classes = [(name, list(of_class.items())) for name, of_class in by_class.items()]
    return ReportSection(
        title="Gallery",
        order=130,
        lead=f"What the arms trained on: {', '.join(origins)}.",
        template="{{ side_by_side(values.shown, values.more) }}",
        values={"shown": classes[:OPEN_CLASSES], "more": classes[OPEN_CLASSES:]},
    )
