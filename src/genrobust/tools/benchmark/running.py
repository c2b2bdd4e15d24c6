"""The command benchmark: existing classifiers on a generated dataset and on the matching real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from genrobust.classifiers import OpenClassifier, predict_sets
from genrobust.core import (
    ImageSet,
    LabelSpace,
    Predictions,
    Subset,
    UserError,
    digest,
    file_name,
    local_folder,
    some_of,
)
from genrobust.data import ShardDataset, classes_of, is_dataset, open_images, open_stored, readable_names
from genrobust.study import Stage, Studies, Study, check_outside, named_models, open_all, predicted_by, recipe_and_name
from genrobust.tools.benchmark.page import Benchmarked, write_benchmark_page
from genrobust.tools.benchmark.scoring import Benchmark, benchmark as score

Say = Callable[[str], None]
BATCH_SIZE = 128  # where no recipe says it


@dataclass(frozen=True, slots=True)
class NamedSet:
    """One of the two sets as it was named: `classes` are all that its labels index, and `open` opens it.

    `seen` says that a model may have trained on these very images, `chosen_on` that settings may have been chosen on
    them, `of_several` that it was named among the sets of a recipe. `makes` generates what is missing.
    """

    name: str
    classes: LabelSpace
    open: Callable[[], ImageSet]
    study: Study | None = None
    seen: bool = False
    chosen_on: bool = False
    of_several: bool = False
    makes: Stage | None = None


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
        out: The folder of the page and the predictions; by default ``benchmarks/NAME`` beside the studies. NAME is that
            of the generated set, with that of the real one unless this is the clean test set of the same recipe.

    Returns what was measured, and the files by name.

    Raises:
        UserError: A set or model cannot be opened, both sets are one, classes do not match, `out` lies inside the
            dataset, or what is missing may not be made.
    """
    if real is not None and Path(real).resolve() == Path(on).resolve():
        raise UserError(f"--on and --real are one path, {on}: name real images of the same classes with --real")
    generated = _open_generated(on, studies)
    real_images = _open_real(real, generated, studies)
    folder = check_outside(
        on, out or local_folder(studies.out) / "benchmarks" / file_name(_name(generated, real_images))
    )
    named = named_models(models, studies, labels)
    studies.make([generated.makes, *(model.makes for model in named)])
    sets, classes, left_out = _match_classes(generated, real_images)
    opened = open_all(named)
    recipes = [side.study.recipe for side in (generated, real_images) if side.study]
    batch_size = recipes[0].evaluate.batch_size if recipes else BATCH_SIZE
    answers = dict(_predictions(opened, sets, classes, folder / "predictions", studies.say, batch_size, device))
    groups = sets["real"].groups
    result = score(answers, sets["generated"].styles, groups=groups, real_styles=sets["real"].styles)
    prepared = {m.preparation for of_name in opened.values() for m in of_name}
    notes = (*_notes_of_styles(result), *_notes(result, generated, real_images, left_out, prepared))
    made = Benchmarked(generated.name, real_images.name, sets["generated"], sets["real"], classes, result, notes)
    return made, write_benchmark_page(made, folder)


def _name(generated: NamedSet, real: NamedSet) -> str:
    """Return the name of a benchmark: that of both sets, or of the generated one if the other is its own recipe's."""
    is_own = real.study is not None and real.study is generated.study and not real.of_several
    return generated.name if is_own else f"{generated.name}, {real.name}"


def _predictions(
    opened: Mapping[str, Sequence[OpenClassifier]],
    sets: Mapping[str, ImageSet],
    classes: LabelSpace,
    folder: Path,
    say: Say,
    batch_size: int,
    device: str,
) -> Iterator[tuple[str, list[tuple[Predictions, Predictions]]]]:
    """The predictions on both sets of each checkpoint of each model; a model must know all `classes`."""
    for model in [model for of_name in opened.values() for model in of_name]:
        model.columns(classes)
    for name, of_name in opened.items():
        say(f"asking {name}" + (f", {len(of_name)} checkpoints" if len(of_name) > 1 else ""))
        named = {predicted_by(model): model for model in of_name}
        predicted = predict_sets(folder, named, sets, classes, batch_size, device).values()
        yield name, [(predictions["generated"], predictions["real"]) for predictions in predicted]


