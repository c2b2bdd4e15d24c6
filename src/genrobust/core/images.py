"""Classes and images: what a study has, what it asks a generator for, and what it mixes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from genrobust.core.errors import NoColumn, UserError
from genrobust.core.keys import digest, key_hash
from genrobust.core.registry import VIEWS

# Of [0, 1]: an image whose mean is lower is black, one whose channels all vary less (SD) is of one flat color. It is
# about 2.5 of 255 gray levels, below what a drawn line or a photo's noise gives.
FLAT_IMAGE = 0.01
# The sources of a mixture that are no generated dataset in any study: the control with retrieved images is matched to
# the generated ones by class and style, or by class alone, or is what a CLIP finds for the names of the classes, or
# all labeled images that there are to retrieve, or those that the recipe excludes from them.
REAL, RETRIEVED, RETRIEVED_BY_CLASS, RETRIEVED_BY_SEARCH, RETRIEVED_ALL, RETRIEVED_WITHHELD = NOT_GENERATED = (
    "real", "retrieved", "retrieved-by-class", "retrieved-by-search", "retrieved-all", "retrieved-withheld",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class: `id` names files and keys (wnid or slug), `name` is shown, `prompt` is what a prompt says.

    `name` and `prompt` differ where a name means two things: the bird "crane" is prompted as "crane bird".
    `label_name` is what the user's data call it, a folder or a label such as C#, and what other programs read; without,
    it is the id.
    """

    id: str
    name: str
    prompt: str
    label_name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_name", self.label_name or self.id)

    @property
    def spellings(self) -> tuple[str, ...]:
        """All texts that may mean it, each once."""
        return tuple(dict.fromkeys((self.name, self.prompt, self.id, self.label_name)))


