"""An audit on disk: one HTML page that needs no network, with contact sheets; JSON and a table of images beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrobust import __version__
from genrobust.core import ImageSet, page_json, write_files
from genrobust.data import BY_IMAGE
from genrobust.report import (
    Thumbnail,
    contact_sheet,
    count,
    format_number,
    make_thumbnail,
    percent,
    render,
    to_json_values,
)
from genrobust.study import AuditSets
from genrobust.tools.audit.results import Audit, ClassDiversity, Duplicates, Judgment, NearPair

PER_CLASS = 6  # images of each class on the contact sheet
OPEN_CLASSES = 16  # that are shown before one asks for more
ROWS = 12  # of a table by class, likewise
PAIRS = 6  # nearest pairs shown of each set


def write_audit_page(audit: Audit, sets: AuditSets, name: str, leaks: tuple[str, ...], folder: Path) -> dict[str, Path]:
    """Write audit.html, audit.json and images.parquet into `folder`; returns their paths by name.

    They replace those of an earlier audit. The page calls the dataset `name`; `leaks` are the test sets whose leaks
    were not allowed.

    Raises:
        UserError: The folder cannot be written, or holds files of these names that were changed.
    """
    page = audit_html(audit, sets, name, leaks)
    contents: dict[str, str | bytes] = {
        "audit.html": page,
        "audit.json": page_json(_facts(audit, sets, name, leaks)),
        BY_IMAGE: _by_image(audit, sets.dataset),
    }
    return write_files(contents, folder)


def audit_html(audit: Audit, sets: AuditSets, name: str, leaks: tuple[str, ...]) -> str:
    """Render the audit as one HTML page."""
    classes, kind = contact_sheet(sets.dataset, sets.labels, PER_CLASS), _kind(audit, sets)
    sizes = sorted(audit.per_class.values())
    return render(
        "tools/audit/audit.html.j2",
        audit=audit,
        sets=sets,
        names=sets.labels.names,
        name=name,
        kind=kind,
        leaks=leaks,
        verdict=audit_verdict(audit, leaks),
        class_sizes=f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}",
        pairs=_pair_sheets(audit, sets),
        among=[
            (name, len(sets.own[name]), duplicates)
            for name, by_set in audit.among.items()
            for duplicates in sorted(by_set, key=lambda found: -found.copies)
        ],
        judgments=[(j, _mistakes(j, sets)) for j in audit.judgments],
        diversity=[(space, *_means(space.diversity)) for space in audit.spaces],
        open_classes=classes[:OPEN_CLASSES],
        more_classes=classes[OPEN_CLASSES:],
        rows=ROWS,
    )


def _kind(audit: Audit, sets: AuditSets) -> str:
    """Return what the images are: "real", "generated" or, of a folder that may hold either, "audited"."""
    if sets.is_real:
        return "real"
    return "audited" if audit.making is None else "generated"


def _facts(audit: Audit, sets: AuditSets, name: str, leaks: Sequence[str]) -> Any:
    """Return every measure as JSON; classes by their names in the data, in the order of the labels, NaN as null."""
    real = sets.real
    facts = {
        "genrobust": __version__,
        "dataset": {"name": name, "fingerprint": sets.dataset.fingerprint},
        "against": None if real is None else {"images": len(real), "fingerprint": real.fingerprint},
        "classes": list(sets.labels.label_names),
        "verdict": audit_verdict(audit, leaks),
        "leaks": audit.leaks,
        **asdict(replace(audit, by_image={})),
    }
    del facts["by_image"]  # which has a file of its own
    return to_json_values(facts)


def _by_image(audit: Audit, images: ImageSet) -> bytes:
    """Return what is known of each image, by its key, as parquet."""
    file = io.BytesIO()
    pq.write_table(pa.table({"key": list(images.keys), **audit.by_image}), file, compression="zstd")
    return file.getvalue()


def audit_verdict(audit: Audit, leaks: Sequence[str]) -> list[str]:
    """Sum up the audit in a few sentences; `leaks` are the test sets whose leaks were not allowed."""
    judged = [f"{j.judge} takes {percent(j.agreement.share)} of the images for their label" for j in audit.judgments]
    return [
        s for s in (_leak_sentence(audit, leaks), _among_sentence(audit), _copy_sentence(audit), _sentence(judged)) if s
    ]


def _leak_sentence(audit: Audit, leaks: Sequence[str]) -> str:
    if not audit.of_tests:
        return ""
    if not audit.leaks:
        return f"No image is a copy of any of {sum(t.size for t in audit.of_tests):,} test images."
    exact = {duplicates.against: duplicates.exact for duplicates in audit.of_tests}
    where = ", ".join(
        f"{count(n, 'image')} of {name} ({exact[name]:,} exact{'' if name in leaks else ', allowed'})"
        for name, n in audit.leaks.items()
    )
    look = "" if all(exact[name] == n for name, n in audit.leaks.items()) else " Look at those that are not exact."
    return f"Test images have leaked into the dataset: it holds copies of {where}.{look}"


def _among_sentence(audit: Audit) -> str:
    counts = [
        f"{count(duplicates.copies, 'image')} of {name} in {duplicates.against} ({duplicates.exact:,} exact)"
        for name, by_set in audit.among.items()
        for duplicates in by_set
        if duplicates.copies
    ]
    return f"Copies among the other sets: {', '.join(counts)}." if counts else ""


def _copy_sentence(audit: Audit) -> str:
    parts = []
    for duplicates, originals in ((audit.inside, "each other"), (audit.of_real, "real training images")):
        if duplicates is not None:
            phrase = f"{percent(duplicates.copies / audit.n)} of the images are copies of {originals}"
            parts.append(phrase if duplicates.copies else f"none copies {originals}")
    known = audit.memorization
    if known is not None:
        share = percent(known.share) if known.count else "none"
        against = f"where {percent(known.expected, 0)} would be expected of unseen ones"
        parts.append(f"{share} lie unusually near to the generator's training images, {against}")
    return _sentence(parts)


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def _pair_sheets(audit: Audit, sets: AuditSets) -> list[tuple[str, list[tuple[Thumbnail, Thumbnail, str, bool]]]]:
    """Return the nearest pairs side by side, for each set that was searched; of the sets beside, where copies are."""
    searched: list[tuple[str, Duplicates | None, ImageSet, ImageSet | None]] = [
        *(
            (f"Test set {duplicates.against}", duplicates, sets.dataset, sets.tests[duplicates.against])
            for duplicates in audit.of_tests
        ),
        ("Real training images", audit.of_real, sets.dataset, sets.real),
        ("The generator's training images", audit.of_wild, sets.dataset, sets.wild),
        ("Each other", audit.inside, sets.dataset, sets.dataset),
        *(
            (f"{name} and {duplicates.against}", duplicates, sets.own[name], sets.own[duplicates.against])
            for name, by_set in audit.among.items()
            for duplicates in by_set
            if duplicates.copies
        ),
    ]
    return [
        (title, [_shown_pair(sets, mine, images, pair, audit.near) for pair in duplicates.pairs[:PAIRS]])
        for title, duplicates, mine, images in searched
        if duplicates is not None and images is not None and duplicates.pairs
    ]


def _shown_pair(
    sets: AuditSets, mine: ImageSet, images: ImageSet, pair: NearPair, near: float
) -> tuple[Thumbnail, Thumbnail, str, bool]:
    """Return the two images, their distance in words, and whether one is a copy of the other."""
    sides = []
    for image_set, i in ((mine, pair.index), (images, pair.other)):
        name = sets.labels.names[image_set.labels[i]]
        sides.append(make_thumbnail(image_set, i, f"{name}, {image_set.keys[i]}", name))
    words = ("same pixels" if pair.exact else f"distance {format_number(pair.distance)}") + ", mirrored" * pair.mirrored
    return sides[0], sides[1], words, pair.exact or pair.distance < near


def _mistakes(judgment: Judgment, sets: AuditSets) -> list[Thumbnail]:
    """Return the images that are surest to be taken for another class."""
    names, mistakes = sets.labels.names, []
    for index, predicted in judgment.worst:
        name = names[sets.dataset.labels[index]]
        alt, caption = f"{name}, taken for {names[predicted]}", f"{name} → {names[predicted]}"
        mistakes.append(make_thumbnail(sets.dataset, index, alt, caption))
    return mistakes


def _means(diversity: Sequence[ClassDiversity]) -> tuple[dict[str, float | None], list[ClassDiversity]]:
    """Return the means over classes, and the classes, least diverse first."""
    if not diversity:
        return {}, []
    names = ("n", "distance", "vendi", "real_distance", "real_vendi")
    columns = {name: [getattr(row, name) for row in diversity] for name in names}
    means = {name: None if None in values else float(np.mean(values)) for name, values in columns.items()}
    return means, sorted(diversity, key=lambda row: (row.vendi / row.n, row.label))
