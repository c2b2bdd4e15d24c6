"""Sets whose folders each stand for one or several ImageNet classes, by a mapping file of their own.

ImageNet-D (Zhang et al., 2024; ``preprocessing/imgnet_d2imgnet_id.txt``) and LAION-C (Li et al., 2025;
``laionc/mappings/category_mapping.json``) are such: their repositories hold the mapping. LAION-C's own score compares
the mean probabilities of superclasses, which is another one than top-1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from genrobust.core import ImageSet, UserError, parse_json, reading, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.file_list import ListedImages, list_folder
from genrobust.data.imagenet_classes import by_number, wnids
from genrobust.data.imagenet_sets import ANY_OF_SEVERAL, ImageNetReader, accepted_labels
from genrobust.recipe import READERS, Place


@READERS.register("imagenet-map")
class MappedFolders(ImageNetReader):
    """Folders that each stand for one or several ImageNet classes, as in ImageNet-D and LAION-C.

    `map` is the JSON file that says which: from the name of a folder to WordNet ids, or labels from 0 to 999. Each
    folder at or below `path` that holds such folders is a test set of its own, such as each corruption and severity.
    """

    map: Place

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Open each set; its name is that of the shift and of the folders that lead to it.

        Raises:
            UserError: The map is damaged, no folder is in it, or one beside these is not.
        """
        self.require_imagenet(name, classes)
        ids = _read_map(self.map)
        opened: dict[str, ImageSet] = {}
        for folder, groups in _folders_of_classes(self.path, ids):
            full_name = "-".join([name, *folder.relative_to(self.path).parts])
            wanted = accepted_labels(folder, self.kind, {group: ids[group] for group in groups}, classes.labels)
            opened[full_name] = ListedImages(full_name, list_folder(folder, wanted), wanted, protocol=ANY_OF_SEVERAL)
        if not opened:
            raise UserError(f"data.shifts.{name}: {self.path} has no folder that {self.map} names: {some_of(ids)}")
        return opened


def _folders_of_classes(root: Path, ids: Mapping[str, Sequence[str]]) -> list[tuple[Path, list[str]]]:
    """The folders at or below `root` that hold folders of the map, each with the names of these."""
    found = []
    for at, folders, _ in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if groups := [folder for folder in folders if folder in ids]:
            if unknown := [folder for folder in folders if folder not in ids]:
                raise UserError(f"{at}: the map has no {some_of(unknown)}: remove these folders, or add them")
            folders.clear()  # their images may lie in folders of their own
            found.append((Path(at), groups))
    return found


def _read_map(path: Path) -> dict[str, list[str]]:
    with reading(f"the map {path}", ValueError):
        mapping = parse_json(path.read_bytes())
    if not isinstance(mapping, dict) or not all(isinstance(several, list) and several for several in mapping.values()):
        raise UserError(f"{path} is no map from the names of folders to lists of WordNet ids or labels")
    return {name: [_wordnet_id(path, name, one) for one in several] for name, several in mapping.items()}


def _wordnet_id(path: Path, name: str, one: object) -> str:
    wnid = one if one in wnids() else by_number(str(one), wnids())
    if not isinstance(wnid, str) or isinstance(one, bool):
        raise UserError(f"{path}: {name!r} means {one!r}, which is neither a WordNet id of ImageNet-1k nor a label")
    return wnid
