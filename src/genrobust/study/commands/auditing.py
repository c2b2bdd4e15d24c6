"""Implements `audit` and `filter`: opens the image sets, measures or scores them, and writes the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust import __version__
from genrobust.audit import Models, confidence, embed_in_parts, logits_in_parts, measure
from genrobust.classifiers import OpenClassifier, embed_classes, load_clip, open_classifier
from genrobust.core import (
    PARTS,
    Audit,
    AuditSets,
    ClassLabel,
    Filter,
    ImageSet,
    KeptParts,
    LabelSpace,
    StudyData,
    UserError,
    device_name,
    file_name,
    find_clip,
    resolve_device,
)
from genrobust.data import (
    OK,
    FolderClasses,
    ShardDataset,
    below,
    check_share,
    classes_of,
    is_dataset,
    load_data,
    lowest_of_each_class,
    open_images,
    open_stored,
    read_about,
    write_filter,
)
from genrobust.recipe import FilterConfig, Recipe, is_recipe, load_recipe
from genrobust.report import write_audit_page

PARTS_VERSION = 1  # raise it when the arrays in partial results change
VERSIONED_PACKAGES = ("torch", "numpy", "scipy", "pillow")  # another version changes partial results by rounding
PLAIN_TEMPLATE = "a photo of a {}"  # for images whose prompt is not known
# Called late, when all else is known to be in order: the classifier may have to be trained first.
OpenClassifierFn = Callable[[], OpenClassifier]
Load = Callable[[str], Recipe]  # by its name
DataOf = Callable[[str], StudyData | None]  # the images of a recipe by its name; None for a folder
# Takes image sets, a device and partial results; returns the name of the score, and each image's score (low is bad).
ScoreImages = Callable[[AuditSets, torch.device, KeptParts], tuple[str, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit, its files by name, and the test sets with leaks that were not allowed."""

    audit: Audit
    files: dict[str, Path]
    leaks: dict[str, int]


def audit(
    dataset: str,
    against: str | None = None,
    tests: Sequence[str] = (),
    wild: str | None = None,
    unseen: str | None = None,
    classifier: OpenClassifierFn | None = None,
    clip: str | Path | None = None,
    allow_leaks: Sequence[str] = (),
    out: Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    batch_size: int = 256,
    load: Load = load_recipe,
) -> Audited:
    """Audit `dataset` and write audit.html and audit.json into `out`, by default ``audit-<name>`` beside it.

    Args:
        dataset: The folder of a generated dataset, a folder of class folders, or a recipe (its real images).
        against: The real images, a folder or a recipe; a recipe brings its test sets along.
        tests: Test sets to search for leaks, as ``NAME=DIR``.
        wild: The training images of the generator, a folder or a recipe; a recipe brings unseen images along.
        unseen: A folder of images of the same kind that the generator has never seen.
        classifier: Opens a classifier that was trained on real images.
        clip: The folder of a CLIP, or "pictograms" for the embedded one.
        allow_leaks: Names of test sets that may have leaked.
        batch_size: Images shown to a model at once; it changes figures by rounding alone.
        load: Loads a recipe by its name.

    Raises:
        UserError: What cannot be opened, an `out` inside the dataset, a classifier that lacks a class, an unknown name.
    """
    folder = _results_folder(dataset, out)
    clip_folder = None if clip is None else find_clip(clip)
    torch_device = resolve_device(device)
    sets = open_sets(dataset, against, tests, wild, unseen, load)
    if unknown := [name for name in allow_leaks if name not in sets.tests]:
        raise UserError(f"--allow-leaks {unknown[0]}: no such test set; there are {', '.join(sets.tests) or 'none'}")
    parts = open_kept_parts(folder, torch_device)
    models = Models(classifier and classifier(), clip_folder, torch_device, batch_size)
    measured = measure(sets, models, say, parts)
    leaks = {name: count for name, count in measured.leaks.items() if name not in allow_leaks}
    name = dataset if is_recipe(dataset) else Path(dataset).resolve().name
    files = write_audit_page(measured, sets, name, tuple(leaks), folder)
    parts.remove()
    return Audited(measured, files, leaks)


