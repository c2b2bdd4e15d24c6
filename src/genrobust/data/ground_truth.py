"""ImageNet's validation images as they unpack: 50,000 files in one folder, with their classes in a file beside it."""

from __future__ import annotations

import os
from pathlib import Path

from scipy.io import loadmat

from genrobust.core import UserError, read_csv, read_lines, reading
from genrobust.data.file_list import Listing, list_files
from genrobust.data.imagenet_classes import wnids
from genrobust.data.reading import FORMATS

DEVKIT = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
KAGGLE = "LOC_val_solution.csv"
BELOW = ("", "data", "ILSVRC2012_devkit_t12/data")  # where the devkit may lie below a folder
ABOVE = 4  # parents of the folder that are searched: Kaggle's layout keeps its CSV so far up


def is_flat(path: Path) -> bool:
    """Return whether `path` is a folder of images without subfolders."""
    if not path.is_dir():
        return False
    with reading(f"the folder {path}"), os.scandir(path) as entries:
        kinds = {"folder" if e.is_dir() else Path(e.name).suffix.lower() for e in entries if not e.name.startswith(".")}
    return "folder" not in kinds and bool(kinds & set(FORMATS))


def list_flat(folder: Path) -> Listing:
    """List the images of the flat `folder`, each under its WordNet id.

    The classes come from Kaggle's CSV, or the devkit's ground truth with its meta.mat, whose numbers are no sorted
    WordNet ids. The file is looked for in `folder`, beside it, and in the folders above.

    Raises:
        UserError: There is no such file, it is damaged, or it has no class for an image.
    """
    truth, source = _read_truth(folder)
    listing = list_files(folder, lambda name: truth.get(Path(name).stem, ""))
    for key, wnid in zip(listing.keys, listing.groups, strict=True):
        if not wnid:
            raise UserError(f"{folder / key}: {source} has no class for this image: remove it")
    return listing


def _read_truth(folder: Path) -> tuple[dict[str, str], Path]:
    """The WordNet id of each image by its name without extension, and the file that says so."""
    where = folder.absolute()
    for near in [above / below for above in [where, *list(where.parents)[:ABOVE]] for below in BELOW]:
        if (near / KAGGLE).is_file():
            return _read_kaggle(near / KAGGLE), near / KAGGLE
        if (near / DEVKIT).is_file():
            return _read_devkit(near / DEVKIT, near / META), near / DEVKIT
    raise UserError(
        f"{folder} holds validation images in no class folders, and no file says their classes. Put beside it "
        f"{KAGGLE} (Kaggle), or {DEVKIT} and {META} (the devkit of image-net.org), or sort the images into folders "
        "named by WordNet id"
    )


def _read_kaggle(path: Path) -> dict[str, str]:
    """``ImageId,PredictionString`` with the WordNet id and the box of each object; the first is the image's class."""
    rows = read_csv(path, "the ground truth")
    _, columns = next(rows)
    if missing := [name for name in ("ImageId", "PredictionString") if name not in columns]:
        raise UserError(f"cannot read {path}: it has no column {missing[0]}; download it again")
    image, classes = columns.index("ImageId"), columns.index("PredictionString")
    return {row[image]: _require_wnid(path, line, row[classes].partition(" ")[0]) for line, row in rows}


def _read_devkit(path: Path, meta: Path) -> dict[str, str]:
    """Line n has the class of image n, counted from 1, as a number of the devkit's own."""
    if not meta.is_file():
        raise UserError(f"{path} counts classes in the devkit's own order, which {meta} tells: put it there")
    with reading(meta, Exception, then="; unpack the devkit again"):  # scipy raises anything for a damaged file
        rows = loadmat(meta, squeeze_me=True)["synsets"]
        wnid_of = {str(int(n)): str(wnid) for n, wnid in zip(rows["ILSVRC2012_ID"], rows["WNID"], strict=True)}
    return {
        f"ILSVRC2012_val_{image:08d}": _require_wnid(path, line, wnid_of.get(number, number))
        for image, (line, number) in enumerate(read_lines(path, "the ground truth"), start=1)
    }


def _require_wnid(path: Path, line: int, wnid: str) -> str:
    if wnid not in wnids():
        raise UserError(f"{path}, line {line}: {wnid!r} is no class of ImageNet-1k: unpack or download the file again")
    return wnid
