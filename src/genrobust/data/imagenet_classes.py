"""ImageNet's 1,000 classes: their WordNet ids in the order of the labels, their names, and subsets in use."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    # Import late: it loads torch.
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_descriptions())


@cache
def listed_by_timm(name: str) -> tuple[str, ...]:
    """Return the WordNet ids of timm's class list `name`, such as imagenet_r: the 200 of ImageNet-R or -A, sorted."""
    file = resources.files("timm") / "data" / "_info" / f"{name}_synsets.txt"
    return tuple(file.read_text(encoding="utf-8").split())


def prompt_names(kind: str) -> dict[str, str]:
    """Return the name of each WordNet id in prompts.

    Args:
        kind: "openai" for the names of CLIP's zero-shot classifier, in which two pairs of classes share a name
            (openai/CLIP, number 235). "unique" replaces these by their first WordNet lemma (missile and projectile,
            sunglass and sunglasses), and some others by the clearer names in ``assets/imagenet``.
    """
    names = _shipped_names("class_names")
    if kind == "openai":
        return names
    uses = Counter(names.values())
    for wnid, description in zip(wnids(), descriptions(), strict=True):
        if uses[names[wnid]] > 1:
            names[wnid] = description.split(",")[0]
    # CLIP's "tights" (638) is among them: its photographs show swimsuits, as those of 639 do.
    return names | _shipped_names("clearer_names")


def label_space(classes: ClassSample | Sequence[str] | str, class_names: Mapping[str, str] | str) -> LabelSpace:
    """Return the classes that the keys `classes` and `class_names` of ``source: imagenet`` name, in ImageNet's order.

    Their ids are WordNet ids.
    """
    chosen = _chosen_wnids(classes)
    kind = class_names if isinstance(class_names, str) else "unique"
    given = {} if isinstance(class_names, str) else dict(class_names)
    for wnid in given:
        if wnid not in wnids():
            raise UserError(f"data.class_names: {wnid!r} is no WordNet id of ImageNet-1k, such as {wnids()[0]}")
    names = prompt_names(kind) | given
    if kind == "openai":
        _warn_of_shared_names(chosen, names)
    labels = tuple(ClassLabel(wnid, names[wnid], names[wnid]) for wnid in chosen)
    return LabelSpace(labels, shared_prompts=kind == "openai")


def _warn_of_shared_names(chosen: Sequence[str], names: Mapping[str, str]) -> None:
    uses = Counter(names[wnid] for wnid in chosen)
    for name, count in uses.items():
        if count > 1:
            alike = " and ".join(wnid for wnid in chosen if names[wnid] == name)
            log.warning("%s are both prompted as %r: class_names: unique tells them apart", alike, name)


def by_number(text: str, ids: Sequence[str]) -> str | None:
    """Return the one of `ids` at the index `text`. None if it is no number or too large."""
    if not text.isdecimal() or int(text) >= len(ids):
        return None
    return ids[int(text)]


def imagenet_numbers(ids: Iterable[str], names: Mapping[int, str]) -> dict[str, int]:
    """Return the ImageNet label of each WordNet id among `ids` that a classifier knows under this label.

    Args:
        names: Class names of the classifier by label. A WordNet id counts if the name starts with its first lemma.
    """
    label_of = {wnid: label for label, wnid in enumerate(wnids())}
    found: dict[str, int] = {}
    for id in ids:
        label = label_of.get(id)
        if label is not None and _first_lemma(names.get(label, "")) == _first_lemma(descriptions()[label]):
            found[id] = label
    return found


def _first_lemma(text: str) -> str:
    return text.partition(",")[0].strip().casefold()


def _chosen_wnids(classes: ClassSample | Sequence[str] | str) -> tuple[str, ...]:
    if classes == "all":
        return wnids()
    if classes == "imagenet100":
        chosen = set(_shipped_names("imagenet100"))
    else:
        chosen = set(choose_classes(classes, wnids(), _wnid_of, ("imagenet100",)))
    return tuple(wnid for wnid in wnids() if wnid in chosen)


def _wnid_of(text: str) -> str:
    """Return the class that a text begins with: a WordNet id, or a label from 0 to 999."""
    words = text.replace(",", " ").split()
    word = words[0] if words else ""
    wnid = by_number(word, wnids()) if word.isdecimal() else word
    if wnid not in wnids():
        raise UserError(f"{word!r} is neither a WordNet id of ImageNet-1k nor 0 to 999")
    return str(wnid)


def _shipped_names(name: str) -> dict[str, str]:
    """Return the name of each WordNet id in a text file of ``assets/imagenet``. "" if the file has no names."""
    file = resources.files("genrobust") / "assets" / "imagenet" / f"{name}.txt"
    names: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        wnid, _, shown = line.partition(" ")
        names[wnid] = shown
    return names
