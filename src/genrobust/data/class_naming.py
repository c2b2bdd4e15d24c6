"""Names of classes: which are valid, and readable names for WordNet ids and CamelCase."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from genrobust.core import UserError, plain_number
from genrobust.data.imagenet_classes import prompt_names

LONGEST = 255  # characters: the limit of file systems for a folder name


def check_class_names(path: Path, names: Collection[str]) -> tuple[str, ...]:
    first: dict[str, tuple[int, str]] = {}
    for place, name in enumerate(names):
        if not _is_valid(name):
            dots = " ..." if len(name) > 50 else ""
            raise UserError(f"{path}: the class {name[:50]!a}{dots} is no text of 1 to {LONGEST} letters: rename it")
        plain = plain_number(unicodedata.normalize("NFC", name).casefold())
        other, twin = first.setdefault(plain, (place, name))
        if other != place:
            if twin == name:
                conflict = "have one name"
            else:
                conflict = "differ by case, Unicode form or a .0 alone"
            raise UserError(f"the classes {twin!a} and {name!a} of {path} {conflict}: rename one")
    return tuple(names)


def _is_valid(name: str) -> bool:
    has_control_characters = any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
    return bool(name.strip()) and len(name) <= LONGEST and not has_control_characters


def readable_names(folders: Sequence[str]) -> dict[str, str]:
    """Return a name for each folder: n01440764 is "tench", 001.Black_footed_Albatross is "Black footed Albatross".

    Names are unique. Folders that would share one keep their own names.
    """
    if any(re.fullmatch(r"n\d{8}", folder) for folder in folders):
        wordnet = _wordnet_names()
    else:
        wordnet = {}
    names = {folder: wordnet.get(folder) or _readable_name(folder) for folder in folders}
    uses = Counter(names.values())
    return {folder: name if uses[name] == 1 else folder for folder, name in names.items()}


def _readable_name(folder: str) -> str:
    text = re.sub(r"^(n\d{8}|\d+)[-_. ]+(?=\D)", "", folder)  # n02085620-Chihuahua, 001.Albatross
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return " ".join(re.sub(r"[\s_-]+", " ", text).split()) or folder


def _wordnet_names() -> dict[str, str]:
    """Return names by WordNet id: CLIP's for ImageNet's 1,000 classes, the first lemma for the other 20,841."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-22k")
    names = {id: info.label_name_to_description(id).split(",")[0] for id in info.label_names()}
    curated = prompt_names("openai")
    uses = Counter(curated.values())
    for id, name in curated.items():
        if uses[name] == 1:  # two are "missile"
            names[id] = name
    return names
