"""The results of an audit on disk, for the viewer of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.core import ImageSet, file_name, reading
from genrobust.store import REWRITE, Artifact, read_page_json

# Names of the columns of `Audit.by_image`, before the name of a judge or of a set of images.
PROBABILITY, TAKEN_FOR, DISTANCE, NEAREST = "label probability, ", "taken for, ", "distance, ", "nearest, "

BY_IMAGE = "images.parquet"  # next to the page, with a row per image


def audit_folder(dataset: Path) -> Path:
    """Return the default folder of the audit of a dataset, next to the dataset."""
    source = dataset.resolve()
    return source.parent / f"audit-{file_name(source.name)}"


def read_by_image(folder: Path, images: ImageSet) -> dict[str, list[Any]] | None:
    """Read the results of the audit in `folder` for each image, by column. None if it is about other images."""
    if not (folder / BY_IMAGE).is_file():
        return None
    with reading(f"the audit in {folder}", pa.ArrowException, ValueError, LookupError, TypeError, then=": audit again"):
        if read_page_json(folder / "audit.json")["dataset"]["fingerprint"] != images.fingerprint:
            return None
        table = pq.read_table(Artifact(folder).path(BY_IMAGE, remedy=REWRITE))
        return table.drop_columns("key").to_pydict()
