"""ImageNet's validation images as they unpack: 50,000 files in one folder, and a file next to it with their classes."""

from __future__ import annotations

import os
from pathlib import Path

from scipy.io import loadmat

from genrobust.core import UserError, read_csv, read_lines, reading
from genrobust.data.image_files import FORMATS
from genrobust.data.imagenet_classes import wnids
from genrobust.data.listing import Listing, list_files

DEVKIT = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
KAGGLE = "LOC_val_solution.csv"
BELOW = ("", "data", "ILSVRC2012_devkit_t12/data")  # where the devkit may be below a folder
ABOVE = 4  # parent folders to search: in Kaggle's layout, the CSV is so far up


def is_flat(path: Path) -> bool:
    """Return whether `path` is a folder of images without subfolders."""
    if not path.is_dir():
        return False
    extensions = set()
    with reading(f"the folder {path}"), os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                return False
            extensions.add(Path(entry.name).suffix.lower())
    return bool(extensions & set(FORMATS))


def list_flat(folder: Path) -> Listing:
    """List the images of the flat `folder`, with their WordNet ids as groups.

    The classes come from Kaggle's CSV, or from the devkit's ground truth with its meta.mat. The devkit numbers classes
    in an order of its own. The file is searched in `folder`, next to it, and in the folders above.
    """
    wnid_of, source = _read_truth(folder)
    listing = list_files(folder, lambda name: wnid_of.get(Path(name).stem, ""))
    for key, wnid in zip(listing.keys, listing.groups, strict=True):
        if not wnid:
            raise UserError(f"{folder / key}: {source} has no class for this image: remove it")
    return listing


def _read_truth(folder: Path) -> tuple[dict[str, str], Path]:
    """Return the WordNet id of each image by its name without extension, and the file that says so."""
    where = folder.absolute()
    for above in (where, *list(where.parents)[:ABOVE]):
        for below in BELOW:
            near = above / below
            if (near / KAGGLE).is_file():
                return _read_kaggle(near / KAGGLE), near / KAGGLE
            if (near / DEVKIT).is_file():
                return _read_devkit(near / DEVKIT, near / META), near / DEVKIT
    files = f"{KAGGLE} (Kaggle), or {DEVKIT} and {META} (image-net.org)"
    raise UserError(f"{folder} holds validation images in no class folders: put {files} next to it")


def _read_kaggle(path: Path) -> dict[str, str]:
    """Read ``ImageId,PredictionString``. The string has the WordNet id and the box of each object, the class first."""
    rows = read_csv(path, "the ground truth")
    _, columns = next(rows)
    for name in ("ImageId", "PredictionString"):
        if name not in columns:
            raise UserError(f"cannot read {path}: it has no column {name}; download it again")
    image, objects = columns.index("ImageId"), columns.index("PredictionString")
    return {row[image]: _require_wnid(path, line, row[objects].partition(" ")[0]) for line, row in rows}


def _read_devkit(path: Path, meta: Path) -> dict[str, str]:
    """Read the devkit's file: line n has the class of image n, counted from 1, as a number of the devkit."""
    if not meta.is_file():
        raise UserError(f"{path} counts classes in the devkit's own order, which {meta} tells: put it there")
    with reading(meta, Exception, then="; unpack the devkit again"):  # scipy raises anything for a damaged file
        rows = loadmat(meta, squeeze_me=True)["synsets"]
        wnid_of = {str(int(number)): str(id) for number, id in zip(rows["ILSVRC2012_ID"], rows["WNID"], strict=True)}
    truth: dict[str, str] = {}
    for image, (line, number) in enumerate(read_lines(path, "the ground truth"), start=1):
        truth[f"ILSVRC2012_val_{image:08d}"] = _require_wnid(path, line, wnid_of.get(number, number))
    return truth


def _require_wnid(path: Path, line: int, wnid: str) -> str:
    if wnid not in wnids():
        raise UserError(f"{path}, line {line}: {wnid!r} is no class of ImageNet-1k: unpack or download the file again")
    return wnid
