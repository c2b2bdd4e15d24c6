"""Readable class names from the names of folders: WordNet ids, numbers, underscores and CamelCase become words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genrobust.data.imagenet_classes import prompt_names


def readable_names(folders: Sequence[str]) -> dict[str, str]:
    """Return a name for each folder: n01440764 is "tench", 001.Black_footed_Albatross is "Black footed Albatross".

    Names are unique: folders that would share one keep their own names.
    """
    wordnet = _wordnet() if any(re.fullmatch(r"n\d{8}", folder) for folder in folders) else {}
    names = {folder: wordnet.get(folder) or _words(folder) for folder in folders}
    taken = list(names.values())
    return {folder: name if taken.count(name) == 1 else folder for folder, name in names.items()}


def _words(folder: str) -> str:
    text = re.sub(r"^(n\d{8}|\d+)[-_. ]+(?=\D)", "", folder)  # n02085620-Chihuahua, 001.Albatross
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return " ".join(re.sub(r"[\s_-]+", " ", text).split()) or folder


def _wordnet() -> dict[str, str]:
    """Return names by WordNet id: CLIP's for ImageNet's 1,000 classes, the first lemma for the other 20,841."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-22k")
    lemmas = {id: info.label_name_to_description(id).split(",")[0] for id in info.label_names()}
    curated = prompt_names("openai")
    names = list(curated.values())
    return lemmas | {id: name for id, name in curated.items() if names.count(name) == 1}  # two are "missile"