def filter_dataset(
    dataset: Path,
    score_images: ScoreImages,
    drop: float | None = None,
    threshold: float | None = None,
    against: str | None = None,
    device: str = "auto",
    load: Load = load_recipe,
) -> Filter:
    """Leave out the images of `dataset` with the lowest scores by `score_images`; the list lies beside the shards.

    `drop` is the share of each class that is left out, `threshold` the lowest score that stays: one of them is given.
    `against` are the real images, for the class names, as for `audit`; `load` loads a recipe by its name.

    Raises:
        UserError: Not one of `drop` and `threshold`, no generated dataset, a class that a classifier does not know, or
            no image left.
    """
    if (drop is None) == (threshold is None):
        raise UserError("give either --drop SHARE, to leave out the lowest of each class, or --threshold SCORE")
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: give a number to compare scores with")
    if drop is not None:
        check_share(drop)
    read_about(dataset)  # a filter lies beside shards: image folders are refused
    sets = open_sets(str(dataset), against, load=load)
    return _filter_images(dataset, sets, score_images, drop, threshold, device)


def filter_shards(
    dataset: Path,
    labels: LabelSpace,
    rule: FilterConfig,
    model: Path,
    device: str,
    batch_size: int,
    filter_folder: Path,
    inputs: Mapping[str, Any],
) -> int:
    """Filter a study's generated dataset by `rule` with the classifier or CLIP in `model`, into `filter_folder`.

    Args:
        inputs: What the name of `filter_folder` is a hash of.

    Returns:
        The number of images judged; 0 for a resumed run, whose speed is not measured.

    Raises:
        UserError: A classifier does not know a class, or no image is left.
    """
    opened, prompts, templates = _open_dataset(str(dataset), FolderClasses.from_labels(labels), lambda dataset: None)
    sets = AuditSets(opened, labels, None, {}, None, None, prompts, templates)
    open_model = partial(open_classifier, str(model))
    score_images = by_clip(str(model), batch_size) if rule.by == "clip" else by_classifier(open_model, batch_size)
    parts = open_kept_parts(dataset, resolve_device(device), filter_folder.name)
    result = _filter_images(filter_folder, sets, score_images, rule.drop, rule.threshold, device, inputs, parts)
    return 0 if parts.resumed_items else result.made


