"""What an audit of a dataset left on disk, for whatever else shows its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.core import REWRITE, Artifact, ImageSet, file_name, read_page_json, reading

# What the columns of `Audit.by_image` are called, before the name of a judge or of a set of images.
PROBABILITY, TAKEN_FOR, DISTANCE, NEAREST = "label probability, ", "taken for, ", "distance, ", "nearest, "

BY_IMAGE = "images.parquet"  # beside the page: a row an image


def audit_folder(dataset: Path) -> Path:
    """Return the folder beside that of a dataset in which its audit lies, unless a user names another."""
    source = dataset.resolve()
    return source.parent / f"audit-{file_name(source.name)}"


def read_by_image(folder: Path, images: ImageSet) -> dict[str, list[Any]] | None:
    """Read what the audit in `folder` knows of each image, by column; None where there is none of these images.

    Raises:
        GenrobustError: A file has changed since it was written.
        UserError: A file is none of an audit.
    """
    if not (folder / BY_IMAGE).is_file():
        return None
    with reading(f"the audit in {folder}", pa.ArrowException, ValueError, LookupError, TypeError, then=": audit again"):
        if read_page_json(folder / "audit.json")["dataset"]["fingerprint"] != images.fingerprint:
            return None
        table = pq.read_table(Artifact(folder).path(BY_IMAGE, remedy=REWRITE))
        return table.drop_columns("key").to_pydict()
