"""Find out how labeled images are stored at a path: class folders, a CSV table, WebDataset tars or parquet files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from genrobust.core import UserError, near_names, perhaps, reading
from genrobust.data.class_naming import check_class_names
from genrobust.data.csv_files import list_csv
from genrobust.data.hub_sets import fetch_dataset, is_on_hub
from genrobust.data.image_files import FORMATS, UNREAD, walk_images
from genrobust.data.listing import ListedImages, Listing, list_files, list_folder
from genrobust.data.parquet_files import list_parquet
from genrobust.data.shards import is_dataset, require_complete
from genrobust.data.tar_files import list_tars

# Files that hold many images, by extension. Tars go first: parquet files next to them only describe them, as those of
# `genrobust generate` do.
PACKED = {".tar": list_tars, ".parquet": list_parquet}
TABLE = ".csv"  # extension of a file that names image files
ARCHIVES = {".tar", ".tgz", ".zip"}  # alone, or before another extension as in .tar.gz
SPLIT = re.compile(
    r"(?:^|[-_.])(train(?:ing)?|val(?:id|idation)?|dev|test(?:ing)?|eval(?:uation)?)(?=[-_.\d]|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The labeled images at a path.

    Attributes:
        groups: Words for the classes: names of folders, names of labels, or numbers as text.
        listed: The images. None for class folders, which are listed when the wanted classes are known.
        named: Names of groups whose class has another name.
    """

    path: Path
    groups: tuple[str, ...]
    listed: Listing | None = None
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Groups by label number if labels are numbers, else ()."""
        return () if self.listed is None else self.listed.label_names

    def listing(self, groups: Collection[str], classes: Collection[str] = ()) -> Listing:
        """List the images. Of class folders, list `groups` only, and refuse folders of other `classes` inside them."""
        if self.listed is not None:
            return self.listed
        return list_folder(self.path, groups, classes)


def open_stored(path: Path) -> StoredImages:
    """Open a folder, a file, or a pattern such as ``data/train-*.parquet``, also on the Hugging Face hub."""
    path = fetch_dataset(path)
    listing = _list_packed_or_table(path)
    if listing is None:
        return StoredImages(path, check_class_names(path, [folder.name for folder in class_folders(path)]))
    return stored_listing(path, listing)


def stored_listing(path: Path, listing: Listing) -> StoredImages:
    """Return the images of a `listing` with their groups in order. Numbers are in numeric order: 10 after 9."""
    label_names = check_class_names(path, listing.label_names)
    groups = check_class_names(path, set(listing.groups))
    numbers = sorted((group for group in groups if group.isdecimal()), key=lambda group: (int(group), group))
    names = sorted(group for group in groups if not group.isdecimal())
    return StoredImages(path, label_names or (*numbers, *names), listing)


def open_unlabeled(key: str, path: Path) -> ListedImages:
    """Open the images at `path` without their labels: each has the label 0."""
    path = fetch_dataset(path)
    listing = _list_packed_or_table(path, labeled=False)
    if listing is None:
        listing = list_files(path, lambda key: "")
    if not listing.keys:
        raise UserError(f"{key}: {path} holds no image; what is read: {', '.join((*FORMATS, *PACKED))}")
    return ListedImages(path.name, listing, {"": (0,)})


def class_folders(folder: Path) -> list[Path]:
    """Return the subfolders of `folder` that are not hidden, sorted by name."""
    with reading(f"the folder {folder}"):
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if entry.suffix.lower() in FORMATS and entry.is_file():
            raise UserError(f"{folder} holds images of no class, such as {entry.name}: put each class into a subfolder")
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise UserError(f"{folder} is empty: it needs one subfolder of images for each class")
    for entry in entries:
        is_unpacked = folder / _stem(entry) in folders
        if _is_archive(entry) and entry.is_file() and not is_unpacked:
            raise UserError(f"{entry} lies beside the folders of classes: unpack it, or move it away")
    return folders


def require_there(places: Mapping[str, Path]) -> None:
    """Raise UserError that names every missing path of `places` with its key or option.

    Patterns and addresses on the hub are not checked.
    """
    gone: dict[str, Path] = {}
    for key, path in places.items():
        if "*" not in path.name and not path.exists() and not is_on_hub(path):
            gone[key] = path
    if not gone:
        return
    problems = []
    for key, path in gone.items():
        near = near_names(path.name, [entry.name for entry in path.parent.glob("*")])
        problems.append(f"{key}: there is no {path}{perhaps([str(path.with_name(name)) for name in near[:1]])}")
    lines = "; ".join(problems)
    if all(path.is_absolute() for path in gone.values()):
        raise UserError(lines)
    are_keys = any(not key.startswith("-") for key in gone)
    if are_keys:
        relative_to = "; the paths of a recipe file are relative to its folder"
    else:
        relative_to = ""
    raise UserError(f"{lines} (below {Path.cwd()}{relative_to})")


def require_outside(places: Mapping[str, Path], outputs: Iterable[Path]) -> None:
    """Raise UserError if one of the `outputs` is inside a folder of images, where it would be read as a class."""
    for (key, place), output in product(places.items(), outputs):
        if output.resolve().is_relative_to(place.resolve()):
            raise UserError(
                f"the output folder {output} is in {place}, the images of {key}, and would be read as a class"
            )


def require_no_images(output: Path) -> None:
    """Raise UserError if images are in the folder `output` or below it: its manifest would hide them."""
    if not output.is_dir():
        return
    image = next(walk_images(output), None)
    if image is not None:
        key, _ = image
        raise UserError(f"the output folder {output} holds images, such as {key}: name a new folder")


def _list_packed_or_table(path: Path, labeled: bool = True) -> Listing | None:
    """List the images in the files that `path` is, matches or holds. None for folders of image files.

    Raises UserError for a file of another kind.
    """
    if path.suffix.lower() == TABLE and "*" not in path.name:
        return list_csv(path, labeled)
    files = _files_at(path)
    for extension, list_images in PACKED.items():
        ours = [file for file in files if file.suffix == extension]
        if ours:
            _refuse_splits(path, ours)
            _refuse_mixed_kinds(path, ours, files)
            return list_images(path, ours, labeled)
    if path.is_file():
        raise UserError(f"{path}: a file of images is {', '.join((TABLE, *PACKED))}: unpack this one, or name a folder")
    if "*" in path.name:
        raise UserError(f"{path}: a pattern names {' or '.join(PACKED)} files, and matches {files[0].name}")
    return None


def _files_at(path: Path) -> list[Path]:
    """Return the files that `path` is or matches, sorted. Of a folder without subfolders, return its files.

    Of a generated dataset, return its shards.
    """
    if "*" in path.name:
        matches = sorted(file for file in path.parent.glob(path.name) if not file.name.startswith("."))
        if not matches:
            raise UserError(f"no file matches {path}")
        return matches
    if not path.is_dir():
        return [path] if path.suffix in PACKED and path.exists() else []
    with reading(f"the folder {path}"):
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    if is_dataset(path):
        require_complete(path)
        return [entry for entry in entries if entry.suffix in PACKED]
    if any(entry.is_dir() for entry in entries):
        return []
    return entries


def _refuse_mixed_kinds(path: Path, ours: Sequence[Path], files: Sequence[Path]) -> None:
    """Raise UserError if there are images in files of another kind than `ours`: they would not be read.

    A file with the same stem as one of `ours` describes it, as in the output of img2dataset.
    """
    described = {_stem(file) for file in ours}
    kind = ours[0].suffix
    for file in files:
        holds_images = _is_archive(file) or file.suffix.lower() in {*FORMATS, *UNREAD}
        if file.suffix != kind and holds_images and _stem(file) not in described:
            folder = path.parent if "*" in path.name else path
            problem = f"{path} holds images in {ours[0].name} and in {file.name}, and only one kind is read"
            raise UserError(f"{problem}: name those with {folder}/*{kind}, or remove the others")


def _refuse_splits(path: Path, files: Sequence[Path]) -> None:
    """Raise UserError if `files` are of several splits: reading train and test files as one set would be a leak.

    Repositories on the hub keep the files of all splits in one folder.
    """
    splits = sorted({word for file in files for word in SPLIT.findall(file.stem)})
    if len({word.lower() for word in splits}) > 1:
        file = next(file for file in files if splits[0] in SPLIT.findall(file.stem))
        pattern = f"{file.stem[: file.stem.index(splits[0])]}{splits[0]}*{file.suffix}"
        raise UserError(f"{path} holds several splits ({', '.join(splits)}): name one, such as {file.parent / pattern}")


def _is_archive(file: Path) -> bool:
    return any(extension.lower() in ARCHIVES for extension in file.suffixes[-2:])


def _stem(file: Path) -> str:
    """Return the name of a file up to its first dot."""
    return file.name.partition(".")[0]
