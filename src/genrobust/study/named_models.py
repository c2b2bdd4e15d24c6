"""The classifiers that --models names: a recipe's arms, checkpoints, and any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from genrobust.classifiers import (
    OpenClassifier,
    PredictedBy,
    open_checkpoint,
    open_classifier,
    predict_sets,
)
from genrobust.core import Predictions, UserError, digest
from genrobust.study.stages.stage import Stage
from genrobust.study.studies import Studies
from genrobust.study.study import Study
from genrobust.study.training_runs import recipe_and_name


@dataclass(frozen=True, slots=True)
class Named:
    """A model by its name; those of the same name are checkpoints of one.

    `makes` trains that of an arm, before it is opened. `recipe` is that of the arm, "" for other models.
    """

    name: str
    open: Callable[[], OpenClassifier]
    makes: Stage | None = None
    recipe: str = ""


def named_models(specs: Sequence[str], studies: Studies, labels: Path | None = None) -> list[Named]:
    """Return the models that `specs` name, in their order; a recipe's are not trained yet.

    Args:
        specs: Each ``MODEL`` or ``NAME=MODEL``. A model is a recipe (each arm a model of so many seeds, the reference
            first), ``RECIPE:ARM``, or what `open_classifier` opens, such as a checkpoint's folder or a name of timm's.
        labels: The file of class names, as `open_classifier` takes it, of all but the arms of recipes.

    Raises:
        UserError: Anything else.
    """
    models = [model for spec in specs for model in _models_of(spec, studies, labels)]
    recipes = {model.name: {other.recipe for other in models if other.name == model.name} for model in models}
    return [
        replace(m, name=f"{m.recipe}: {m.name}") if m.recipe and recipes[m.name] != {m.recipe} else m for m in models
    ]


def open_all(models: Sequence[Named]) -> dict[str, list[OpenClassifier]]:
    """Open the checkpoints of each model, by its name.

    Raises:
        UserError: A checkpoint comes twice under a name. Of an arm, seeds may have the same weights: a linear probe
            depends on none.
    """
    classifiers: dict[str, list[OpenClassifier]] = {}
    for model in models:
        opened = model.open()
        of_name = classifiers.setdefault(model.name, [])
        identity = attrgetter("name") if model.recipe else attrgetter("weights_hash", "preparation")
        twice = next((other for other in of_name if identity(other) == identity(opened)), None)
        if twice is not None:
            raise UserError(f"--models: {twice.name} and {opened.name} are the same checkpoint of {model.name!r}")
        of_name.append(opened)
    return classifiers


def predictions_of(
    study: Study, models: Sequence[str], studies: Studies, labels: Path | None = None
) -> Iterator[tuple[str, Mapping[str, Predictions]]]:
    """Yield the name of each model and the predictions of each of its checkpoints on every test set of `study`.

    `models`, `studies` and `labels` are as `named_models` takes them. Logits are those of the study's classes alone,
    matched by id.

    Raises:
        UserError: A name is no model, a model may not be trained, or it does not know one of the classes; raised before
            any is loaded.
    """
    named = named_models(models, studies, labels)
    studies.make([model.makes for model in named])
    opened = [(name, m) for name, same in open_all(named).items() for m in same]
    for _, model in opened:
        model.columns(study.data.labels)
    for name, prepared in dict.fromkeys((name, model.preparation) for name, model in opened):
        studies.say(f"{name}: {prepared}")
    if len({model.preparation for _, model in opened}) > 1:
        studies.say("these models prepare images otherwise: their accuracies compare only in part")
    others = {m.recipe: m.makes.context for m in named if m.makes and m.makes.context.recipe.data != study.recipe.data}
    for copies in (copies for other in others.values() for copies in study.context.copies_in(other)):
        studies.say(f"warning: {copies}")
    settings = study.recipe.evaluate.batch_size, study.recipe.device
    of_models = {predicted_by(model): model for _, model in opened}
    made = predict_sets(study.out / "predictions", of_models, study.context.test_sets, study.data.labels, *settings)
    yield from ((name, made[predicted_by(model)]) for name, model in opened)


def predicted_by(model: OpenClassifier) -> PredictedBy:
    """Return what the predictions of a model are named after, whatever a command calls it."""
    return PredictedBy(Path(model.name).resolve().name, digest([model.weights_hash, model.preparation]))


def _name_and_rest(spec: str) -> tuple[str, str]:
    """``NAME=MODEL`` as both; "" and the model for a model alone: also for a URL or an arm with ``=`` in it."""
    name, equals, rest = spec.partition("=")
    is_one = "://" in name or recipe_and_name(name)[1] or Path(spec).exists()
    return (name, rest) if equals and not is_one else ("", spec)


def _models_of(spec: str, studies: Studies, labels: Path | None) -> Iterator[Named]:
    name, model = _name_and_rest(spec)
    recipe, arm_name = recipe_and_name(model)
    if recipe:
        if name:
            raise UserError(f"--models {spec}: a recipe's models are called as its arms are: leave out {name}=")
        study, recipe_name = studies.open(recipe), str(Path(recipe).with_suffix(""))
        arms = [study.recipe.arm(arm_name)] if arm_name else study.recipe.arms
        arms = sorted(arms, key=lambda arm: arm.name != study.recipe.reference)
        runs = [run for arm in arms for run in study.runs(arm.name)]
        makes = study.graph.train(runs)
        for run in runs:
            opens = partial(open_checkpoint, study.graph.checkpoints.of(run).folder, study.recipe.evaluate)
            yield Named(run.of, opens, makes, recipe_name)
    else:
        name = name or (Path(model).resolve().name if Path(model).exists() else model)
        opened = open_classifier(model, labels)  # now: mistakes before trainings
        yield Named(name, lambda: opened)
