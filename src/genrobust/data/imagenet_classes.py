"""ImageNet's 1,000 classes: WordNet ids in the order of their labels, what they are called, and the subsets in use."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from genrobust.core import ClassLabel, GenrobustError, LabelSpace, UserError
from genrobust.recipe import DataConfig

log = logging.getLogger(__name__)

# The ImageNet-100 of Bansal and Grover (2023, arXiv 2302.02503), as listed in their code (Hritikbansal/
# generative-robustness). Other studies mean other classes by the same name.
IMAGENET100 = """
n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166 n01983481
n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622 n02091831 n02093428
n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047 n02113799 n02113978 n02114855
n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212 n02326432 n02396427 n02483362 n02488291
n02701002 n02788148 n02804414 n02859443 n02869837 n02877765 n02974003 n03017168 n03032252 n03062245 n03085013
n03259280 n03379051 n03424325 n03492542 n03494278 n03530642 n03584829 n03594734 n03637318 n03642806 n03764736
n03775546 n03777754 n03785016 n03787032 n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417
n04067472 n04099969 n04111531 n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653
n04485082 n04493381 n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406
n13040303
"""

# CLIP's names that an everyday reader, and so a text-to-image model, may take for something else. Worded with the
# class's other WordNet lemmas where it has any (army tank, suit of clothes, boat paddle), else with its genus.
CLEARER = {
    "n01580077": "jay bird",
    "n01776313": "tick (arachnid)",
    "n01945685": "slug (mollusc)",
    "n02085936": "Maltese dog",
    "n02086910": "Papillon dog",
    "n02108089": "Boxer dog",
    "n02112018": "Pomeranian dog",
    "n02128925": "jaguar (big cat)",
    "n03100240": "convertible car",
    "n03110669": "cornet (brass instrument)",
    "n03216828": "boat dock",
    "n03482405": "laundry hamper",
    "n03666591": "cigarette lighter",
    "n03782006": "computer monitor",
    "n03803284": "dog muzzle",
    "n03873416": "boat paddle",
    "n04039381": "tennis racket",
    "n04125021": "safe (strongbox)",
    "n04296562": "theatre stage",
    "n04350905": "suit of clothes",
    "n04371774": "playground swing",
    "n04389033": "army tank",
    "n07613480": "trifle dessert",
}


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 WordNet ids, sorted: an id's index is its ImageNet label."""
    from timm.data import ImageNetInfo  # here, because it takes torch along

    return tuple(ImageNetInfo("imagenet-1k").label_names())


@cache
def descriptions() -> tuple[str, ...]:
    """The WordNet lemmas of each label, such as "tench, Tinca tinca"; two are "crane"."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_descriptions())


@cache
def listed_by_timm(name: str) -> tuple[str, ...]:
    """The WordNet ids of timm's class list `name`, such as imagenet_r: the 200 of ImageNet-R or -A, sorted."""
    file = resources.files("timm") / "data" / "_info" / f"{name}_synsets.txt"
    try:
        return tuple(file.read_text(encoding="utf-8").split())
    except OSError as error:
        raise GenrobustError(f"this version of timm lacks the class list {file}: install timm again") from error


def prompt_names(kind: str) -> dict[str, str]:
    """What a prompt calls each WordNet id, by `kind`.

    "openai" are the names of CLIP's zero-shot classifier, of which two pairs are the same (openai/CLIP issue 235).
    "unique" are those with `CLEARER`, and the first WordNet lemma where two classes share a name: missile and
    projectile, sunglass and sunglasses.
    """
    from open_clip import IMAGENET_CLASSNAMES

    names = dict(zip(wnids(), IMAGENET_CLASSNAMES, strict=True))
    if kind == "openai":
        return names
    shared = {name for name, times in Counter(names.values()).items() if times > 1}
    lemma = {wnid: text.split(",")[0] for wnid, text in zip(wnids(), descriptions(), strict=True)}
    return {wnid: CLEARER.get(wnid, lemma[wnid] if name in shared else name) for wnid, name in names.items()}


def label_space(config: DataConfig) -> LabelSpace:
    """The classes that `config` studies, in ImageNet's order; ids are WordNet ids.

    Raises UserError for an unknown class, one that is listed twice, and a key of `class_names` that is no class.
    """
    chosen = _chosen(config.classes)
    own = config.class_names if isinstance(config.class_names, dict) else {}
    for wnid in own:
        if wnid not in wnids():
            raise UserError(f"data.class_names: {wnid!r} is no WordNet id of ImageNet-1k, such as {wnids()[0]}")
    kind = config.class_names if isinstance(config.class_names, str) else "unique"
    names = prompt_names(kind) | own
    if kind == "openai":
        for name, times in Counter(names[wnid] for wnid in chosen).items():
            if times > 1:
                alike = " and ".join(wnid for wnid in chosen if names[wnid] == name)
                log.warning("%s are both prompted as %r: class_names: unique tells them apart", alike, name)
    classes = tuple(ClassLabel(wnid, names[wnid], names[wnid]) for wnid in chosen)
    return LabelSpace(classes, shared_prompts=kind == "openai")


def _chosen(classes: str) -> tuple[str, ...]:
    if classes == "all":
        return wnids()
    wanted = frozenset(IMAGENET100.split()) if classes == "imagenet100" else _read_list(Path(classes))
    return tuple(wnid for wnid in wnids() if wnid in wanted)


def _read_list(path: Path) -> frozenset[str]:
    """The classes in a text file: one WordNet id or label (0 to 999) at the start of a line, # for comments."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        near = difflib.get_close_matches(str(path), ["all", "imagenet100"], n=1)
        hint = f"; did you mean {near[0]}?" if near else ": give all, imagenet100, or a text file of WordNet ids"
        raise UserError(f"data.classes: cannot read {path} ({error}){hint}") from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        wnid = by_number(words[0], wnids()) if words[0].isdecimal() else words[0]
        if wnid not in wnids():
            raise UserError(f"{path}, line {number}: {words[0]!r} is neither a WordNet id of ImageNet-1k nor 0 to 999")
        if wnid in found:
            raise UserError(f"{path}, line {number}: {wnid} is listed before, on line {found[wnid]}: list it once")
        found[wnid] = number
    return frozenset(found)


def by_number(text: str, ids: Sequence[str]) -> str | None:
    """The id at place `text` of `ids`; None where it is no number or too large. Numbers are never compared as text."""
    return ids[int(text)] if text.isdecimal() and int(text) < len(ids) else None
