"""The command benchmark: scores existing classifiers on generated images and on real images of the same classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrobust.classifiers import OpenClassifier, predict_sets
from genrobust.core import ImageSet, LabelSpace, Predictions, UserError, file_name, some_of
from genrobust.data import (
    ShardDataset,
    classes_of,
    is_dataset,
    open_images,
    open_stored,
    readable_names,
    relabeled,
    require_no_images,
    require_outside,
)
from genrobust.store import local_folder
from genrobust.study import (
    Named,
    Studies,
    named_models,
    note_unknown,
    open_all,
    predicted_by,
    recipe_and_name,
    warn_of_seen,
)
from genrobust.tools.benchmark.page import Benchmarked, write_benchmark_page
from genrobust.tools.benchmark.scoring import Benchmark, benchmark

BATCH_SIZE = 128
SEEN = (
    "The generated images are no validation part (split: val), so a model that trained on generated images may have "
    "trained on these: its accuracy on them then says nothing."
)
CHOSEN_ON = (
    "The real images are the set that settings of the generator may be chosen on: generated images may look more like "
    "it than like other real images."
)


@dataclass(frozen=True, slots=True)
class BenchmarkJob:
    """The options of a benchmark.

    Attributes:
        models: Specs for `named_models`.
        on: The folder of a generated dataset, class folders, or RECIPE:DATASET, which is generated if it is missing.
        real: A recipe for its clean test set, RECIPE:SET for another test set or the images to choose by, or a folder.
            By default the recipe of `on`.
        out: The folder of the page and the predictions. By default ``benchmarks/NAME`` in the folder of the studies;
            NAME is made of the names of both sets.
        device: The device that predicts.
        labels: The file of class names for `named_models`.
    """

    models: Sequence[str]
    on: str
    real: str | None = None
    out: Path | None = None
    device: str = "auto"
    labels: Path | None = None


@dataclass(frozen=True, slots=True)
class NamedSet:
    """One of the two image sets, its name and all classes that its labels index.

    `caveat` says whether models or settings may have seen these images.
    """

    name: str
    images: ImageSet
    classes: LabelSpace
    caveat: str = ""


@dataclass(frozen=True, slots=True)
class MatchedSets:
    """Both sets, restricted to the `classes` of which both have images. `left_out` names the other classes."""

    generated: ImageSet
    real: ImageSet
    classes: LabelSpace
    left_out: list[str]

    @property
    def by_side(self) -> dict[str, ImageSet]:
        """Both sets by what predictions call them."""
        return {"generated": self.generated, "real": self.real}


def run_benchmark(job: BenchmarkJob, studies: Studies) -> tuple[Benchmarked, dict[str, Path]]:
    """Score models on a generated set and on real images of the same classes, and write the page.

    Classes are matched by name. Logits are restricted to the classes of both sets. `studies` opens recipes.

    Returns:
        What was measured, and the files by name.

    Raises:
        UserError: A set or model cannot be opened, both sets are one, classes do not match, the output folder is in the
            dataset, or what is missing may not be made.
    """
    named = named_models(job.models, studies, job.labels)
    generated, real = _open_sets(job, named, studies)
    name = file_name(f"{generated.name}, {real.name}")
    folder = job.out or local_folder(studies.out) / "benchmarks" / name
    require_outside({"--on": Path(job.on), "--real": Path(job.real or job.on)}, [folder])
    require_no_images(folder)
    matched = _match_classes(generated, real)
    classifiers = open_all(named)
    studies.say(f"asking {', '.join(classifiers)}")
    answers = _predict(classifiers, matched, folder, job.device)
    groups = matched.real.groups or matched.real.pictures
    result = benchmark(answers, (matched.generated.styles, matched.real.styles), groups)
    preparations = {classifier.preparation for same in classifiers.values() for classifier in same}
    warnings = tuple(warn_of_seen(named, [(each.name, each.images) for each in (generated, real)], studies))
    caveats = filter(None, (generated.caveat, real.caveat))
    notes = (*caveats, *note_unknown(named), *_notes(result, matched.left_out, preparations))
    benchmarked = Benchmarked(
        generated.name,
        real.name,
        matched.generated,
        matched.real,
        matched.classes,
        result,
        notes,
        warnings,
    )
    return benchmarked, write_benchmark_page(benchmarked, folder)


def _open_sets(job: BenchmarkJob, named: Sequence[Named], studies: Studies) -> tuple[NamedSet, NamedSet]:
    """Open the generated and the real set, once missing images are generated and missing models are trained."""
    if job.real is not None and Path(job.real).resolve() == Path(job.on).resolve():
        raise UserError(f"--on and --real are one path, {job.on}: name real images of the same classes with --real")
    dataset = studies.dataset(job.on)
    recipe, _ = recipe_and_name(job.on)
    makes = [model.makes for model in named]
    if dataset is None:
        generated = _open_folder(Path(job.on))
        real = _open_real(job.real or "", studies)
        studies.make(makes)
        return generated, real
    if studies.recipe(recipe).filter_of(dataset.name) is not None:
        raise UserError(f"--on {job.on}: this dataset has a filter; a benchmark takes every image: name one without")
    real = _open_real(job.real or recipe, studies)
    studies.make([dataset, *makes])
    name = f"{studies.recipe(recipe).name}:{dataset.name}"
    return replace(_open_folder(dataset.folder), name=name), real


def _open_real(word: str, studies: Studies) -> NamedSet:
    """Open the real set that `word` names: a recipe, RECIPE:SET or a folder."""
    if not word:
        raise UserError("name real test images of the same classes with --real: a folder, or a recipe that has some")
    recipe, name = recipe_and_name(word)
    if not recipe:
        return _open_folder(Path(word))
    data = studies.open(recipe).data
    sets = dict(data.tests)
    if data.shifted_val is not None:
        sets[data.shifted_val.name] = data.shifted_val
    if word == recipe:
        name = data.clean
    if name not in sets:
        raise UserError(f"--real {word}: no test set {name!r}; there are {', '.join(sets)}")
    caveat = CHOSEN_ON if sets[name] is data.shifted_val else ""
    return NamedSet(f"{studies.recipe(recipe).name}:{name}", sets[name], data.labels, caveat)


def _open_folder(path: Path) -> NamedSet:
    """Open a generated dataset, class folders, or anything else that holds images by class."""
    name = path.resolve().name
    if is_dataset(path):
        shards = ShardDataset(path)
        return NamedSet(name, shards, shards.label_space(), "" if shards.is_val else SEEN)
    stored = open_stored(path)
    folders = classes_of(stored)
    names = readable_names(folders.labels.label_names)
    shown = tuple(replace(label, name=names[label.label_name]) for label in folders.labels.classes)
    return NamedSet(name, open_images(path.name, stored, folders), LabelSpace(shown, shared_prompts=True))


def _match_classes(generated: NamedSet, real: NamedSet) -> MatchedSets:
    """Restrict both sets to the classes of which both have images."""
    ids_generated, ids_real = _present_ids(generated), _present_ids(real)
    names = {label.id: label.label_name for side in (generated, real) for label in side.classes.classes}
    shared = [label for label in generated.classes.classes if label.id in ids_generated & ids_real]
    if len(shared) < 2:
        generated_names = some_of(sorted(names[id] for id in ids_generated)) or "none"
        real_names = some_of(sorted(names[id] for id in ids_real)) or "none"
        raise UserError(f"the two sets have fewer than two classes in common: {generated_names}; {real_names}")
    classes = LabelSpace(tuple(shared), shared_prompts=True)
    left_out = sorted(names[id] for id in ids_generated ^ ids_real)
    return MatchedSets(_with_classes(generated, classes), _with_classes(real, classes), classes, left_out)


def _present_ids(side: NamedSet) -> set[str]:
    """Return the ids of the classes that have images."""
    return {side.classes.ids[label] for label in np.unique(side.images.labels)}


def _with_classes(side: NamedSet, classes: LabelSpace) -> ImageSet:
    """Return the images of `classes`, with their labels in that order."""
    numbers = {id: label for label, id in enumerate(classes.ids)}
    return relabeled(side.images, np.array([numbers.get(id, -1) for id in side.classes.ids]))


def _predict(
    classifiers: Mapping[str, Sequence[OpenClassifier]], matched: MatchedSets, folder: Path, device: str
) -> dict[str, list[tuple[Predictions, Predictions]]]:
    """Return the predictions of each model's checkpoints on both sets."""
    predictors = {predicted_by(classifier): classifier for same in classifiers.values() for classifier in same}
    room = folder / "predictions"
    predictions = predict_sets(room, predictors, matched.by_side, matched.classes, BATCH_SIZE, device)
    answers: dict[str, list[tuple[Predictions, Predictions]]] = {}
    for model, same in classifiers.items():
        of_model = [predictions[predicted_by(classifier)] for classifier in same]
        answers[model] = [(by_side["generated"], by_side["real"]) for by_side in of_model]
    return answers


def _notes(result: Benchmark, left_out: Sequence[str], preparations: set[str]) -> Iterator[str]:
    """Yield what must be known to read the metrics right."""
    if len(result.styles) > 1 and not result.by_style:
        yield "No style is known to be in both sets, so the drop may be one of style, too."
    if result.by_style:
        unshared = [style or "unknown" for style in result.styles if style not in result.by_style]
        if unshared:
            yield f"Styles that are not known to be in both sets are in no drop within styles: {some_of(unshared)}."
    if left_out:
        yield f"Classes with images in one of the sets alone are left out ({len(left_out)}): {some_of(left_out)}."
    if len(preparations) > 1:
        ways = ". ".join(sorted(preparations))
        yield f"Models prepare images in {len(preparations)} ways, each as it was trained: {ways}."
