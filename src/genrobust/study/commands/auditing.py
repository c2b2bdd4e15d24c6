"""The commands audit and filter: opens the sets that they name, measures them, and writes the results."""

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

KEEPING = 1  # to be raised where what is kept of an image changes
PROGRAMS = ("torch", "numpy", "scipy", "pillow")  # whose versions change it by rounding
PLAIN_TEMPLATE = "a photo of a {}"  # for images whose prompt is not known
# Opened late, when all else is known to be in order: it may have to be trained first.
Opens = Callable[[], OpenClassifier]
Load = Callable[[str], Recipe]  # by its name
DataOf = Callable[[str], StudyData | None]  # the images of a recipe by its name; None for a folder
# Of the images of sets, on a device, with what is kept meanwhile: the name of the score, and the score of each image,
# the lower the worse.
Judge = Callable[[AuditSets, torch.device, KeptParts], tuple[str, np.ndarray]]


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
    classifier: Opens | None = None,
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
    judge = None if clip is None else find_clip(clip)
    where = resolve_device(device)
    sets = open_sets(dataset, against, tests, wild, unseen, load)
    if unknown := [name for name in allow_leaks if name not in sets.tests]:
        raise UserError(f"--allow-leaks {unknown[0]}: no such test set; there are {', '.join(sets.tests) or 'none'}")
    parts = parts_in(folder, where)
    measured = measure(sets, Models(classifier and classifier(), judge, where, batch_size), say, parts)
    leaks = {name: count for name, count in measured.leaks.items() if name not in allow_leaks}
    name = dataset if is_recipe(dataset) else Path(dataset).resolve().name
    files = write_audit_page(measured, sets, name, tuple(leaks), folder)
    parts.remove()
    return Audited(measured, files, leaks)


