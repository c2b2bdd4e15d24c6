"""CLIP embeddings of the images and the class names of a study, each kept in a file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from genrobust.core import (
    GenrobustError,
    load_arrays,
    lock,
    make_folder,
    reading,
    remove_leftovers,
    save_arrays,
)

FOLDER = "embeddings"  # in the folder of studies
CLASS_NAMES = "the class names"
log = logging.getLogger(__name__)


def read_embeddings(file: Path) -> np.ndarray:
    """Read embeddings, float32 [N, D].

    Raises:
        GenrobustError: The file is damaged.
    """
    then = "; delete it and rerun, and it is made again"
    with reading(file, ValueError, KeyError, then=then, kind=GenrobustError), load_arrays(file) as arrays:
        return arrays["embeddings"]


def has_embeddings(file: Path, count: int) -> bool:
    """Return whether `file` holds `count` embeddings; a damaged one does not."""
    try:
        return len(read_embeddings(file)) == count
    except GenrobustError as error:
        if file.exists():
            log.warning("%s", error)
        return False


def write_embeddings(file: Path, found: np.ndarray) -> None:
    """Write embeddings, float32 [N, D]; the file appears complete or not at all."""
    make_folder(file.parent)
    with lock(file.parent, wait=True):
        remove_leftovers(file.parent)
        save_arrays(file, {"embeddings": found})