@dataclass(frozen=True)
class LabelSpace:
    """The ordered classes of a study. A label is an index into it; logits are [N, len(labels)].

    Ids are unique, and so are prompts unless `shared_prompts`, as in CLIP's list of ImageNet's class names.
    """

    classes: tuple[ClassLabel, ...]
    shared_prompts: bool = False

    def __post_init__(self) -> None:
        prompts = [] if self.shared_prompts else [c.prompt for c in self.classes]
        for attribute, values in (("id", self.ids), ("prompt", prompts)):
            twice = sorted(value for value, times in Counter(values).items() if times > 1)
            if twice:
                raise UserError(
                    f"two classes share the {attribute} {twice[0]!r}: give each class a {attribute} of its own"
                )
        if len(self.classes) < 2:
            raise UserError(f"a classifier needs two classes or more; this label space has {len(self.classes)}")

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(c.id for c in self.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        return tuple(c.label_name for c in self.classes)

    @property
    def descriptions(self) -> dict[str, str]:
        """The shown names by label name, in the order of the labels."""
        return dict(zip(self.label_names, self.names, strict=True))


class ImageSet(ABC):
    """Labeled images, read when asked for: the base of every source and of generated datasets.

    ``images[3]`` is an image, RGB in its own size, with its label, ``images[:100]`` a `Subset`; iterating yields images
    with their labels. A notebook shows a contact sheet.

    Attributes:
        labels: int64 [N], into the study's LabelSpace.
        keys: The names of the images, which are unique.
        styles: One text an image, "" where unknown.
        fingerprint: Changes when any image or label does.
        accepted: For each image the labels that are right, its own first; None for its own alone.
        groups: For each image its group, such as its designer, photographer, camera or site; None where unknown.
        pictures: For each image the picture that it was made from, of corrupted ones; None where it is one itself.
        protocol: How images or labels differ from how they lie on the disk, in words.
        as_stored: Whether their order is that of the files, so that the first images are no fair sample.
        even: Whether classes and styles lie evenly in their order; not so where groups of images were held back, or
            folders of styles are listed by name.
        packaged: Whether the set comes with genrobust, whose own sets hold no near copies of each other.
    """

    name: str
    labels: np.ndarray
    keys: Sequence[str]
    styles: Sequence[str]
    fingerprint: str
    accepted: tuple[tuple[int, ...], ...] | None = None
    groups: Sequence[str] | None = None
    pictures: Sequence[str] | None = None
    protocol: str = ""
    as_stored: bool = False
    even: bool = True
    packaged: bool = False

    @property
    def decoders(self) -> frozenset[str]:
        """The names of the modules that read and decode the images."""
        return frozenset({type(self).__module__})

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """Return image `index` as RGB, in its own size."""

    def reduced(self, index: int, side: int) -> Image.Image:
        """Return image `index` as RGB, fast: in its own size, or a smaller one of `side` pixels or more a side."""
        return self.image(index)

    def encoded(self, index: int) -> Path | bytes | None:
        """Return the file of image `index`, or its bytes where many lie in one file; None where images are no files."""
        return None

    def known_contents(self) -> np.ndarray | None:
        """Return the SHA-256 of each image file, uint8 [N, 32]. None if files must be read for it."""
        return None

    def column(self, name: str) -> Sequence[Any]:
        """Return for each image the value that its table has under this name, None for none.

        Raises:
            NoColumn: There is no table, or no such column.
            UserError: It cannot be read.
        """
        raise NoColumn(f"{self.name} has no columns: use a pattern")

    @overload
    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Subset: ...
    def __getitem__(self, index: int | slice) -> tuple[Image.Image, int] | Subset:
        places = range(len(self))[index]  # which counts from the end too, and raises IndexError
        return Subset(self, places) if isinstance(places, range) else (self.image(places), int(self.labels[places]))

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        classes = len(np.unique(self.labels))
        return f"{type(self).__name__}(name={self.name!r}, images={len(self)}, classes={classes})"

    def _repr_html_(self) -> str:
        return str(VIEWS.get("images")(self))


def check_not_empty(images: ImageSet) -> None:
    """Raise UserError if `images` has no image."""
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: name one that holds images")


class Subset(ImageSet):
    """The images of an ImageSet at `indices` (integers [M], in that order): a prefix, a split, a matched sample."""

    def __init__(self, images: ImageSet, indices: np.ndarray | Sequence[int], name: str | None = None) -> None:
        self._images = images
        self._indices = np.asarray(indices, dtype=np.int64)
        self.name = images.name if name is None else name
        self.labels = images.labels[self._indices]
        self.keys = [images.keys[i] for i in self._indices]
        self.styles = [images.styles[i] for i in self._indices]
        self.accepted = images.accepted and tuple(images.accepted[i] for i in self._indices)
        self.groups = images.groups and tuple(images.groups[i] for i in self._indices)
        self.pictures = images.pictures and tuple(images.pictures[i] for i in self._indices)
        self.protocol, self.as_stored, self.packaged = images.protocol, images.as_stored, images.packaged
        self.even = images.even
        self.fingerprint = digest([images.fingerprint, self._indices.tolist()])

    @property
    def decoders(self) -> frozenset[str]:
        return super().decoders | self._images.decoders

    def __len__(self) -> int:
        return len(self._indices)

    def encoded(self, index: int) -> Path | bytes | None:
        return self._images.encoded(int(self._indices[index]))

    def known_contents(self) -> np.ndarray | None:
        contents = self._images.known_contents()
        return None if contents is None else contents[self._indices]

    def column(self, name: str) -> Sequence[Any]:
        values = self._images.column(name)
        return [values[i] for i in self._indices]

    def image(self, index: int) -> Image.Image:
        return self._images.image(int(self._indices[index]))

    def reduced(self, index: int, side: int) -> Image.Image:
        return self._images.reduced(int(self._indices[index]), side)


def with_attributes(images: ImageSet, **attributes: Any) -> Subset:
    """Return all of `images` with other `attributes`, such as styles; with their fingerprint if no other is given."""
    changed = Subset(images, range(len(images)))
    vars(changed).update({"fingerprint": images.fingerprint} | attributes)
    return changed


class JoinedImages(ImageSet):
    """The images of several sets, one set after the other; a key begins with the name of its set."""

    def __init__(self, name: str, sets: Sequence[ImageSet]) -> None:
        self.name, self._sets = name, tuple(sets)
        self.labels = np.concatenate([images.labels for images in sets])
        self.keys = [f"{images.name}/{key}" for images in sets for key in images.keys]
        self.styles = [style for images in sets for style in images.styles]
        self.fingerprint = digest([images.fingerprint for images in sets])
        self._ends = np.cumsum([len(images) for images in sets])

    @property
    def decoders(self) -> frozenset[str]:
        return super().decoders.union(*(images.decoders for images in self._sets))

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        number = int(np.searchsorted(self._ends, index, side="right"))
        images = self._sets[number]
        return images.image(index - int(self._ends[number]) + len(images))


def fair_order(images: ImageSet) -> np.ndarray:
    """Return the indices of `images`, int64 [N], in an order in which every prefix is a fair sample.

    That is the order of `fair_in_kinds`, in which classes and styles take turns where they do not lie evenly.
    """
    order = fair_in_kinds(images)
    if images.even:
        return order
    place = np.empty(len(order))  # of an image among those of its class and style, from 0 to 1
    kinds = np.array([f"{label}/{style}" for label, style in zip(images.labels, images.styles, strict=True)])[order]
    for kind in np.unique(kinds):
        of_kind = np.flatnonzero(kinds == kind)
        place[of_kind] = (np.arange(len(of_kind)) + 0.5) / len(of_kind)
    return order[np.argsort(place, kind="stable")]


def fair_in_kinds(images: ImageSet) -> np.ndarray:
    """Return the indices of `images`, int64 [N], in an order that is fair within each class and style.

    That is the set's own order, unless it is that of the files, where images of one artist may lie together: then it
    is the order of the hashes of the keys.
    """
    if not images.as_stored:
        return np.arange(len(images))
    hashes = [key_hash(key) for key in images.keys]
    return np.array(sorted(range(len(images)), key=hashes.__getitem__), dtype=np.int64)


def prefix(images: ImageSet, per_class: int | None, fraction: float | None = None) -> np.ndarray:
    """Return the places of the first images of each class in the `fair_order`, int64, ascending.

    `per_class` takes the first so many, `fraction` the first share, at least one image.
    """
    if per_class is None and fraction is None:
        return np.arange(len(images))
    chosen, order = [np.zeros(0, dtype=np.int64)], fair_order(images)
    ordered = np.asarray(images.labels)[order]
    for label in np.unique(ordered):
        of_class = order[ordered == label]
        chosen.append(of_class[: count_taken(len(of_class), per_class, fraction)])
    return np.sort(np.concatenate(chosen))


def count_taken(count: int, per_class: int | None, fraction: float | None) -> int:
    """Return how many of the `count` images of a class `prefix` takes."""
    share = count if fraction is None else max(1, round(fraction * count))
    return min(count, share if per_class is None else min(share, per_class))


# Fields of `StudyData` that hold no set to learn from.
NOT_LEARNED = ("labels", "tests", "clean", "derived", "notices")
# Fields that hold several sets to learn from, by name.
NAMED_SETS = ("extra", "unlabeled")


@dataclass(frozen=True, slots=True)
class StudyData:
    """The real images of a study, for training, choosing checkpoints, testing and retrieval.

    `tests` maps a name to its set; `clean` is the name of the unshifted one, `shifts` the shifted ones. `retrieval` is
    the generator's own training data, where it is available, and `withheld` what was taken out of it. `unlabeled` are
    images like those that the classifiers will meet, without labels, by name. `search_pool` are images without labels
    that are searched for the classes; None searches those of `retrieval`. `shifted_val` is a shifted validation set, on
    which anything about generation may be chosen. `extra` are more images to train on, by the name that arms mix them
    under. `generated` are images of the user's own that replace those of the generator. `derived` names the test sets
    that are made from other ones, such as corrupted ones. `notices` are sentences about what loading did differently
    from what a user may expect.
    """

    labels: LabelSpace
    train: ImageSet
    val: ImageSet
    tests: dict[str, ImageSet]
    clean: str
    retrieval: ImageSet | None = None
    withheld: ImageSet | None = None
    shifted_val: ImageSet | None = None
    extra: dict[str, ImageSet] = field(default_factory=dict)
    unlabeled: dict[str, ImageSet] = field(default_factory=dict)
    search_pool: ImageSet | None = None
    generated: ImageSet | None = None
    derived: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def noted(self, notice: str | None) -> StudyData:
        """Return the same with another notice, if there is one."""
        return self if notice is None else replace(self, notices=(*self.notices, notice))

    @property
    def learned(self) -> dict[str, ImageSet]:
        """All sets but the test sets, by field; those of `NAMED_SETS` as ``extra.NAME``."""
        sets: dict[str, ImageSet] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in (*NOT_LEARNED, *NAMED_SETS) and value is not None:
                sets[each.name] = value
        for key in NAMED_SETS:
            for name, images in getattr(self, key).items():
                sets[f"{key}.{name}"] = images
        return sets

    def replaced(self, sets: Mapping[str, ImageSet]) -> StudyData:
        """Return the same with other `sets`, by the keys of `learned`."""
        changes: dict[str, Any] = {}
        for key, images in sets.items():
            field_name, _, name = key.partition(".")
            if name:
                changes.setdefault(field_name, dict(getattr(self, field_name)))[name] = images
            else:
                changes[field_name] = images
        return replace(self, **changes)

    @staticmethod
    def has_labels(key: str) -> bool:
        """Return whether the labels of the set with this key of `learned` mean classes."""
        return key != "search_pool" and not key.startswith("unlabeled.")

    @property
    def shifts(self) -> tuple[str, ...]:
        return tuple(name for name in self.tests if name != self.clean)

    @property
    def image_groups(self) -> dict[str, Sequence[str]]:
        """The group of each image, by test set; for those whose groups are known."""
        return {name: images.groups for name, images in self.tests.items() if images.groups}


@dataclass(frozen=True, slots=True)
class Request:
    """One image to make. A plan of them is a pure function of the recipe.

    `key` is ``{class id}-{index:06d}``, or ``{class id}-val-{index:06d}`` in a validation part; `seed` is a 63-bit hash
    of (data_seed, key): never of rank, batch or time.
    `template` is the template's text, `style` the style that it names ("" for none), `source` the key of the real image
    that conditions it (None for text alone).
    """

    key: str
    label: int
    class_id: str
    prompt: str
    template: str
    negative_prompt: str
    style: str
    seed: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its label and what is known of it. `image` is RGB uint8 [H, W, 3]."""

    key: str
    label: int
    image: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)
