"""Names of classes: what a folder or a label may be called, and readable names for WordNet ids and CamelCase."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from genrobust.core import UserError, plain_number
from genrobust.data.imagenet_classes import prompt_names

LONGEST = 255  # characters of a name: what a file system allows a folder


def check_class_names(path: Path, names: Collection[str]) -> tuple[str, ...]:
    """Return the `names` of the classes at `path`.

    Raises:
        UserError: A name is empty, longer than a folder's may be, no valid UTF-8 or has control characters, or two
            are the same but for case, Unicode form (é as one letter or two) or the .0 of a number.
    """
    first: dict[str, tuple[int, str]] = {}
    for place, name in enumerate(names):
        if not name.strip() or len(name) > LONGEST or any(unicodedata.category(c) in {"Cc", "Cs"} for c in name):
            subject = f"the class {name[:50]!a}{' ...' * (len(name) > 50)} of {path}"
            raise UserError(f"{subject} is called by no text of 1 to {LONGEST} letters in UTF-8: rename it")
        other, twin = first.setdefault(plain_number(unicodedata.normalize("NFC", name).casefold()), (place, name))
        if other != place:
            conflict = "have one name" if twin == name else "differ by case, Unicode form or a .0 alone"
            raise UserError(f"the classes {twin!a} and {name!a} of {path} {conflict}: rename one")
    return tuple(names)


def readable_names(folders: Sequence[str]) -> dict[str, str]:
    """Return a name for each folder: n01440764 is "tench", 001.Black_footed_Albatross is "Black footed Albatross".

    Names are unique: folders that would share one keep their own names.
    """
    wordnet = _wordnet() if any(re.fullmatch(r"n\d{8}", folder) for folder in folders) else {}
    names = {folder: wordnet.get(folder) or _readable_name(folder) for folder in folders}
    taken = Counter(names.values())
    return {folder: name if taken[name] == 1 else folder for folder, name in names.items()}


def _readable_name(folder: str) -> str:
    text = re.sub(r"^(n\d{8}|\d+)[-_. ]+(?=\D)", "", folder)  # n02085620-Chihuahua, 001.Albatross
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return " ".join(re.sub(r"[\s_-]+", " ", text).split()) or folder


def _wordnet() -> dict[str, str]:
    """Return names by WordNet id: CLIP's for ImageNet's 1,000 classes, the first lemma for the other 20,841."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-22k")
    lemmas = {id: info.label_name_to_description(id).split(",")[0] for id in info.label_names()}
    curated = prompt_names("openai")
    taken = Counter(curated.values())
    return lemmas | {id: name for id, name in curated.items() if taken[name] == 1}  # two are "missile"
