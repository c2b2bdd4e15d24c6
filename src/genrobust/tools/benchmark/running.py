"""The command benchmark: existing classifiers on a generated dataset and on the matching real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from genrobust.classifiers import predict_sets
from genrobust.core import ImageSet, LabelSpace, Predictions, UserError, file_name, local_folder, some_of
from genrobust.data import ShardDataset, classes_of, is_dataset, open_images, open_stored, readable_names, relabeled
from genrobust.study import Stage, Studies, Study, check_outside, named_models, open_all, predicted_by, recipe_and_name
from genrobust.tools.benchmark.page import Benchmarked, write_benchmark_page
from genrobust.tools.benchmark.scoring import ALL, Benchmark, benchmark as score

BATCH_SIZE = 128  # where no recipe says it
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
    """One of the two sets as it was named: `classes` are all that its labels index, and `open` opens it.

    `caveat` says what a model or a setting may have seen of these very images. `makes` generates what is missing.
    """

    name: str
    classes: LabelSpace
    open: Callable[[], ImageSet]
    study: Study | None = None
    caveat: str = ""
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
        out: The folder of the page and the predictions; by default ``benchmarks/NAME`` beside the studies, where NAME
            is that of both sets.

    Returns what was measured, and the files by name.

    Raises:
        UserError: A set or model cannot be opened, both sets are one, classes do not match, `out` lies inside the
            dataset, or what is missing may not be made.
    """
    if real is not None and Path(real).resolve() == Path(on).resolve():
        raise UserError(f"--on and --real are one path, {on}: name real images of the same classes with --real")
    generated = _open_generated(on, studies)
    real_images = _open_real(real, generated, studies)
    name = file_name(f"{generated.name}, {real_images.name}")
    folder = check_outside(on, out or local_folder(studies.out) / "benchmarks" / name)
    named = named_models(models, studies, labels)
    studies.make([generated.makes, *(model.makes for model in named)])
    sets, classes, left_out = _match_classes(generated, real_images)
    opened = open_all(named)
    recipes = [side.study.recipe for side in (generated, real_images) if side.study]
    batch_size = recipes[0].evaluate.batch_size if recipes else BATCH_SIZE
    for model in [model for of_name in opened.values() for model in of_name]:
        model.columns(classes)  # a model must know all of them
    answers: dict[str, list[tuple[Predictions, Predictions]]] = {}
    for called, of_name in opened.items():
        studies.say(f"asking {called}" + (f", {len(of_name)} checkpoints" if len(of_name) > 1 else ""))
        asked = {predicted_by(model): model for model in of_name}
        predicted = predict_sets(folder / "predictions", asked, sets, classes, batch_size, device).values()
        answers[called] = [(predictions["generated"], predictions["real"]) for predictions in predicted]
    real_set = sets["real"]
    result = score(answers, sets["generated"].styles, groups=real_set.groups, real_styles=real_set.styles)
    prepared = {m.preparation for of_name in opened.values() for m in of_name}
    notes = (*filter(None, (generated.caveat, real_images.caveat)), *_notes(result, left_out, prepared))
    made = Benchmarked(generated.name, real_images.name, sets["generated"], sets["real"], classes, result, notes)
    return made, write_benchmark_page(made, folder)


def _open_generated(word: str, studies: Studies) -> NamedSet:
    recipe, dataset = recipe_and_name(word)
    if recipe:
        study = studies.open(recipe)
        if word == recipe:
            known = ", ".join(study.recipe.datasets)
            add = "it has none: add one that no arm mixes, generated-val: {generate: {split: val, per_class: 10}}"
            raise UserError(f"--on {word}: name one of the recipe's datasets, {word}:NAME; {known or add}")
        if study.recipe.filter_of(dataset) is not None:
            raise UserError(f"--on {word}: this dataset has a filter; a benchmark takes every image: name one without")
        made = study.dataset(dataset)
        is_val, images = made.generate.split == "val", partial(study.generate, dataset)
        name, makes = f"{Path(recipe).stem}:{dataset}", study.graph.generate(dataset)
        return NamedSet(name, study.data.labels, images, study, "" if is_val else SEEN, makes)
    folder = Path(word)
    if not is_dataset(folder):
        return _open_folder(word)
    shards = ShardDataset(folder)
    is_val = all(
        f"{shards.class_ids[label]}-val-" in key for key, label in zip(shards.keys, shards.labels, strict=True)
    )
    return NamedSet(folder.resolve().name, shards.label_space(), lambda: shards, caveat="" if is_val else SEEN)


def _open_real(word: str | None, generated: NamedSet, studies: Studies) -> NamedSet:
    recipe, name = recipe_and_name(word or "")
    if word and not recipe:
        return _open_folder(word)
    study = studies.open(recipe) if recipe else generated.study
    if study is None:
        raise UserError("name real test images of the same classes with --real: a folder, or a recipe that has some")
    data = study.data
    if word in (None, recipe):
        return NamedSet(data.clean, data.labels, lambda: data.tests[data.clean], study)
    sets = data.tests | ({} if data.shifted_val is None else {data.shifted_val.name: data.shifted_val})
    if name not in sets:
        raise UserError(f"--real {word}: no test set {name!r}; there are {', '.join(sets)}")
    caveat = CHOSEN_ON if sets[name] is data.shifted_val else ""
    return NamedSet(f"{Path(recipe).stem}:{name}", data.labels, lambda: sets[name], study, caveat)


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
        theirs = (some_of(sorted(names[id] for id in ids)) or "none" for ids in present)
        raise UserError(f"the two sets have fewer than two classes in common: {'; '.join(theirs)}")
    space = LabelSpace(tuple(labels), shared_prompts=True)
    number = {id: label for label, id in enumerate(space.ids)}
    sets = [relabeled(images, np.array([number.get(id, -1) for id in side.classes.ids])) for side, images in sides]
    left_out = sorted(names[id] for id in present[0] ^ present[1])
    return dict(zip(("generated", "real"), sets, strict=True)), space, left_out


def _notes(result: Benchmark, left_out: Sequence[str], prepared: set[str]) -> Iterator[str]:
    groups = next(part.groups for part in result.parts if part.scope == ALL)
    if result.styles.keys() - {""}:  # the style of some image is known
        yield from _notes_of_styles(result, groups)
    if groups:
        yield (
            f"The real images come in {groups} groups, such as those of one designer or photographer: intervals of "
            "their accuracy and of drops are for another draw of the groups."
        )
    if 1 in result.models.values():
        yield (
            "The interval of a model of one checkpoint is not over trainings: it says how this checkpoint did, and "
            "claims nothing of others that are trained alike."
        )
    if left_out:
        yield f"Classes with images in one of the sets alone are left out ({len(left_out)}): {some_of(left_out)}."
    if len(prepared) > 1:
        yield f"Models prepare images in {len(prepared)} ways, each as it was trained: {'. '.join(sorted(prepared))}."


def _notes_of_styles(result: Benchmark, groups: int) -> Iterator[str]:
    """Yield what must be known of the styles of both sets, of which the real one has so many `groups`."""
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
    single = [part.style for part in result.parts if part.style in result.shared and not part.groups]
    if groups and single:
        yield (
            f"In these styles all real images are of one group: {some_of(single)}. Intervals there are over "
            "images, and say nothing of other groups."
        )


def _sizes_of(style: str, generated: int, real: int) -> str:
    sides = ((generated, "generated"), (real, "real"))
    return f"{style or 'unknown'} ({', '.join(f'{n:,} {side}' for n, side in sides if n)})"
