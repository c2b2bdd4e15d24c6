"""The command benchmark: existing classifiers on a generated dataset and on the matching real images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrobust.classifiers import predict_sets
from genrobust.core import ImageSet, LabelSpace, UserError, file_name, local_folder, some_of
from genrobust.data import (
    ShardDataset,
    classes_of,
    is_dataset,
    open_images,
    open_stored,
    readable_names,
    relabeled,
    require_outside,
)
from genrobust.study import Studies, named_models, open_all, predicted_by, recipe_and_name
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
class NamedSet:
    """One of the two sets by its name, and all classes that its labels index.

    `caveat` says what a model or a setting may have seen of these very images.
    """

    name: str
    images: ImageSet
    classes: LabelSpace
    caveat: str = ""


def run_benchmark(
    models: Sequence[str],
    on: str,
    studies: Studies,
    real: str | None = None,
    out: Path | None = None,
    device: str = "auto",
    labels: Path | None = None,
) -> tuple[Benchmarked, dict[str, Path]]:
    """Score `models` on the generated set `on` and on real images of the same classes, and write the page.

    Classes are matched by name; logits are restricted to those that both sets have.

    Args:
        models: Models as `named_models` takes them, like the file `labels` of the names of their classes.
        on: The folder of a generated dataset, class folders, or RECIPE:DATASET, which is generated where it is missing.
        studies: Opens what names a recipe.
        real: A recipe, whose clean test set is taken, RECIPE:SET for another test set or the images to choose by, or
            a folder; by default the recipe of `on`.
        out: The folder of the page and the predictions; by default ``benchmarks/NAME`` beside the studies, where NAME
            is that of both sets.

    Returns what was measured, and the files by name.

    Raises:
        UserError: A set or model cannot be opened, both sets are one, classes do not match, `out` lies inside the
            dataset, or what is missing may not be made.
    """
    if real is not None and Path(real).resolve() == Path(on).resolve():
        raise UserError(f"--on and --real are one path, {on}: name real images of the same classes with --real")
    dataset, recipe, drawn = studies.dataset(on), recipe_and_name(on)[0], None
    if dataset is None:
        generated = _open_folder(Path(on))
    elif studies.recipe(recipe).filter_of(dataset.name) is None:
        drawn = studies.open(recipe).graph.generate(dataset.name)
    else:
        raise UserError(f"--on {on}: this dataset has a filter; a benchmark takes every image: name one without")
    real_set, named = _open_real(real or recipe, studies), named_models(models, studies, labels)
    studies.make([drawn, *(model.makes for model in named)])
    if dataset is not None:
        generated = replace(_open_folder(dataset.folder), name=f"{studies.recipe(recipe).name}:{dataset.name}")
    name = file_name(f"{generated.name}, {real_set.name}")
    folder = out or local_folder(studies.out) / "benchmarks" / name
    require_outside({"--on": Path(on)}, [folder])
    (made, others), classes, left_out = _match_classes(generated, real_set)
    opened = open_all(named)
    asked = {predicted_by(model): model for same in opened.values() for model in same}
    studies.say(f"asking {', '.join(opened)}")
    sets = {"generated": made, "real": others}
    predicted = predict_sets(folder / "predictions", asked, sets, classes, BATCH_SIZE, device)
    answers = {
        model: [(of["generated"], of["real"]) for of in (predicted[predicted_by(checkpoint)] for checkpoint in same)]
        for model, same in opened.items()
    }
    result = benchmark(answers, (made.styles, others.styles), others.groups or others.pictures)
    preparations = {checkpoint.preparation for checkpoint in asked.values()}
    caveats = filter(None, (generated.caveat, real_set.caveat))
    notes = (*caveats, *_notes(result, left_out, preparations))
    benchmarked = Benchmarked(generated.name, real_set.name, made, others, classes, result, notes)
    return benchmarked, write_benchmark_page(benchmarked, folder)


def _open_real(word: str, studies: Studies) -> NamedSet:
    if not word:
        raise UserError("name real test images of the same classes with --real: a folder, or a recipe that has some")
    recipe, name = recipe_and_name(word)
    if not recipe:
        return _open_folder(Path(word))
    data = studies.open(recipe).data
    sets = data.tests | ({} if data.shifted_val is None else {data.shifted_val.name: data.shifted_val})
    name = data.clean if word == recipe else name
    if name not in sets:
        raise UserError(f"--real {word}: no test set {name!r}; there are {', '.join(sets)}")
    caveat = CHOSEN_ON if sets[name] is data.shifted_val else ""
    return NamedSet(f"{studies.recipe(recipe).name}:{name}", sets[name], data.labels, caveat)


def _open_folder(path: Path) -> NamedSet:
    """A generated dataset, or images in class folders, or in whatever else holds images by class."""
    name = path.resolve().name
    if is_dataset(path):
        shards = ShardDataset(path)
        return NamedSet(name, shards, shards.label_space(), "" if shards.is_val else SEEN)
    stored = open_stored(path)
    folders = classes_of(stored)
    names = readable_names(folders.labels.label_names)
    shown = (replace(c, name=names[c.label_name]) for c in folders.labels.classes)
    return NamedSet(name, open_images(path.name, stored, folders), LabelSpace(tuple(shown), shared_prompts=True))


def _match_classes(generated: NamedSet, real: NamedSet) -> tuple[list[ImageSet], LabelSpace, list[str]]:
    """Both sets over the classes of which both have images, those classes, and the names of the others."""
    sides = (generated, real)
    present = [{side.classes.ids[label] for label in np.unique(side.images.labels)} for side in sides]
    names = {c.id: c.label_name for side in sides for c in side.classes.classes}
    labels = [c for c in generated.classes.classes if c.id in present[0] & present[1]]
    if len(labels) < 2:
        theirs = (some_of(sorted(names[id] for id in ids)) or "none" for ids in present)
        raise UserError(f"the two sets have fewer than two classes in common: {'; '.join(theirs)}")
    space = LabelSpace(tuple(labels), shared_prompts=True)
    number = {id: label for label, id in enumerate(space.ids)}
    sets = [relabeled(side.images, np.array([number.get(id, -1) for id in side.classes.ids])) for side in sides]
    return list(sets), space, sorted(names[id] for id in present[0] ^ present[1])


def _notes(result: Benchmark, left_out: Sequence[str], preparations: set[str]) -> Iterator[str]:
    if len(result.styles) > 1:
        if not result.by_style:
            yield "No style is known to be in both sets, so the drop may be one of style, too."
        elif alone := [style or "unknown" for style in result.styles if style not in result.by_style]:
            yield f"Styles that are not known to be in both sets are in no drop within styles: {some_of(alone)}."
    if left_out:
        yield f"Classes with images in one of the sets alone are left out ({len(left_out)}): {some_of(left_out)}."
    if len(preparations) > 1:
        ways = ". ".join(sorted(preparations))
        yield f"Models prepare images in {len(preparations)} ways, each as it was trained: {ways}."
