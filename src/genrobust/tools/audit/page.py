"""An audit on disk: one HTML page that needs no network, with contact sheets; JSON and a table of images beside it."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust import __version__
from genrobust.core import ImageSet, count, page_json, write_files
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
from genrobust.study import AuditSets
from genrobust.tools.audit.copies import ITSELF, Duplicates
from genrobust.tools.audit.measuring import OF_REAL, OF_TRAINING, Audit, Judgment

PER_CLASS = 6  # images of each class on the contact sheet
OPEN_CLASSES = 16  # that are shown before one asks for more
ROWS = 12  # of a table by class, likewise
PAIRS = 6  # nearest pairs shown of each set


def write_audit_page(audit: Audit, sets: AuditSets, name: str, leaks: Collection[str], folder: Path) -> dict[str, Path]:
    """Write audit.html, audit.json and images.parquet into `folder`; returns their paths by name.

    They replace those of an earlier audit. The page calls the dataset `name`; `leaks` are the test sets whose leaks
    were not allowed.

    Raises:
        UserError: The folder cannot be written, or holds files of these names that were changed.
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


def _html(audit: Audit, sets: AuditSets, name: str, leaks: Collection[str]) -> str:
    is_generated = isinstance(sets.dataset, ShardDataset)  # a folder may hold either
    classes = contact_sheet(sets.dataset, sets.labels, PER_CLASS)
    least, most = min(audit.per_class), max(audit.per_class)
    return render(
        "tools/audit/audit.html.j2",
        audit=audit,
        sets=sets,
        names=sets.labels.names,
        name=name,
        kind="real" if sets.is_real else "generated" if is_generated else "audited",
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


def _facts(audit: Audit, sets: AuditSets, name: str, leaks: Collection[str]) -> Any:
    """Return every measure as JSON; classes by their names in the data, in the order of the labels, NaN as null."""
    real = sets.real
    facts = {
        "genrobust": __version__,
        "dataset": {"name": name, "fingerprint": sets.dataset.fingerprint},
        "against": None if real is None else {"images": len(real), "fingerprint": real.fingerprint},
        "classes": list(sets.labels.label_names),
        "verdict": list(audit_verdict(audit, leaks)),
        "leaks": audit.leaks,
        "near": NEAR,
        **asdict(audit),
    }
    del facts["by_image"]  # which has a file of its own
    return to_json_values(facts)


def audit_verdict(audit: Audit, leaks: Collection[str]) -> Iterator[str]:
    """Sum up the audit in a few sentences; `leaks` are the test sets whose leaks were not allowed."""
    for found in audit.copies:
        if found.copies:
            what = "Copies of" if not found.is_test else "Leaked from" if found.against in leaks else "Leaked, allowed,"
            size = f"{count(found.copies, 'image')} ({percent(found.copies / audit.n)}), {found.exact:,} of them exact"
            yield f"{what} {_title(found)}: {size}."
    if unlike := [_title(found) for found in audit.copies if not found.copies]:
        yield f"No copies of {', '.join(unlike)}."
    for judgment in audit.judgments:
        judge, share = judgment.judge, percent(judgment.agreement.share)
        yield f"{judge[0].upper()}{judge[1:]} takes {share} of the images for their label."


def _title(found: Duplicates) -> str:
    return {ITSELF: "each other", OF_REAL: "real training images"}.get(found.against, found.against)


def _pairs(found: Duplicates, sets: AuditSets) -> list[tuple[Thumbnail, Thumbnail, str, bool]]:
    """Return the nearest pairs of images, each with its distance in words, and whether one is a copy of the other."""
    by_name = {ITSELF: sets.dataset, OF_REAL: sets.real, OF_TRAINING: sets.wild, **sets.tests}
    others = by_name[found.against]
    assert others is not None  # it was searched
    return [
        (
            _shown(sets, sets.dataset, pair.index),
            _shown(sets, others, pair.other),
            f"distance {format_number(pair.distance)}{', mirrored' * pair.mirrored}",
            pair.distance < NEAR,
        )
        for pair in found.pairs[:PAIRS]
    ]


def _shown(sets: AuditSets, images: ImageSet, index: int) -> Thumbnail:
    name = sets.labels.names[images.labels[index]]
    return make_thumbnail(images, index, f"{name}, {images.keys[index]}", name)


def _mistakes(judgment: Judgment, sets: AuditSets) -> list[Thumbnail]:
    """Return the images that are surest to be taken for another class."""
    names, mistakes = sets.labels.names, []
    for index, predicted in judgment.worst:
        name = names[sets.dataset.labels[index]]
        alt, caption = f"{name}, taken for {names[predicted]}", f"{name} → {names[predicted]}"
        mistakes.append(make_thumbnail(sets.dataset, index, alt, caption))
    return mistakes
