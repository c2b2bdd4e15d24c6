"""Datasets of the Hugging Face hub in the place of folders: ``hf://datasets/OWNER/NAME@REVISION/FOLDER``."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import UserError, download

_SCHEME, _KIND = "hf:", "datasets"  # a path has one slash after the scheme, where the address had two
_FORM = "hf://datasets/OWNER/NAME, with @REVISION after NAME and /FOLDER after that where needed"


def is_on_hub(path: Path) -> bool:
    """Return whether `path` is an address on the hub."""
    return path.parts[:1] == (_SCHEME,)


def as_written(path: Path) -> str:
    """Return `path` as text, an address on the hub with both slashes of its scheme."""
    return "hf://" + "/".join(path.parts[1:]) if is_on_hub(path) else str(path)


def fetch_dataset(path: Path) -> Path:
    """Fetch what an address on the hub names, and return its place in the hub's cache; any other path as it is.

    What is in the cache is used without a network, and else not fetched again; without a revision, unless there is a
    newer one. A pattern in the last part, such as ``data/train-*.parquet``, fetches the files that match. No code of a
    dataset is run.

    Raises:
        UserError: An address that cannot be one, or a place that the dataset does not have.
        GenrobustError: The dataset cannot be fetched.
    """
    if not is_on_hub(path):
        return path
    _, kind, owner, named, *inside = (*path.parts, "", "", "")
    if named.endswith("@refs"):  # such as refs/convert/parquet, where the hub keeps its own copies
        named, inside = "/".join([named, *inside[:2]]), inside[2:]
    if kind != _KIND or not named:
        raise UserError(f"{as_written(path)}: an address on the hub is {_FORM}")
    place = "/".join(filter(None, inside))
    wanted = [place, f"{place}/*"] if place else None
    remedy = "name the folder of a download"
    folder = download(as_written(path), f"{owner}/{named}", wanted, remedy, kind="dataset")
    if not any(folder.glob(place or "*")):
        raise UserError(f"{as_written(path)}: the dataset {owner}/{named} has no {place or 'files'}")
    return folder / place
