"""The classifiers that --models names: arms of recipes, checkpoints, and any others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

from genrobust.classifiers import OpenClassifier, PredictedBy, open_checkpoint, open_classifier, predict_sets
from genrobust.core import ImageSet, Predictions, UserError, digest
from genrobust.data import ShardDataset
from genrobust.leaks import ContentsOf, NearCopiesOf
from genrobust.store import local_folder
from genrobust.study.census import Census
from genrobust.study.removals import NEAR_COPIES_UP_TO
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.seen import Seen, seen_before, seen_by_run, seen_by_spec
from genrobust.study.studies import Studies
from genrobust.study.study import Study
from genrobust.study.training_runs import recipe_and_name


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A checkpoint and the name of its model. Checkpoints with one name belong to one model.

    Attributes:
        name: The name of the model.
        checkpoint: The name of the checkpoint among others of the model, such as its seed.
        spec: The model as the user named it.
        open: Opens the checkpoint.
        find_seen: Finds the images that it trained on.
        makes: The step that makes it. None if it is no arm of a recipe.
        recipe: The recipe of the arm. "" if it is no arm.
    """

    name: str
    checkpoint: str
    spec: str
    open: Callable[[], OpenClassifier]
    find_seen: Callable[[], Seen]
    makes: ClassifierStep | None = None
    recipe: str = ""


def named_models(specs: Sequence[str], studies: Studies, labels: Path | None = None) -> list[Named]:
    """Return the checkpoints that `specs` name, in their order. Arms are not trained yet.

    Args:
        specs: Each ``MODEL`` or ``NAME=MODEL``. A model is a recipe (each arm is a model with a checkpoint for each
            seed, the reference first), ``RECIPE:ARM``, or a spec for `open_classifier`, such as the folder of a
            checkpoint or the name of a timm model.
        labels: The file of class names for `open_classifier`. Arms of recipes do not use it.
    """
    models = [model for spec in specs for model in _models_of(spec, studies, labels)]
    recipes: dict[str, set[str]] = defaultdict(set)
    for model in models:
        recipes[model.name].add(model.recipe)
    named: list[Named] = []
    for model in models:
        if model.recipe and len(recipes[model.name]) > 1:
            model = replace(model, name=f"{model.recipe}: {model.name}")
        named.append(model)
    return named


def open_all(models: Sequence[Named]) -> dict[str, list[OpenClassifier]]:
    """Open the checkpoints of each model, by its name."""
    classifiers: dict[str, list[OpenClassifier]] = {}
    for model in models:
        opened = model.open()
        same_name = classifiers.setdefault(model.name, [])
        fields = ("name",) if model.recipe else ("weights_hash", "preparation")
        for other in same_name:
            if all(getattr(other, field) == getattr(opened, field) for field in fields):
                raise UserError(f"--models: {other.name} and {opened.name} are the same checkpoint of {model.name!r}")
        same_name.append(opened)
    return classifiers


def predictions_of(
    study: Study, models: Sequence[str], studies: Studies, labels: Path | None = None
) -> Iterator[tuple[str, Mapping[str, Predictions]]]:
    """Yield a name for each checkpoint of `models` and its predictions on every test set of `study`.

    The name is the model's. If the model has several checkpoints, it also tells which one. Logits are of the study's
    classes only, matched by id. `models`, `studies` and `labels` are as for `named_models`.
    """
    named = named_models(models, studies, labels)
    studies.make([model.makes for model in named])
    classifiers = open_all(named)
    opened = [classifier for of_name in classifiers.values() for classifier in of_name]
    for classifier in opened:
        classifier.columns(study.data.labels)
    _say_preparations(classifiers, studies)
    context = study.context
    seen = {model: _seen_outside(model, study) for model in named}
    for copies in _describe_copies(seen, context.own_tests, context.census.contents, context.near_copies):
        studies.say(f"warning: {copies}")
    for note in note_unknown(named):
        studies.say(note)
    predictors = {predicted_by(classifier): classifier for classifier in opened}
    evaluate = study.recipe.evaluate
    predictions = predict_sets(
        study.out / "predictions",
        predictors,
        context.test_sets,
        study.data.labels,
        evaluate.batch_size,
        study.recipe.device,
    )
    names = _checkpoint_names(named)
    for name, classifier in zip(names, opened, strict=True):
        yield name, predictions[predicted_by(classifier)]


def warn_of_seen(models: Sequence[Named], tests: Sequence[tuple[str, ImageSet]], studies: Studies) -> list[str]:
    """Describe the copies of images in `tests`, which are compared, that trained `models` saw or that two tests share.

    Each test is a name and its images. Near copies are searched among real images. For generated ones
    `genrobust audit` does it.
    """
    census = Census(local_folder(studies.out))
    seen = {model: model.find_seen() for model in models}
    learned = {images.fingerprint: len(images) for each in seen.values() for images in each.real.values()}
    lines: list[str] = []
    for name, images in tests:
        total = sum(learned.values()) + len(images)
        is_searched = learned and not isinstance(images, ShardDataset)
        if is_searched and total > NEAR_COPIES_UP_TO:
            lines.append(f"near copies of training images are not looked for among {total:,} images")
            is_searched = False
        near_copies_of = census.near_copies if is_searched else None
        lines += _describe_copies(seen, {name: images}, census.contents, near_copies_of)
    for (name, images), (other_name, other) in combinations(tests, 2):
        shared = Seen({name: images}).copies_of({other_name: other}, census.contents, None)
        for copies in shared:
            count = f"{len(copies.originals):,} of the {copies.total:,} images of {name}"
            lines.append(f"{count} are also in {other_name}: their accuracies say nothing about a difference")
    return lines