def _open_generated(word: str, studies: Studies) -> NamedSet:
    recipe, dataset = recipe_and_name(word)
    if recipe and word != recipe:
        study = studies.open(recipe)
        if study.recipe.filter_of(dataset) is not None:
            raise UserError(f"--on {word}: this dataset has a filter; a benchmark takes every image: name one without")
        made = study.dataset(dataset)
        name, makes = f"{Path(recipe).stem}:{dataset}", study.graph.generate(dataset)
        seen, images = made.generate.split != "val", partial(study.generate, dataset)
        return NamedSet(name, study.data.labels, images, study, seen, makes=makes)
    if recipe:
        if datasets := studies.recipe(recipe).datasets:
            raise UserError(
                f"--on {word}: name one of the recipe's datasets, such as {word}:{next(reversed(datasets))}"
            )
        raise UserError(
            f"--on {word}: the recipe has no datasets: add one that no arm mixes, such as datasets: {{generated-val: "
            "{generate: {split: val, per_class: 10}}}, and name it"
        )
    folder = Path(word)
    if not is_dataset(folder):
        return _open_folder(word)
    shards = ShardDataset(folder)
    val = all(f"{shards.class_ids[label]}-val-" in key for key, label in zip(shards.keys, shards.labels, strict=True))
    return NamedSet(folder.resolve().name, shards.label_space(), lambda: shards, seen=not val)


def _open_real(word: str | None, generated: NamedSet, studies: Studies) -> NamedSet:
    recipe, name = recipe_and_name(word or "")
    if word is not None and word != recipe:  # a set of it, or a folder
        return _open_test_set(word, studies.open(recipe), name) if recipe else _open_folder(word)
    study = generated.study if word is None else studies.open(recipe)
    if study is None:
        raise UserError("name real test images of the same classes with --real: a folder, or a recipe that has some")
    data = study.data
    return NamedSet(data.clean, data.labels, lambda: data.tests[data.clean], study)


def _open_test_set(word: str, study: Study, name: str) -> NamedSet:
    """The test set `name` of a study, or its images to choose by."""
    data = study.data
    sets = {data.shifted_val.name: data.shifted_val} if data.shifted_val else {}
    images = (sets | data.tests).get(name)
    if images is None:
        known = ", ".join([*data.tests, *sets])
        raise UserError(f"--real {word}: no test set {name!r}; there are {known}")
    called = f"{Path(word.removesuffix(f':{name}')).stem}:{name}"
    return NamedSet(called, data.labels, lambda: images, study, chosen_on=images is data.shifted_val, of_several=True)


def _open_folder(word: str) -> NamedSet:
    """Images in class folders, or in whatever else holds images by class."""
    path = Path(word)
    place = open_stored(path)
    classes = classes_of(place)
    names = readable_names(classes.labels.label_names)
    shown = (replace(c, name=names[c.label_name]) for c in classes.labels.classes)
    labels = LabelSpace(tuple(shown), shared_prompts=True)
    return NamedSet(path.resolve().name, labels, lambda: open_images(path.name, place, classes))


