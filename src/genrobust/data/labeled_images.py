"""Open stored images with the labels of a study, and with their styles if they are in folders STYLE/CLASS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from genrobust.core import UserError, reading, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.listing import ListedImages
from genrobust.data.stored_images import StoredImages, class_folders


def open_images(
    name: str,
    stored: StoredImages,
    classes: FolderClasses,
    same_class: Mapping[str, str] | None = None,
    *,
    by_name: bool = False,
) -> ListedImages:
    same_class = same_class or {}
    stored, styles = by_style(stored, classes, same_class)
    labels: dict[str, tuple[int]] = {}
    # Each style may have each class once.
    for style in dict.fromkeys(styles.get(group) for group in stored.groups):
        groups = [group for group in stored.groups if styles.get(group) == style]
        labels |= classes.labels_of(stored.path, groups, same_class, stored.named)
    if stored.groups and not labels:
        known = some_of(stored.groups, 3)
        raise UserError(
            f"{name}: {stored.path} has no training class, only {known}: name other images, or map these in "
            "data.same_class"
        )
    return ListedImages(name, stored.listing(labels, classes.folders), labels, by_name=by_name, styles=styles)


def by_style(
    stored: StoredImages, classes: FolderClasses, same_class: Mapping[str, str]
) -> tuple[StoredImages, dict[str, str]]:
    """Take folders STYLE/CLASS apart: return the class folders as groups, and the style of each group.

    Folders are STYLE/CLASS if no folder at the top is a class. Anything else is returned unchanged, without styles. A
    style that `same_class` leaves out is skipped.
    """

    def is_class(name: str) -> bool:
        return name in same_class or classes.knows(name)

    # Both a class and a style can be left out.
    left_out = [name for name in stored.groups if same_class.get(name) == ""]
    others = [name for name in stored.groups if name not in left_out]
    if stored.listed is not None or any(is_class(name) for name in others):
        return stored, {}
    folders_of_style: dict[str, list[str]] = {}
    for style in others:
        with reading(f"the folder {stored.path / style}"):
            subfolders = [entry.name for entry in (stored.path / style).iterdir() if entry.is_dir()]
        if any(is_class(name) for name in subfolders):
            folders_of_style[style] = [folder.name for folder in class_folders(stored.path / style)]
    if not folders_of_style:
        return stored, {}
    styles: dict[str, str] = {}
    named: dict[str, str] = {}
    for style, names in folders_of_style.items():
        for name in names:
            styles[f"{style}/{name}"] = style
            named[f"{style}/{name}"] = name
    rest = [group for group in stored.groups if group not in folders_of_style]
    return replace(stored, groups=(*named, *rest), named=named), styles
