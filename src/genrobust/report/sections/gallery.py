"""The gallery: images that the arms trained on."""

from __future__ import annotations

from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.thumbnails import Thumbnail, data_uri

# Classes on the page. The others are shown after a click.
OPEN_CLASSES = 6


@SECTIONS.register("gallery")
def gallery(view: ReportView) -> ReportSection | None:
    """Return the images by class, origin and style, in the order given."""
    pictures = view.record.pictures
    if not pictures:
        return None
    origins = list(dict.fromkeys(picture.origin for picture in pictures))
    by_class: dict[str, dict[str, list[Thumbnail]]] = {}
    for picture in pictures:
        alt = f"{picture.origin} {picture.class_name}"
        if picture.style:
            alt += f", {picture.style}"
        by_origin = by_class.setdefault(picture.class_name, {origin: [] for origin in origins})
        by_origin[picture.origin].append(Thumbnail(data_uri(picture.data), alt, picture.style, picture.caption))
    classes = [(name, list(by_origin.items())) for name, by_origin in by_class.items()]
    return ReportSection(
        title="Gallery",
        order=130,
        lead=f"Images that the arms trained on: {', '.join(origins)}.",
        template="{{ side_by_side(values.shown, values.more) }}",
        values={"shown": classes[:OPEN_CLASSES], "more": classes[OPEN_CLASSES:]},
    )