def filter_dataset(
    dataset: Path,
    judge: Judge,
    drop: float | None = None,
    threshold: float | None = None,
    against: str | None = None,
    device: str = "auto",
    load: Load = load_recipe,
) -> Filter:
    """Leave out the images of `dataset` that `judge` finds least like their label; the list lies beside the shards.

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
    return _filter_images(dataset, open_sets(str(dataset), against, load=load), judge, drop, threshold, device)


def filter_shards(
    dataset: Path,
    labels: LabelSpace,
    rule: FilterConfig,
    model: Path,
    device: str,
    batch_size: int,
    place: Path,
    inputs: Mapping[str, Any],
) -> int:
    """Filter a study's generated dataset by `rule` with the classifier or CLIP in `model`, into the folder `place`.

    `inputs` are what that is named after.

    Returns how many images it has judged; 0 where an earlier run had judged some, so that it tells of no rate.

    Raises:
        UserError: A classifier does not know a class, or no image is left.
    """
    opened, prompts, templates = _open_dataset(str(dataset), FolderClasses(labels, labels.ids), lambda word: None)
    sets = AuditSets(opened, labels, None, {}, None, None, prompts, templates)
    opens = partial(open_classifier, str(model))
    judge = by_clip(str(model), batch_size) if rule.by == "clip" else by_classifier(opens, batch_size)
    parts = parts_in(dataset, resolve_device(device), place.name)
    made = _filter_images(place, sets, judge, rule.drop, rule.threshold, device, inputs, parts).made
    return 0 if parts.found else made


def by_clip(clip: str, batch_size: int) -> Judge:
    """Judge by the cosine of image and class in the CLIP of the folder `clip`; "pictograms" is the embedded one."""
    folder = find_clip(clip)

    def scores(sets: AuditSets, where: torch.device, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = load_clip(folder, where)
        classes = embed_classes(model, sets.templates, [c.prompt for c in sets.labels.classes])
        images = embed_in_parts(model, folder, sets.dataset, batch_size, parts)
        return "CLIP score", (images * classes[sets.dataset.labels]).sum(axis=1).astype(np.float64)

    return scores


def by_classifier(opens: Opens, batch_size: int) -> Judge:
    """Judge by the probability that a classifier gives to the label, among the classes of the dataset."""

    def scores(sets: AuditSets, where: torch.device, parts: KeptParts) -> tuple[str, np.ndarray]:
        model = opens()
        columns = model.columns(sets.labels)
        logits = logits_in_parts(model, sets.dataset, batch_size, where, parts)
        return "classifier's confidence", confidence(logits[:, columns], sets.dataset.labels)

    return scores


def parts_in(folder: Path, device: torch.device, *work: object) -> KeptParts:
    """Return what such `work`, killed, has kept in `folder`, on such a `device` and with the same programs."""
    programs = [metadata.version(name) for name in PROGRAMS]
    return KeptParts(folder / PARTS, KEEPING, __version__, device_name(str(device)), programs, work)


def _filter_images(
    place: Path,
    sets: AuditSets,
    judge: Judge,
    drop: float | None,
    threshold: float | None,
    device: str,
    inputs: Mapping[str, Any] | None = None,
    parts: KeptParts | None = None,
) -> Filter:
    where = resolve_device(device)
    parts = parts or parts_in(place, where, drop, threshold)
    name, scores = judge(sets, where, parts)
    if drop is not None:
        rejected = lowest_of_each_class(scores, sets.dataset.labels, drop)
        rule = f"among the lowest {100 * drop:g} % of its class"
    else:
        assert threshold is not None  # one of the two is given
        setting = "--threshold" if inputs is None else "filter.threshold"
        rejected, rule = below(scores, threshold, setting), f"below {threshold:g}"
    made = write_filter(sets.dataset, name, scores, rejected, rule, place, inputs)
    parts.remove()
    return made


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
    for word in tests:
        name, equals, place = word.partition("=")
        if not (name and equals and place):
            raise UserError(f"--test {word}: write NAME=DIR")
        if name in test_sets:
            raise UserError(f"--test {name}: there is a test set of this name already; give this one another")
        test_sets[name] = open_images(name, open_stored(Path(place)), classes)
    seen, choosing = _open_generator_images(wild, classes, data_of)
    if unseen is not None:
        choosing = open_images("unseen images", open_stored(Path(unseen)), classes)
    return AuditSets(opened, classes.labels, real, test_sets, seen, choosing, prompts, templates, is_real)


def _find_classes(dataset: str, against: str | None, data: StudyData | None) -> FolderClasses:
    if data is not None:
        return FolderClasses(data.labels, data.labels.ids)
    if against or not is_dataset(Path(dataset)):
        place = Path(against or dataset)
        return classes_of(open_stored(place))
    ids = ShardDataset(Path(dataset), allow_partial=True).class_ids
    names = [id.replace("-", " ").replace("_", " ") for id in ids]
    return FolderClasses(LabelSpace(tuple(map(ClassLabel, ids, names, names))), ids)


def _open_dataset(
    word: str, classes: FolderClasses, data_of: DataOf
) -> tuple[ImageSet, tuple[str, ...], tuple[str, ...]]:
    """The dataset, the prompts of its images where they are known, and the templates to show a CLIP."""
    folder = Path(word)
    if not is_dataset(folder):
        data = data_of(word)
        images = data.train if data else open_images("generated", open_stored(folder), classes, by_name=True)
        return images, (), (PLAIN_TEMPLATE,)
    shards = ShardDataset(folder)
    if shards.class_ids != classes.labels.ids:
        raise UserError(
            f"{folder} was generated for {len(shards.class_ids)} classes, which are not the {len(classes.labels)} of "
            "the real images in this order: name the real images that it was generated for with --against"
        )
    rows = shards.metadata(("prompt", "template", "status")).to_pylist()
    made = [row for row in rows if row["status"] == OK]
    prompts = tuple(row["prompt"] or "" for row in made)
    templates = tuple(sorted({row["template"] for row in made if row["template"] and "{}" in row["template"]}))
    return shards, prompts if all(prompts) else (), templates or (PLAIN_TEMPLATE,)


def _open_generator_images(
    word: str | None, classes: FolderClasses, data_of: DataOf
) -> tuple[ImageSet | None, ImageSet | None]:
    """The images that the generator was trained on, and such of a recipe that it has never seen."""
    if word is None:
        return None, None
    data = data_of(word)
    if data is None:
        return open_images("the generator's training images", open_stored(Path(word)), classes), None
    if data.retrieval is None:
        raise UserError(f"--train-of-generator {word}: this recipe names no images under data.retrieved")
    return data.retrieval, data.choosing


def _load_data(word: str, load: Load) -> StudyData | None:
    """The images of the recipe called `word`, None where it is a folder."""
    return load_data(load(word).data) if is_recipe(word) else None


def _results_folder(dataset: str, out: Path | None) -> Path:
    if is_recipe(dataset):
        return out or Path(f"audit-{file_name(Path(dataset).stem)}")
    source = Path(dataset).resolve()
    return outside(dataset, out or source.parent / f"audit-{file_name(source.name)}")


def outside(dataset: str, out: Path) -> Path:
    """Return `out`, the folder of results.

    Raises:
        UserError: It lies inside the dataset.
    """
    if out.resolve().is_relative_to(Path(dataset).resolve()):
        raise UserError(f"--out {out} lies inside the dataset {dataset}: results go to a folder outside it")
    return out
