"""ImageNet's 1,000 classes: WordNet ids in the order of their labels, their names, and the subsets in use."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources

from genrobust.core import ClassLabel, LabelSpace, UserError
from genrobust.data.class_lists import choose_classes
from genrobust.recipe import ClassSample

log = logging.getLogger(__name__)


@cache
def wnids() -> tuple[str, ...]:
    """Return the 1,000 WordNet ids, sorted: an id's index is its ImageNet label."""
    return tuple(_shipped_names("class_names"))


@cache
def descriptions() -> tuple[str, ...]:
    """Return the WordNet lemmas of each label, such as "tench, Tinca tinca"; two are "crane"."""
    from timm.data import ImageNetInfo  # here, because it loads torch

    return tuple(ImageNetInfo("imagenet-1k").label_descriptions())


@cache
def listed_by_timm(name: str) -> tuple[str, ...]:
    """Return the WordNet ids of timm's class list `name`, such as imagenet_r: the 200 of ImageNet-R or -A, sorted."""
    file = resources.files("timm") / "data" / "_info" / f"{name}_synsets.txt"
    return tuple(file.read_text(encoding="utf-8").split())


def prompt_names(kind: str) -> dict[str, str]:
    """Return what a prompt calls each WordNet id.

    Args:
        kind: "openai" for the names of CLIP's zero-shot classifier, of which two pairs are the same (openai/CLIP issue
            235). "unique" for those with the clearer ones of ``assets/imagenet``, and with the first WordNet lemma
            where two classes share a name: missile and projectile, sunglass and sunglasses.
    """
    names = _shipped_names("class_names")
    if kind == "openai":
        return names
    shared = {name for name, times in Counter(names.values()).items() if times > 1}
    # CLIP's "tights" (638) is among the clearer names too: its photographs show swimsuits, as those of 639 do
    lemma = {wnid: text.split(",")[0] for wnid, text in zip(wnids(), descriptions(), strict=True)}
    return {wnid: lemma[wnid] if name in shared else name for wnid, name in names.items()} | _shipped_names(
        "clearer_names"
    )


def label_space(classes: ClassSample | Sequence[str] | str, class_names: Mapping[str, str] | str) -> LabelSpace:
    """Return the classes that the keys `classes` and `class_names` of ``source: imagenet`` name, in ImageNet's order.

    Their ids are WordNet ids.

    Raises:
        UserError: An unknown class, one that is listed twice, or a key of `class_names` that is no class.
    """
    chosen = _chosen_wnids(classes)
    given = {} if isinstance(class_names, str) else dict(class_names)
    for wnid in given:
        if wnid not in wnids():
            raise UserError(f"data.class_names: {wnid!r} is no WordNet id of ImageNet-1k, such as {wnids()[0]}")
    kind = class_names if isinstance(class_names, str) else "unique"
    names = prompt_names(kind) | given
    if kind == "openai":
        for name, times in Counter(names[wnid] for wnid in chosen).items():
            if times > 1:
                alike = " and ".join(wnid for wnid in chosen if names[wnid] == name)
                log.warning("%s are both prompted as %r: class_names: unique tells them apart", alike, name)
    labels = tuple(ClassLabel(wnid, names[wnid], names[wnid]) for wnid in chosen)
    return LabelSpace(labels, shared_prompts=kind == "openai")


def by_number(text: str, ids: Sequence[str]) -> str | None:
    """Return the one of `ids` at the index `text`; None where it is no number or too large."""
    return ids[int(text)] if text.isdecimal() and int(text) < len(ids) else None


def imagenet_numbers(ids: Iterable[str], names: Mapping[int, str]) -> dict[str, int]:
    """Return the labels of those of `ids` that are WordNet ids, where `names`, by label, has ImageNet's first lemma."""

    def first(text: str) -> str:
        return text.partition(",")[0].strip().casefold()

    known = {wnid: label for label, wnid in enumerate(wnids())}
    labels = {id: known[id] for id in ids if id in known}
    return {id: n for id, n in labels.items() if first(names.get(n, "")) == first(descriptions()[n])}


def _chosen_wnids(classes: ClassSample | Sequence[str] | str) -> tuple[str, ...]:
    if classes == "all":
        return wnids()
    if classes == "imagenet100":
        wanted: Collection[str] = _shipped_names("imagenet100")
    else:
        wanted = choose_classes(classes, wnids(), _wnid_of, ("imagenet100",))
    return tuple(wnid for wnid in wnids() if wnid in wanted)


def _wnid_of(text: str) -> str:
    """The class that a text begins with, a WordNet id or a label (0 to 999)."""
    word = (text.replace(",", " ").split() or [""])[0]
    wnid = by_number(word, wnids()) if word.isdecimal() else word
    if wnid not in wnids():
        raise UserError(f"{word!r} is neither a WordNet id of ImageNet-1k nor 0 to 999")
    return str(wnid)


def _shipped_names(name: str) -> dict[str, str]:
    """Return the name of each WordNet id in a text file of ``assets/imagenet``, "" in one that has none."""
    text = (resources.files("genrobust") / "assets" / "imagenet" / f"{name}.txt").read_text(encoding="utf-8")
    return {wnid: shown for wnid, _, shown in (line.partition(" ") for line in text.splitlines())}
