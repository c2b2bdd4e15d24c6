"""Classes, images, the data of a study, and requests to a generator."""

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

# Share of full brightness. An image with a lower mean is black. With a lower SD in each channel, it is of one color.
# These are 2.5 of 255 gray levels: a drawn line or the noise of a photograph gives more.
FLAT_IMAGE = 0.01
# Sources of a mixture that are no generated dataset. Retrieved images are matched to the generated ones by class and
# style, or by class. They may also be found by a CLIP, or be the whole pool, or the part that the recipe withholds.
REAL, RETRIEVED, RETRIEVED_BY_CLASS, RETRIEVED_BY_SEARCH, RETRIEVED_ALL, RETRIEVED_WITHHELD = NOT_GENERATED = (
    "real", "retrieved", "retrieved-by-class", "retrieved-by-search", "retrieved-all", "retrieved-withheld",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class.

    Attributes:
        id: A WordNet id or a slug, in the names of files and keys.
        name: The name to show.
        prompt: The name in prompts. The bird "crane" is prompted as "crane bird", because the name is ambiguous.
        label_name: The name in the user's data, such as the folder C#. By default the id.
    """

    id: str
    name: str
    prompt: str
    label_name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_name", self.label_name or self.id)

    @property
    def spellings(self) -> tuple[str, ...]:
        """All names of the class, each once."""
        return tuple(dict.fromkeys((self.name, self.prompt, self.id, self.label_name)))


@dataclass(frozen=True)
class LabelSpace:
    """The ordered classes of a study. A label is an index into it. Logits are [N, len(labels)].

    Ids are unique. Prompts are unique unless `shared_prompts`, as in CLIP's list of ImageNet's class names.
    """

    classes: tuple[ClassLabel, ...]
    shared_prompts: bool = False

    def __post_init__(self) -> None:
        prompts = [] if self.shared_prompts else [c.prompt for c in self.classes]
        for attribute, values in (("id", self.ids), ("prompt", prompts)):
            twice = sorted(value for value, times in Counter(values).items() if times > 1)
            if twice:
                raise UserError(f"two classes share the {attribute} {twice[0]!r}: give each its own")
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
        """The names to show by label name, in the order of the labels."""
        return dict(zip(self.label_names, self.names, strict=True))


class ImageSet(ABC):
    """Labeled images, which are read when they are asked for. All sources and generated datasets extend this class.

    ``images[3]`` is an image, RGB in its own size, with its label. ``images[:100]`` is a `Subset`. Iterating yields
    images with their labels. A notebook shows a contact sheet.

    Attributes:
        labels: int64 [N], indices into the study's LabelSpace.
        keys: The unique names of the images.
        styles: The style of each image, "" if unknown.
        fingerprint: Changes when any image or label does.
        accepted: The correct labels of each image, its own first. None if only its own is correct.
        groups: The group of each image, such as its designer, camera or site. None if unknown.
        pictures: The picture that each corrupted image was made from. None if images are not corrupted.
        protocol: How images or labels differ from the files, in words.
        as_stored: Whether images are in the order of the files, so that the first ones are no fair sample.
        even: Whether each part of the order has about the same shares of classes and styles.
        packaged: Whether the set comes with genrobust. These sets have no near copies of each other.
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
        """Return image `index` as RGB, fast: in its own size, or smaller with at least `side` pixels a side."""
        return self.image(index)

    def encoded(self, index: int) -> Path | bytes | None:
        """Return the file of image `index`, or its bytes if a file holds many images. None if images are no files."""
        return None

    def known_contents(self) -> np.ndarray | None:
        """Return the SHA-256 of each image file, uint8 [N, 32]. None if files must be read for it."""
        return None

    def column(self, name: str) -> Sequence[Any]:
        """Return the value of each image in a column of its table, None if it has none.

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
        # A range takes negative indices and raises IndexError.
        places = range(len(self))[index]
        if isinstance(places, range):
            return Subset(self, places)
        return self.image(places), int(self.labels[places])

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        classes = len(np.unique(self.labels))
        return f"{type(self).__name__}(name={self.name!r}, images={len(self)}, classes={classes})"

    def _repr_html_(self) -> str:
        return str(VIEWS.get("images")(self))


def check_not_empty(images: ImageSet) -> None:
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: name one that holds images")


class Subset(ImageSet):
    """The images of an ImageSet at `indices`, int [M], in that order."""

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
        self.protocol = images.protocol
        self.as_stored = images.as_stored
        self.packaged = images.packaged
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
    """Return all of `images` with other `attributes`, such as styles. By default the fingerprint stays."""
    changed = Subset(images, range(len(images)))
    vars(changed).update({"fingerprint": images.fingerprint} | attributes)
    return changed


class JoinedImages(ImageSet):
    """The images of several sets, one set after the other. A key begins with the name of its set."""

    def __init__(self, name: str, sets: Sequence[ImageSet]) -> None:
        self.name = name
        self._sets = tuple(sets)
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

    It is the order of `fair_in_kinds`. If that is not even, classes and styles take turns.
    """
    order = fair_in_kinds(images)
    if images.even:
        return order
    # The place of each image in its class and style, from 0 to 1.
    place = np.empty(len(order))
    kinds = np.array([f"{label}/{style}" for label, style in zip(images.labels, images.styles, strict=True)])[order]
    for kind in np.unique(kinds):
        of_kind = np.flatnonzero(kinds == kind)
        place[of_kind] = (np.arange(len(of_kind)) + 0.5) / len(of_kind)
    return order[np.argsort(place, kind="stable")]


def fair_in_kinds(images: ImageSet) -> np.ndarray:
    """Return the indices of `images`, int64 [N], in an order that is fair within each class and style.

    It is the set's own order, or the order of the hashes of the keys if images are in the order of the files: there,
    images of one artist may be neighbors.
    """
    if not images.as_stored:
        return np.arange(len(images))
    hashes = [key_hash(key) for key in images.keys]
    return np.array(sorted(range(len(images)), key=hashes.__getitem__), dtype=np.int64)


def prefix(images: ImageSet, per_class: int | None, fraction: float | None = None) -> np.ndarray:
    """Return the places of the first images of each class in the `fair_order`, int64, ascending.

    They are up to `per_class` images, and up to a `fraction` of the class, at least one image.
    """
    if per_class is None and fraction is None:
        return np.arange(len(images))
    chosen = [np.zeros(0, dtype=np.int64)]
    order = fair_order(images)
    ordered = np.asarray(images.labels)[order]
    for label in np.unique(ordered):
        of_class = order[ordered == label]
        chosen.append(of_class[: count_taken(len(of_class), per_class, fraction)])
    return np.sort(np.concatenate(chosen))


def count_taken(count: int, per_class: int | None, fraction: float | None) -> int:
    """Return how many of the `count` images of a class `prefix` takes."""
    limits = [count]
    if fraction is not None:
        limits.append(max(1, round(fraction * count)))
    if per_class is not None:
        limits.append(per_class)
    return min(limits)


# Fields of `StudyData` that hold no set to learn from.
NOT_LEARNED = ("labels", "tests", "clean", "derived", "notices")
# Fields that hold several sets to learn from, by name.
NAMED_SETS = ("extra", "unlabeled")


@dataclass(frozen=True, slots=True)
class StudyData:
    """The images of a study.

    Attributes:
        tests: The test sets by name.
        clean: The name of the unshifted test set.
        retrieval: Labeled images to retrieve, such as the training data of the generator.
        withheld: Images that the recipe excludes from `retrieval`.
        shifted_val: A shifted validation set, on which anything about generation may be chosen.
        extra: More images to train on, by the source that arms mix.
        unlabeled: Images without labels from the place where the classifiers will be used, by name.
        search_pool: Images without labels to search for the classes. None to search `retrieval`.
        generated: The user's own images instead of generated ones.
        derived: The test sets that are made from others, such as corrupted ones.
        notices: Sentences about images that a user may not expect.
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
        if notice is None:
            return self
        return replace(self, notices=(*self.notices, notice))

    @property
    def learned(self) -> dict[str, ImageSet]:
        """All sets except the test sets, by field. The sets of `NAMED_SETS` have keys like ``extra.NAME``."""
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
        """Replace `sets`, by the keys of `learned`."""
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
        """The groups of the images of each test set that has groups."""
        return {name: images.groups for name, images in self.tests.items() if images.groups}


@dataclass(frozen=True, slots=True)
class Request:
    """One image to generate. A plan of requests is a pure function of the recipe.

    Attributes:
        key: ``{class id}-{index:06d}``, or ``{class id}-val-{index:06d}`` in a validation part.
        style: The style that the template names, "" for none.
        seed: A 63-bit hash of (data_seed, key), never of rank, batch or time.
        source: The key of the real image that conditions it. None for text alone.
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
    """An image, RGB uint8 [H, W, 3], with its label and metadata."""

    key: str
    label: int
    image: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)
