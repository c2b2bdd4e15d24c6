"""Datasets of the Hugging Face hub instead of folders: ``hf://datasets/OWNER/NAME@REVISION/FOLDER``."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import UserError
from genrobust.store import download

# As a path, the address has one slash after the scheme.
_SCHEME, _KIND = "hf:", "datasets"
_FORM = "hf://datasets/OWNER/NAME, with @REVISION after NAME and /FOLDER after that where needed"


def is_on_hub(path: Path) -> bool:
    return path.parts[:1] == (_SCHEME,)


def as_written(path: Path) -> str:
    """Return `path` as a user writes it: an address on the hub has two slashes after its scheme."""
    if is_on_hub(path):
        return "hf://" + "/".join(path.parts[1:])
    return str(path)


def fetch_dataset(path: Path) -> Path:
    """Download the dataset at an address on the hub, and return its path in the hub's cache. Return other paths as is.

    Cached files are used without a network. With a revision, they are not downloaded again. Without one, they are
    downloaded again if the hub has a newer version. A pattern in the last part, such as ``data/train-*.parquet``,
    downloads the files that match. No code of a dataset is run.
    """
    if not is_on_hub(path):
        return path
    _, kind, owner, name, *inside = (*path.parts, "", "", "")
    if name.endswith("@refs"):  # a revision with slashes, such as refs/convert/parquet
        name = "/".join([name, *inside[:2]])
        inside = inside[2:]
    if kind != _KIND or not name:
        raise UserError(f"{as_written(path)}: an address on the hub is {_FORM}")
    place = "/".join(part for part in inside if part)
    wanted = [place, f"{place}/*"] if place else None
    folder = download(as_written(path), f"{owner}/{name}", wanted, "name the folder of a download", kind="dataset")
    if not any(folder.glob(place or "*")):
        raise UserError(f"{as_written(path)}: the dataset {owner}/{name} has no {place or 'files'}")
    return folder / place
