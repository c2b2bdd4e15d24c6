"""What --models name: a recipe's arms, checkpoints, folders of checkpoints, any other classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from genrobust.classifiers import (
    CheckpointInfo,
    Existing,
    is_checkpoint,
    is_timm_folder,
    open_checkpoint,
    open_existing,
    read_checkpoint_info,
)
from genrobust.core import REAL, UserError, digest
from genrobust.recipe import ArmConfig, Recipe, is_recipe
from genrobust.study.study import Study


@dataclass(frozen=True, slots=True)
class Named:
    """A model by its name: those of the same name are checkpoints of one. `open` may train it first.

    `takes_labels` says that it is no checkpoint, which knows its classes: a file may name them.
    """

    name: str
    open: Callable[[], Existing]
    takes_labels: bool = False


def named_models(words: Sequence[str], study_of: Callable[[str], Study], labels: Sequence[str] = ()) -> list[Named]:
    """The models that `words` name, each ``PLACE`` or ``NAME=PLACE``, in their order; a recipe's are not trained yet.

    A place is a recipe (each arm a model of so many seeds, the reference first), ``RECIPE:ARM``, a checkpoint's folder,
    a folder of such (a model for each way in which they were trained), or what else `open_classifier` opens, such as a
    name of timm's. `labels` are files of class names as that takes them, each ``NAME=FILE`` for the models of that
    name, or ``FILE`` for all that take some. Raises UserError for anything else, and for two checkpoints in a folder
    that nothing tells apart.
    """
    if not words:
        raise UserError("name one model or more with --models: a recipe, a checkpoint, or a name of timm's")
    files = _label_files(labels)
    models = [model for word in words for model in _named(word, study_of, files)]
    takers = {model.name for model in models if model.takes_labels}
    for name, file in files.items():
        if name not in takers and (name or not takers):
            raise UserError(
                f"--labels {name and f'{name}='}{file}: there is no model {f'{name!r} ' if name else ''}whose classes "
                "it could name: checkpoints know theirs; name any other with --models NAME=MODEL"
            )
    return models


def open_all(models: Sequence[Named]) -> dict[str, list[Existing]]:
    """The checkpoints of each model by its name; raises UserError where one comes twice under the same name."""
    found: dict[str, list[Existing]] = {}
    for model in models:
        opened = model.open()
        of_name = found.setdefault(model.name, [])
        twice = next((o for o in of_name if (o.weights, o.prepared) == (opened.weights, opened.prepared)), None)
        if twice is not None:
            raise UserError(f"--models: {twice.place} and {opened.place} are the same checkpoint of {model.name!r}")
        of_name.append(opened)
    return found


def _label_files(words: Sequence[str]) -> dict[str, Path]:
    """The files of class names by the model that they are for, "" for all."""
    found: dict[str, Path] = {}
    for name, file in map(_name_and_rest, words):
        if name in found:
            raise UserError(f"--labels {file}: {found[name]} is given for {name or 'every model'} already")
        found[name] = Path(file)
    return found


def _name_and_rest(word: str) -> tuple[str, str]:
    """``NAME=PLACE`` as both; "" and the place for a place alone."""
    name, equals, place = word.partition("=")
    return (name, place) if equals and not Path(word).exists() else ("", word)


def _named(word: str, study_of: Callable[[str], Study], labels: Mapping[str, Path]) -> Iterator[Named]:
    name, place = _name_and_rest(word)
    folder = Path(place)
    recipe, of_recipe = _recipe_and_arm(place)
    if recipe:
        if name:
            raise UserError(f"--models {word}: a recipe's models are called as its arms are: leave out {name}=")
        study = study_of(recipe)
        arms = [arm_called(study.recipe, of_recipe)] if of_recipe else study.recipe.arms
        for arm in sorted(arms, key=lambda arm: arm.name != study.recipe.reference):
            yield from (Named(arm.name, partial(_of_arm, study, arm, seed)) for seed in study.recipe.seeds)
    elif is_checkpoint(folder):
        yield _opened(name or _trained_on(read_checkpoint_info(folder)) or folder.name, open_checkpoint(folder))
    elif folder.is_dir() and not is_timm_folder(folder):
        names = _told_apart(folder)
        yield from (_opened(name or names[sub], open_checkpoint(sub)) for sub in names)
    else:
        called = name or (folder.resolve().name if folder.exists() else place)
        model = open_existing(place, labels.get(called, labels.get("")))
        yield replace(_opened(called, model), takes_labels=True)


def trained(word: str, study_of: Callable[[str], Study]) -> Path | None:
    """The checkpoint that ``RECIPE:ARM`` names, of the recipe's first seed: trained now where it is not there yet.

    None for a word that names no recipe; raises UserError for one without an arm, or with one that it has not.
    """
    recipe, arm = _recipe_and_arm(word)
    if not recipe:
        return None
    study = study_of(recipe)
    if not arm:
        names = ", ".join(one.name for one in study.recipe.arms)
        raise UserError(f"{word} is a recipe of several classifiers: write {word}:ARM, one of {names}")
    return study.checkpoint(arm_called(study.recipe, arm), study.recipe.seeds[0])


def names_recipe(word: str) -> bool:
    """Whether `word` is ``RECIPE`` or ``RECIPE:ARM``."""
    return _recipe_and_arm(word)[0] != ""


def arm_called(recipe: Recipe, name: str) -> ArmConfig:
    """The arm of that name; raises UserError where the recipe has none."""
    names = [arm.name for arm in recipe.arms]
    if name not in names:
        raise UserError(f"the recipe {recipe.name} has no arm {name!r}; the arms are {', '.join(names)}")
    return recipe.arm(name)


def _recipe_and_arm(word: str) -> tuple[str, str]:
    """The recipe in ``RECIPE`` or ``RECIPE:ARM``, and the arm; "" for what is not there."""
    if is_recipe(word):
        return word, ""
    recipe, colon, arm = word.rpartition(":")
    return (recipe, arm) if colon and is_recipe(recipe) else ("", "")


def _opened(name: str, model: Existing) -> Named:
    return Named(name, lambda: model)


def _of_arm(study: Study, arm: ArmConfig, seed: int) -> Existing:
    return open_checkpoint(study.checkpoint(arm, seed), study.recipe.evaluate)


def _told_apart(folder: Path) -> dict[Path, str]:
    """The checkpoints in `folder` with the names of their models, those trained on real images alone first.

    A model is called by what its checkpoints trained on, and by what else its training had otherwise than others.
    """
    infos = {sub: read_checkpoint_info(sub) for sub in sorted(folder.iterdir()) if is_checkpoint(sub)}
    if not infos:
        raise UserError(f"{folder} holds no checkpoint, and no folder of one: name another, or train some first")
    facts = {sub: _facts(info) for sub, info in infos.items()}
    names = {}
    for sub, info in infos.items():
        base = _trained_on(info) or "unknown"
        rivals = [facts[other] for other in infos if (_trained_on(infos[other]) or "unknown") == base]
        own = [f"{key} {value}" for key, value in facts[sub].items() if any(r.get(key) != value for r in rivals)]
        names[sub] = ", ".join([base, *own])
    taken: dict[str, Path] = {}
    for sub, name in names.items():
        other = taken.setdefault(f"{name} {infos[sub].training.get('seed')}", sub)
        if other != sub:
            raise UserError(
                f"{folder}: nothing tells {other.name} from {sub.name}, both of {name!r} with seed "
                f"{infos[sub].training.get('seed')}: give each a name with --models NAME={sub}"
            )
    return dict(sorted(names.items(), key=lambda item: ("+" in item[1], not item[1].startswith("real"), item[1])))


def _trained_on(info: CheckpointInfo) -> str:
    """The sources of a checkpoint's training images, real ones first: "real+generated"; "" where they are not known."""
    sources = info.training.get("counts") or {}
    return "+".join(sorted(sources, key=lambda s: (s != REAL, s)))


def _facts(info: CheckpointInfo) -> dict[str, Any]:
    """What a checkpoint's training was like beyond its seed, by name, as text."""
    counts: dict[str, int] = info.training.get("counts") or {}
    config: dict[str, Any] = info.training.get("config") or {"architecture": info.architecture}
    return {"images": f"{sum(counts.values()):,}"} | {
        key.replace("_", " "): value if isinstance(value, str | int | float) else digest(value, 6)
        for key, value in sorted(config.items())
    }
