"""Write an audit: an HTML page with contact sheets that needs no network, JSON, and a table of images."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust import __version__
from genrobust.core import ImageSet, count
from genrobust.data import BY_IMAGE, ShardDataset
from genrobust.leaks import NEAR
from genrobust.report import (
    METRIC_HEADS,
    Thumbnail,
    contact_sheet,
    format_number,
    make_thumbnail,
    metric_texts,
    percent,
    render,
    to_json_values,
)
from genrobust.store import page_json, write_files
from genrobust.study import AuditSets
from genrobust.tools.audit.copies import ITSELF, Duplicates
from genrobust.tools.audit.measuring import OF_REAL, OF_TRAINING, Audit, Judgment

PER_CLASS = 6  # images of each class on the contact sheet
OPEN_CLASSES = 16  # classes that are shown unfolded
ROWS = 12  # rows of a table by class that are shown unfolded
PAIRS = 6  # nearest pairs shown of each set


@dataclass(frozen=True, slots=True)
class Leaks:
    """The fate of test images in the dataset.

    Attributes:
        errors: Number of copies by test set, if the user did not allow them and a run trains on them.
        allowed: Test sets whose leaks the user allowed.
    """

    errors: Mapping[str, int]
    allowed: Collection[str] = ()

    def describe(self, test: str) -> str:
        """Return the words before the name of a test set with copies."""
        if test in self.errors:
            return "Leaked from"
        if test in self.allowed:
            return "Leaked, allowed,"
        return "Left out by genrobust run as copies of"


def write_audit_page(audit: Audit, sets: AuditSets, name: str, leaks: Leaks, folder: Path) -> dict[str, Path]:
    """Write audit.html, audit.json and images.parquet into `folder`, and return their paths by name.

    They replace the files of an earlier audit.

    Args:
        name: The name of the dataset on the page.
    """
    by_image = io.BytesIO()
    columns = {"key": list(sets.dataset.keys), **audit.by_image}
    pq.write_table(pa.table(columns), by_image, compression="zstd")
    contents: dict[str, str | bytes] = {
        "audit.html": _html(audit, sets, name, leaks),
        "audit.json": page_json(_facts(audit, sets, name, leaks)),
        BY_IMAGE: by_image.getvalue(),
    }
    return write_files(contents, folder)


def _html(audit: Audit, sets: AuditSets, name: str, leaks: Leaks) -> str:
    kind = "audited"  # a folder may hold real or generated images
    if sets.is_real:
        kind = "real"
    elif isinstance(sets.dataset, ShardDataset):
        kind = "generated"
    classes = contact_sheet(sets.dataset, sets.labels, PER_CLASS)
    least, most = min(audit.per_class), max(audit.per_class)
    return render(
        "tools/audit/audit.html.j2",
        audit=audit,
        sets=sets,
        names=sets.labels.names,
        name=name,
        kind=kind,
        leaks=leaks,
        verdict=list(audit_verdict(audit, leaks)),
        class_sizes=f"{least:,}" if least == most else f"{least:,} to {most:,}",
        near=NEAR,
        copies=[(_title(found), found, _pairs(found, sets)) for found in audit.copies],
        judgments=[(judgment, _mistakes(judgment, sets)) for judgment in audit.judgments],
        open_classes=classes[:OPEN_CLASSES],
        more_classes=classes[OPEN_CLASSES:],
        rows=ROWS,
        metric_heads=METRIC_HEADS,
        metric_texts=metric_texts,
    )


def _facts(audit: Audit, sets: AuditSets, name: str, leaks: Leaks) -> Any:
    """Return all measures as JSON, with classes by their names in the data, in the order of the labels. NaN is null."""
    real = sets.real
    facts = {
        "genrobust": __version__,
        "dataset": {"name": name, "fingerprint": sets.dataset.fingerprint},
        "against": None if real is None else {"images": len(real), "fingerprint": real.fingerprint},
        "classes": list(sets.labels.label_names),
        "verdict": list(audit_verdict(audit, leaks)),
        "leaks": audit.leaks,
        "errors": dict(leaks.errors),
        "near": NEAR,
        **asdict(audit),
    }
    del facts["by_image"]  # it has a file of its own
    return to_json_values(facts)


def audit_verdict(audit: Audit, leaks: Leaks) -> Iterator[str]:
    """Sum up the audit in a few sentences."""
    for found in audit.copies:
        if found.copies:
            size = f"{count(found.copies, 'image')} ({percent(found.copies / audit.n)}), {found.exact:,} of them exact"
            words = leaks.describe(found.against) if found.is_test else "Copies of"
            yield f"{words} {_title(found)}: {size}."
    without = [_title(found) for found in audit.copies if not found.copies]
    if without:
        yield f"No copies of {', '.join(without)}."
    for judgment in audit.judgments:
        judge = f"{judgment.judge[0].upper()}{judgment.judge[1:]}"
        yield f"{judge} predicts the label of {percent(judgment.agreement.share)} of the images."


def _title(found: Duplicates) -> str:
    return {ITSELF: "each other", OF_REAL: "real training images"}.get(found.against, found.against)


def _pairs(found: Duplicates, sets: AuditSets) -> list[tuple[Thumbnail, Thumbnail, str, bool]]:
    """Return the nearest pairs of images, with their distance in words, and whether they are copies."""
    by_name = {ITSELF: sets.dataset, OF_REAL: sets.real, OF_TRAINING: sets.wild, **sets.tests}
    others = by_name[found.against]
    assert others is not None  # it was searched
    pairs = []
    for pair in found.pairs[:PAIRS]:
        distance = f"distance {format_number(pair.distance)}"
        if pair.mirrored:
            distance += ", mirrored"
        first = _thumbnail(sets, sets.dataset, pair.index)
        second = _thumbnail(sets, others, pair.other)
        pairs.append((first, second, distance, pair.distance < NEAR))
    return pairs


def _thumbnail(sets: AuditSets, images: ImageSet, index: int) -> Thumbnail:
    name = sets.labels.names[images.labels[index]]
    return make_thumbnail(images, index, f"{name}, {images.keys[index]}", name)


def _mistakes(judgment: Judgment, sets: AuditSets) -> list[Thumbnail]:
    names = sets.labels.names
    mistakes = []
    for index, predicted in judgment.worst:
        name = names[sets.dataset.labels[index]]
        alt = f"{name}, taken for {names[predicted]}"
        mistakes.append(make_thumbnail(sets.dataset, index, alt, f"{name} → {names[predicted]}"))
    return mistakes