def _match_classes(generated: NamedSet, real: NamedSet) -> tuple[dict[str, ImageSet], LabelSpace, list[str]]:
    """Both sets over the classes of which both have images, those classes, and the names of the others."""
    sides = [(side, side.open()) for side in (generated, real)]
    present = [{side.classes.ids[label] for label in np.unique(images.labels)} for side, images in sides]
    known = (real if real.study else generated).classes.classes
    labels = [c for c in known if c.id in present[0] & present[1]]
    names = {c.id: c.label_name for side, _ in sides for c in side.classes.classes}
    if len(labels) < 2:
        examples = [", ".join(sorted(names[id] for id in ids)[:3]) or "none" for ids in present]
        raise UserError(
            f"{generated.name} and {real.name} have images of fewer than two classes in common: those of the first are "
            f"{examples[0]} ..., those of the second {examples[1]} ..."
        )
    space = LabelSpace(tuple(labels), shared_prompts=True)
    sets = [_restrict(images, side.classes.ids, space.ids) for side, images in sides]
    left_out = sorted(names[id] for id in present[0] ^ present[1])
    return dict(zip(("generated", "real"), sets, strict=True)), space, left_out


def _restrict(images: ImageSet, ids: Sequence[str], wanted: Sequence[str]) -> ImageSet:
    """The images whose class is among `wanted`, labeled by their place there; `ids` are the classes of the labels."""
    if tuple(ids) == tuple(wanted):
        return images
    to = np.array([wanted.index(id) if id in wanted else -1 for id in ids])
    chosen = Subset(images, np.flatnonzero(to[images.labels] >= 0))
    chosen.labels = to[chosen.labels]
    if chosen.accepted is not None:
        chosen.accepted = tuple(tuple(int(to[i]) for i in row if to[i] >= 0) for row in chosen.accepted)
    chosen.fingerprint = digest([chosen.fingerprint, list(ids), list(wanted)])
    return chosen


def _notes_of_styles(result: Benchmark) -> Iterator[str]:
    """Yield what must be known of the styles of both sets, where the style of any image is known."""
    if not result.styles.keys() - {""}:
        return
    alone = [style for style in result.styles if style not in result.shared]
    generated, real = map(sum, zip(*result.styles.values(), strict=True))
    if not result.shared:
        yield "No style is known to be in both sets, so the drop may be one of style, too."
    elif any(n[0] * real != n[1] * generated for n in result.styles.values()):
        yield (
            "Styles have other shares in one set than in the other, so the drop over all images is one of style, too. "
            "The drop within styles compares images of a style with images of the same style."
        )
    if alone:
        examples = some_of(_sizes_of(style, *result.styles[style]) for style in alone)
        yield f"Styles of one set alone, and images of unknown style, are in no drop within styles: {examples}."
    scores = result.models[0]
    single = [style for style in result.shared if not getattr(scores.styles[style].real, "groups", 0)]
    if scores.scores.real.groups and single:
        yield (
            f"In these styles all real images are of one group: {some_of(single)}. Intervals there are over "
            "images, and say nothing of other groups."
        )


def _sizes_of(style: str, generated: int, real: int) -> str:
    sides = ((generated, "generated"), (real, "real"))
    return f"{style or 'unknown'} ({', '.join(f'{n:,} {side}' for n, side in sides if n)})"


def _notes(
    result: Benchmark, generated: NamedSet, real: NamedSet, left_out: Sequence[str], prepared: set[str]
) -> Iterator[str]:
    if generated.seen:
        yield (
            "The generated images are no validation part (split: val), so a model that trained on generated images may "
            "have trained on these: its accuracy on them then says nothing."
        )
    if real.chosen_on:
        yield (
            f"{real.name} is the set that settings of the generator may be chosen on: generated images may look more "
            "like it than like other real images."
        )
    if of_real := result.models[0].scores.real.groups:
        yield (
            f"The real images come in {of_real} groups, such as those of one designer or photographer: intervals of "
            "their accuracy and of drops are for another draw of the groups."
        )
    if any(model.checkpoints == 1 for model in result.models):
        yield (
            "The interval of a model of one checkpoint is not over trainings: it says how this checkpoint did, and "
            "claims nothing of others that are trained alike."
        )
    if left_out:
        yield f"Classes with images in one of the sets alone are left out ({len(left_out)}): {some_of(left_out)}."
    if len(prepared) > 1:
        yield f"Models prepare images in {len(prepared)} ways, each as it was trained: {'. '.join(sorted(prepared))}."