def by_clip(clip: str, batch_size: int) -> ScoreImages:
    """Score by the cosine of image and class in the CLIP of the folder `clip`; "pictograms" is the embedded one."""
    folder = find_clip(clip)

    def scores(sets: AuditSets, torch_device: torch.device, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = load_clip(folder, torch_device)
        classes = embed_classes(model, sets.templates, [c.prompt for c in sets.labels.classes])
        images = embed_in_parts(model, folder, sets.dataset, batch_size, parts)
        return "CLIP score", (images * classes[sets.dataset.labels]).sum(axis=1).astype(np.float64)

    return scores


def by_classifier(open_model: OpenClassifierFn, batch_size: int) -> ScoreImages:
    """Score by the probability that a classifier gives to the label, among the classes of the dataset."""

    def scores(sets: AuditSets, torch_device: torch.device, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = open_model()
        columns = model.columns(sets.labels)
        logits = logits_in_parts(model, sets.dataset, batch_size, torch_device, parts)
        return "classifier's confidence", confidence(logits[:, columns], sets.dataset.labels)

    return scores


def open_kept_parts(folder: Path, device: torch.device, *work: object) -> KeptParts:
    """Open the partial results that an interrupted run of the same `work` kept in `folder`.

    Those of another kind of device or other versions of VERSIONED_PACKAGES are not found.
    """
    versions = [metadata.version(name) for name in VERSIONED_PACKAGES]
    return KeptParts(folder / PARTS, PARTS_VERSION, __version__, device_name(str(device)), versions, work)


def _filter_images(
    folder: Path,
    sets: AuditSets,
    score_images: ScoreImages,
    drop: float | None,
    threshold: float | None,
    device: str,
    inputs: Mapping[str, Any] | None = None,
    parts: KeptParts | None = None,
) -> Filter:
    torch_device = resolve_device(device)
    parts = parts or open_kept_parts(folder, torch_device, drop, threshold)
    name, scores = score_images(sets, torch_device, parts)
    if drop is not None:
        rejected = lowest_of_each_class(scores, sets.dataset.labels, drop)
        rule = f"among the lowest {100 * drop:g} % of its class"
    else:
        assert threshold is not None  # one of the two is given
        setting = "--threshold" if inputs is None else "filter.threshold"
        rejected, rule = below(scores, threshold, setting), f"below {threshold:g}"
    result = write_filter(sets.dataset, name, scores, rejected, rule, folder, inputs)
    parts.remove()
    return result


def open_sets(
    dataset: str,
    against: str | None = None,
    tests: Sequence[str] = (),
    wild: str | None = None,
    unseen: str | None = None,
    load: Load = load_recipe,
) -> AuditSets:
    """Open the named sets, as for `audit`; classes are those of `against`, or the dataset's own without it."""
    data_of = partial(_load_data, load=load)
    real_data = data_of(against or dataset)
    classes = _find_classes(dataset, against, real_data)
    opened, prompts, templates = _open_dataset(dataset, classes, data_of)
    real: ImageSet | None = None
    test_sets: dict[str, ImageSet] = {}
    is_real = real_data is not None and dataset == against  # and is not compared with itself
    if against and real_data:
        real, test_sets = None if is_real else real_data.train, dict(real_data.tests)
    elif against:
        real = open_images("real", open_stored(Path(against)), classes)
    for option in tests:
        name, equals, directory = option.partition("=")
        if not (name and equals and directory):
            raise UserError(f"--test {option}: write NAME=DIR")
        if name in test_sets:
            raise UserError(f"--test {name}: there is a test set of this name already; give this one another")
        test_sets[name] = open_images(name, open_stored(Path(directory)), classes)
    wild_images, unseen_images = _open_generator_images(wild, classes, data_of)
    if unseen is not None:
        unseen_images = open_images("unseen images", open_stored(Path(unseen)), classes)
    return AuditSets(
        dataset=opened,
        labels=classes.labels,
        real=real,
        tests=test_sets,
        wild=wild_images,
        unseen=unseen_images,
        prompts=prompts,
        templates=templates,
        is_real=is_real,
    )


def _find_classes(dataset: str, against: str | None, data: StudyData | None) -> FolderClasses:
    if data is not None:
        return FolderClasses.from_labels(data.labels)
    if against or not is_dataset(Path(dataset)):
        return classes_of(open_stored(Path(against or dataset)))
    ids = ShardDataset(Path(dataset), allow_partial=True).class_ids
    names = [id.replace("-", " ").replace("_", " ") for id in ids]
    return FolderClasses.from_labels(LabelSpace(tuple(map(ClassLabel, ids, names, names))))


def _open_dataset(
    dataset: str, classes: FolderClasses, data_of: DataOf
) -> tuple[ImageSet, tuple[str, ...], tuple[str, ...]]:
    """Return the dataset, the prompts of its images where they are known, and the templates to show a CLIP."""
    folder = Path(dataset)
    if not is_dataset(folder):
        data = data_of(dataset)
        images = data.train if data else open_images("generated", open_stored(folder), classes, by_name=True)
        return images, (), (PLAIN_TEMPLATE,)
    shards = ShardDataset(folder)
    if shards.class_ids != classes.labels.ids:
        raise UserError(
            f"{folder} was generated for {len(shards.class_ids)} classes, which are not the {len(classes.labels)} of "
            "the real images in this order: name the real images that it was generated for with --against"
        )
    rows = shards.metadata(("prompt", "template", "status")).to_pylist()
    generated_rows = [row for row in rows if row["status"] == OK]
    prompts = tuple(row["prompt"] or "" for row in generated_rows)
    templates = tuple(
        sorted({row["template"] for row in generated_rows if row["template"] and "{}" in row["template"]})
    )
    return shards, prompts if all(prompts) else (), templates or (PLAIN_TEMPLATE,)


def _open_generator_images(
    source: str | None, classes: FolderClasses, data_of: DataOf
) -> tuple[ImageSet | None, ImageSet | None]:
    """Return the images that the generator was trained on and, for a recipe, held-out images of the same kind."""
    if source is None:
        return None, None
    data = data_of(source)
    if data is None:
        return open_images("the generator's training images", open_stored(Path(source)), classes), None
    if data.retrieval is None:
        raise UserError(f"--train-of-generator {source}: this recipe names no images under data.retrieved")
    return data.retrieval, data.shifted_val


def _load_data(source: str, load: Load) -> StudyData | None:
    """Return the images of the recipe `source`, or None if it is a folder."""
    return load_data(load(source).data) if is_recipe(source) else None


def _results_folder(dataset: str, out: Path | None) -> Path:
    if is_recipe(dataset):
        return out or Path(f"audit-{file_name(Path(dataset).stem)}")
    source = Path(dataset).resolve()
    return check_outside(dataset, out or source.parent / f"audit-{file_name(source.name)}")


def check_outside(dataset: str, out: Path) -> Path:
    """Return `out`, the folder of results.

    Raises:
        UserError: It lies inside the dataset.
    """
    if out.resolve().is_relative_to(Path(dataset).resolve()):
        raise UserError(f"--out {out} lies inside the dataset {dataset}: results go to a folder outside it")
    return out
