"""Labeled images as they are stored: class folders, a CSV table, WebDataset tars, parquet files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from genrobust.core import UserError, near_names, perhaps, reading
from genrobust.data.file_list import ListedImages, Listing, list_files, list_folder
from genrobust.data.hub_sets import fetch_dataset, is_on_hub
from genrobust.data.naming import check_class_names
from genrobust.data.path_tables import list_csv
from genrobust.data.reading import FORMATS, UNREAD
from genrobust.data.shards import is_dataset, require_complete
from genrobust.data.tables import list_parquet
from genrobust.data.tars import list_tars

# Of files that hold many images. Tars go first: parquet files beside them describe these, as of `genrobust generate`.
KINDS = {".tar": list_tars, ".parquet": list_parquet}
TABLE = ".csv"  # of a file that lists them
ARCHIVES = {".tar", ".tgz", ".zip"}  # ending so, or as .tar.gz does
SPLIT = re.compile(
    r"(?:^|[-_.])(train(?:ing)?|val(?:id|idation)?|dev|test(?:ing)?|eval(?:uation)?)(?=[-_.\d]|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The labeled images at a path.

    Attributes:
        groups: The words for classes there: names of folders, names of labels, or numbers as text.
        listed: The images; None for class folders, which are listed when it is known which are wanted.
        named: What groups are called, where that is not what they are.
    """

    path: Path
    groups: tuple[str, ...]
    listed: Listing | None = None
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The groups by label number where labels are numbered, else ()."""
        return self.listed.label_names if self.listed else ()

    def listing(self, groups: Collection[str], classes: Collection[str] = ()) -> Listing:
        """List the images; of class folders those of `groups` alone, which hold no folder of another of `classes`."""
        return list_folder(self.path, groups, classes) if self.listed is None else self.listed


def open_stored(path: Path) -> StoredImages:
    """Open a folder, a file, or a pattern such as ``data/train-*.parquet`` in its last part, here or on the hub.

    Raises:
        UserError: Nothing is there, nothing of a kind that is read, or a generated dataset that lacks shards.
        GenrobustError: It cannot be fetched from the hub.
    """
    path = fetch_dataset(path)
    listing = _list_files(path)
    if listing is None:
        return StoredImages(path, check_class_names(path, [sub.name for sub in class_folders(path)]))
    names = check_class_names(path, listing.label_names)
    groups = check_class_names(path, set(listing.groups))
    # numbers are sorted as numbers, so that 10 comes after 9
    in_order = sorted(groups, key=lambda g: (0, int(g), g) if g.isdecimal() else (1, 0, g))
    return StoredImages(path, names or tuple(in_order), listing)


def require_there(places: Mapping[str, Path]) -> None:
    """Raise UserError that names every path of `places` where there is nothing, with its key or option.

    Patterns, and addresses on the hub, are left to what reads them.
    """
    gone = {key: path for key, path in places.items() if not ("*" in path.name or path.exists() or is_on_hub(path))}
    if gone:
        named = "; ".join(f"{key}: there is no {path}{_sibling(path)}" for key, path in gone.items())
        relative = not all(path.is_absolute() for path in gone.values())
        keys = "; the paths of a recipe file are relative to its folder" if any(key[0] != "-" for key in gone) else ""
        where = f" (below {Path.cwd()}{keys})" if relative else ""
        raise UserError(f"{named}{where}")


def _sibling(path: Path) -> str:
    """Ask whether what lies beside `path` under the likest name was meant; "" where nothing is like it."""
    near = near_names(path.name, [entry.name for entry in path.parent.glob("*")])
    return perhaps([str(path.with_name(name)) for name in near[:1]])


def require_outside(places: Mapping[str, Path], outputs: Iterable[Path]) -> None:
    """Raise UserError where one of the folders `outputs` is, or lies in, a folder of images of `places`, by their keys.

    What is written there would be read as a class.
    """
    for (key, place), output in product(places.items(), outputs):
        if output.resolve().is_relative_to(place.resolve()):
            raise UserError(
                f"the output folder {output} lies in {place}, the images of {key}, where it would be read as a class: "
                "choose a folder outside of it"
            )


def open_unlabeled(key: str, path: Path) -> ListedImages:
    """Return the images at `path`, which the key of a recipe names, without their labels: each has the label 0.

    That is a folder with images at any depth, or what `open_stored` opens beside class folders.

    Raises:
        UserError: Nothing is there, nothing of a kind that is read, or no image.
        GenrobustError: It cannot be fetched from the hub.
    """
    path = fetch_dataset(path)
    listing = _list_files(path, labeled=False) or list_files(path, lambda key: "")
    if not listing.keys:
        raise UserError(f"{key}: {path} holds no image; what is read: {', '.join((*FORMATS, *KINDS))}")
    return ListedImages(path.name, listing, {"": (0,)})


def _list_files(path: Path, labeled: bool = True) -> Listing | None:
    """List the images in the files that `path` is, matches or holds; None for folders of image files.

    Raises UserError for a file of another kind.
    """
    if path.suffix.lower() == TABLE and "*" not in path.name:
        return list_csv(path, labeled)
    files = _files(path)
    for extension, list_images in KINDS.items():
        if ours := [file for file in files if file.suffix == extension]:
            _refuse_splits(path, ours)
            _refuse_others(path, ours, files)
            return list_images(path, ours, labeled)
    if path.is_file():
        raise UserError(f"{path}: a file of images is {', '.join((TABLE, *KINDS))}: unpack this one, or name a folder")
    if "*" in path.name:
        raise UserError(f"{path}: a pattern names {' or '.join(KINDS)} files, and matches {files[0].name}")
    return None


def class_folders(folder: Path) -> list[Path]:
    """Return the subfolders of `folder` without hidden ones, sorted by name.

    Raises:
        UserError: It is missing, unreadable or without subfolders, or holds images that belong to no class.
    """
    with reading(f"the folder {folder}"):
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    loose = [e.name for e in entries if e.suffix.lower() in FORMATS and e.is_file()]
    if loose:
        raise UserError(f"{folder} holds images of no class, such as {loose[0]}: put each class into a subfolder")
    folders = [e for e in entries if e.is_dir()]
    packed = [e for e in entries if _is_archive(e) and e.is_file() and folder / _stem(e) not in folders]
    if folders and packed:
        raise UserError(f"{packed[0]} lies beside the folders of classes: unpack it, or move it away")
    if not folders:
        raise UserError(f"{folder} is empty: it needs one subfolder of images for each class")
    return folders


def _files(path: Path) -> list[Path]:
    """The files that `path` is, matches or, if it has no subfolder, holds; of a dataset of ours the shards; sorted."""
    if "*" in path.name:
        matches = sorted(file for file in path.parent.glob(path.name) if not file.name.startswith("."))
        if not matches:
            raise UserError(f"no file matches {path}")
        return matches
    if path.is_dir():
        with reading(f"the folder {path}"):
            entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        if is_dataset(path):
            require_complete(path)
            return [entry for entry in entries if entry.suffix in KINDS]
        return [] if any(entry.is_dir() for entry in entries) else entries
    return [path] if path.suffix in KINDS and path.exists() else []


def _refuse_others(path: Path, ours: list[Path], files: list[Path]) -> None:
    """Raise UserError where beside `ours` there are images in files of another kind, which would not be read.

    A file beside one of the same stem describes it, as those of img2dataset do.
    """
    described = {_stem(file) for file in ours}
    kind, images = ours[0].suffix, {*FORMATS, *UNREAD}
    holding = (file for file in files if file.suffix != kind and (_is_archive(file) or file.suffix.lower() in images))
    if others := [file for file in holding if _stem(file) not in described]:
        raise UserError(
            f"{path} holds images in {ours[0].name} and in {others[0].name}, and files of one kind are read together: "
            f"name those with {path.parent if '*' in path.name else path}/*{kind}, or convert or remove the others"
        )


def _is_archive(file: Path) -> bool:
    return not ARCHIVES.isdisjoint(map(str.lower, file.suffixes[-2:]))


def _stem(file: Path) -> str:
    """The name of a file up to its first dot."""
    return file.name.partition(".")[0]


def _refuse_splits(path: Path, files: list[Path]) -> None:
    """Hub repositories keep train and test files side by side: reading both as one set would be a leak."""
    splits = sorted({word for file in files for word in SPLIT.findall(file.stem)})
    if len({*map(str.lower, splits)}) > 1:
        file = next(file for file in files if splits[0] in SPLIT.findall(file.stem))
        pattern = f"{file.stem[: file.stem.index(splits[0])]}{splits[0]}*{file.suffix}"
        raise UserError(f"{path} holds several splits ({', '.join(splits)}): name one, such as {file.parent / pattern}")