def note_unknown(models: Sequence[Named]) -> list[str]:
    """Name the models whose training images are not recorded, in one sentence. Empty if all are known."""
    unknown: dict[str, None] = {}
    for model in models:
        names = model.find_seen().describe_unknown()
        if names:
            unknown[model.name if names == model.spec else f"{model.name} ({names})"] = None
    if not unknown:
        return []
    return [f"Training images are not recorded, and may be among the test images: {', '.join(unknown)}."]


def predicted_by(model: OpenClassifier) -> PredictedBy:
    """Return the identity of a model's predictions. It does not depend on the name that a command gives the model."""
    return PredictedBy(Path(model.name).resolve().name, digest([model.weights_hash, model.preparation]))


def _describe_copies(
    seen: Mapping[Named, Seen],
    tests: Mapping[str, ImageSet],
    contents_of: ContentsOf,
    near_copies_of: NearCopiesOf | None,
) -> list[str]:
    """Describe the copies of images in `tests` among the images that each model has seen."""
    lines = [
        f"{model.name}: {copies}"
        for model, of_model in seen.items()
        for copies in of_model.copies_of(tests, contents_of, near_copies_of)
    ]
    return list(dict.fromkeys(lines))


def _seen_outside(model: Named, study: Study) -> Seen:
    """Return what a model trained on, without the images of `study`, which hold no copies of its test images."""
    step = model.makes
    if step is not None and step.context.recipe.data == study.recipe.data:
        return seen_before(step)
    return model.find_seen()


def _say_preparations(classifiers: Mapping[str, Sequence[OpenClassifier]], studies: Studies) -> None:
    """Log how each model prepares images, and whether the models differ in it."""
    prepared = {(name, classifier.preparation): None for name, same in classifiers.items() for classifier in same}
    for name, preparation in prepared:
        studies.say(f"{name}: {preparation}")
    if len({preparation for _, preparation in prepared}) > 1:
        studies.say("these models prepare images otherwise: their accuracies compare only in part")


def _checkpoint_names(named: Sequence[Named]) -> list[str]:
    """Return a name for each checkpoint, in the order of `open_all`."""
    groups: dict[str, list[Named]] = {}
    for model in named:
        groups.setdefault(model.name, []).append(model)
    names: list[str] = []
    for name, models in groups.items():
        if len(models) == 1:
            names.append(name)
        else:
            names += [f"{name}, {model.checkpoint}" for model in models]
    return names


def _name_and_rest(spec: str) -> tuple[str, str]:
    """Split ``NAME=MODEL``. The name is "" for a model alone, such as a URL or an arm with ``=`` in its name."""
    name, equals, rest = spec.partition("=")
    is_model = "://" in name or recipe_and_name(name)[1] or Path(spec).exists()
    return (name, rest) if equals and not is_model else ("", spec)


def _models_of(spec: str, studies: Studies, labels: Path | None) -> Iterator[Named]:
    name, model = _name_and_rest(spec)
    recipe, arm_name = recipe_and_name(model)
    if recipe and name:
        raise UserError(f"--models {spec}: a recipe's models are called as its arms are: leave out {name}=")
    if recipe:
        yield from _checkpoints_of(recipe, arm_name, studies)
        return
    if not model or spec.startswith("="):
        raise UserError(f"--models {spec!r}: write a classifier, or NAME=CLASSIFIER")
    path = Path(model)
    file_name = path.resolve().name if path.exists() else model
    # Open it now, so that mistakes are found before trainings.
    opened = open_classifier(model, labels)
    yield Named(name or file_name, file_name, model, lambda: opened, partial(seen_by_spec, model))


def _checkpoints_of(recipe: str, arm_name: str, studies: Studies) -> Iterator[Named]:
    """Yield the runs of one arm, or of all arms of a recipe with the reference first."""
    study = studies.open(recipe)
    arms = [study.recipe.arm(arm_name)] if arm_name else study.recipe.arms
    # False sorts first.
    arms = sorted(arms, key=lambda arm: arm.name != study.recipe.reference)
    runs = [run for arm in arms for run in study.runs(arm.name)]
    for run in runs:
        step = study.plan.classifier(run)
        open_run = partial(open_checkpoint, step.folder, study.recipe.evaluate)
        yield Named(
            run.of,
            f"seed {run.seed}",
            f"{recipe}:{run.of}",
            open_run,
            partial(seen_by_run, step),
            makes=step,
            recipe=str(Path(recipe)),
        )
