"""Opens the image sets that tools compare: a dataset, and the images that it is compared with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from genrobust.core import ImageSet, LabelSpace, StudyData, UserError, progress_bar
from genrobust.data import (
    OK,
    Broken,
    FolderClasses,
    ShardDataset,
    classes_of,
    is_dataset,
    load_data,
    open_images,
    open_stored,
    without_broken,
)
from genrobust.generate import class_texts
from genrobust.leaks import thumbnails
from genrobust.recipe import Recipe, is_recipe, load_recipe

log = logging.getLogger(__name__)

# The text of a class if neither its images nor a recipe have prompts.
PLAIN_TEMPLATE = "a photo of a {}"
# Loads a recipe by its name.
Load = Callable[[str], Recipe]
FindBroken = Callable[[ImageSet], list[int]]


def _read_all(images: ImageSet) -> list[int]:
    """Read all images. Return the places of the images that cannot be read."""
    with progress_bar(f"reading {images.name}", len(images)) as bar:
        _, broken = thumbnails(images, bar.advance)
    return broken


class _Opener:
    """Opens each thing once: the images of a recipe by its name, None for a folder, and stored images by their path."""

    def __init__(self, load: Load, find_broken: FindBroken) -> None:
        self.data = cache(partial(_load_data, load=load, find_broken=find_broken))
        self.stored = cache(lambda path: open_stored(Path(path)))

    def images(self, name: str, path: str | Path, classes: FolderClasses) -> ImageSet:
        return open_images(name, self.stored(str(path)), classes)


@dataclass(frozen=True, slots=True)
class AuditSets:
    """The dataset of an audit, and the sets that it is compared with.

    Attributes:
        texts: The texts by which a CLIP knows each class.
        real: The training images.
        tests: The test sets, by name.
        wild: The images that the generator was trained on.
        is_real: Whether the dataset is the training images themselves.
    """

    dataset: ImageSet
    labels: LabelSpace
    texts: list[list[str]]
    real: ImageSet | None = None
    tests: dict[str, ImageSet] = field(default_factory=dict)
    wild: ImageSet | None = None
    is_real: bool = False


def open_sets(
    dataset: str,
    against: str | None = None,
    tests: Mapping[str, Path] | None = None,
    wild: str | None = None,
    load: Load = load_recipe,
    find_broken: FindBroken = _read_all,
) -> AuditSets:
    """Open the named sets, as for `audit`. Classes are those of `against`, by default of the dataset itself.

    Args:
        tests: The folders of further test sets, by name.
        find_broken: Returns the places of the images that cannot be read, for the sets of a recipe.
    """
    _refuse_studies(dataset)
    opener = _Opener(load, find_broken)
    reference = against or dataset
    real_data = opener.data(reference)
    classes = _find_classes(dataset, against, opener)
    opened, templates = _open_dataset(dataset, classes, opener)
    # Training images are not compared with themselves.
    is_real = real_data is not None and reference == dataset
    real: ImageSet | None = None
    test_sets: dict[str, ImageSet] = {}
    if real_data is not None:
        test_sets.update(real_data.tests)
        if not is_real:
            real = real_data.train
    elif against:
        real = opener.images("real", against, classes)
    for name, folder in (tests or {}).items():
        if name in test_sets:
            raise UserError(f"--test {name}: there is a test set of this name already; give this one another")
        test_sets[name] = opener.images(name, folder, classes)
    recipe = load(reference) if is_recipe(reference) else None
    return AuditSets(
        dataset=opened,
        labels=classes.labels,
        texts=_class_texts(templates, recipe, classes.labels),
        real=real,
        tests=test_sets,
        wild=None if wild is None else _open_generator_images(wild, classes, opener),
        is_real=is_real,
    )


def _refuse_studies(dataset: str) -> None:
    """Raise UserError if `dataset` is the folder of all studies, which holds no images of its own."""
    if all(Path(dataset, name).is_dir() for name in ("checkpoints", "predictions")):
        raise UserError(
            f"{dataset} is a folder of studies: name a dataset in it ({dataset}/generated/...), or RECIPE:DATASET"
        )


def _find_classes(dataset: str, against: str | None, opener: _Opener) -> FolderClasses:
    data = opener.data(against or dataset)
    if data is not None:
        return FolderClasses.from_labels(data.labels)
    if against or not is_dataset(Path(dataset)):
        return classes_of(opener.stored(against or dataset))
    return FolderClasses.from_labels(ShardDataset(Path(dataset), allow_partial=True).label_space())


def _open_dataset(dataset: str, classes: FolderClasses, opener: _Opener) -> tuple[ImageSet, tuple[str, ...]]:
    data = opener.data(dataset)
    if data is not None:
        _require_classes(dataset, data.labels.ids, classes)
        return data.train, ()
    if not is_dataset(Path(dataset)):
        return open_images("generated", opener.stored(dataset), classes, by_name=True), ()
    shards = ShardDataset(Path(dataset))
    _require_classes(dataset, shards.class_ids, classes)
    return shards, prompt_templates(shards)


def _require_classes(source: str, ids: Sequence[str], classes: FolderClasses) -> None:
    """Raise UserError if labels of the images of `source` index other classes, `ids`."""
    if ids != classes.labels.ids:
        raise UserError(
            f"{source} has {len(ids)} classes, which are not the {len(classes.labels)} of the real images in this "
            "order: name the real images of the same classes with --against"
        )


def prompt_templates(shards: ShardDataset) -> tuple[str, ...]:
    """Return the templates of the prompts of a generated dataset, without instructions and full prompts."""
    columns = shards.metadata(("template", "status", "mode")).to_pydict().values()
    templates = {text for text, status, mode in zip(*columns, strict=True) if status == OK and mode != "edit"}
    return tuple(sorted(text for text in templates if "{}" in (text or "")))


def _class_texts(templates: Sequence[str], recipe: Recipe | None, labels: LabelSpace) -> list[list[str]]:
    """Return the texts of each class: of the dataset's own `templates`, or else of the prompts of `recipe`."""
    if not templates and recipe is not None:
        return class_texts(recipe.class_prompts, labels)
    texts: list[list[str]] = []
    for label in labels.classes:
        texts.append([text.replace("{}", label.prompt, 1) for text in templates or (PLAIN_TEMPLATE,)])
    return texts


def _open_generator_images(source: str, classes: FolderClasses, opener: _Opener) -> ImageSet:
    data = opener.data(source)
    if data is None:
        return opener.images("the generator's training images", source, classes)
    if data.retrieval is None:
        raise UserError(f"--trained-on {source}: this recipe names no images under data.retrieved")
    _require_classes(f"--trained-on {source}", data.labels.ids, classes)
    return data.retrieval


def _load_data(source: str, load: Load, find_broken: FindBroken) -> StudyData | None:
    """Return the images of the recipe `source`, without images that it skips, or None if it is a folder."""
    if not is_recipe(source):
        return None
    config = load(source).data
    data = load_data(config)
    skipped: list[Broken] = []
    if config.broken == "skip":
        data, skipped = without_broken(data, find_broken)
    for notice in (*data.notices, *skipped):
        log.warning("%s", notice)
    return data
