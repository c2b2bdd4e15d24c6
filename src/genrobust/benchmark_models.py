"""What a benchmark's --models name: a recipe's arms, checkpoints, folders of checkpoints, any other classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genrobust.checkpoints import CheckpointInfo, is_checkpoint, read_checkpoint_info
from genrobust.classifiers import is_timm_folder
from genrobust.config import ArmConfig
from genrobust.data import REAL, digest
from genrobust.errors import UserError
from genrobust.evaluate.existing import Existing, open_checkpoint, open_existing
from genrobust.recipe import is_recipe
from genrobust.study import Study


@dataclass(frozen=True, slots=True)
class Named:
    """A model by its name: those of the same name are checkpoints of one. `open` may train it first."""

    name: str
    open: Callable[[], Existing]


def named_models(words: Sequence[str], study_of: Callable[[str], Study]) -> list[Named]:
    """The models that `words` name, each ``PLACE`` or ``NAME=PLACE``, in their order; a recipe's are not trained yet.

    A place is a recipe (each arm a model of so many seeds, the reference first), a checkpoint's folder, a folder of
    such (a model for each way in which they were trained), or what else `open_classifier` opens, such as a name of
    timm's. Raises UserError for anything else, and for two checkpoints in a folder that nothing tells apart.
    """
    if not words:
        raise UserError("name one model or more with --models: a recipe, a checkpoint, or a name of timm's")
    return [model for word in words for model in _named(word, study_of)]


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


def _named(word: str, study_of: Callable[[str], Study]) -> Iterator[Named]:
    name, equals, place = word.partition("=")
    if not equals or Path(word).exists():
        name, place = "", word
    folder = Path(place)
    if is_recipe(place):
        if name:
            raise UserError(f"--models {word}: a recipe's models are called as its arms are: leave out {name}=")
        study = study_of(place)
        for arm in sorted(study.recipe.arms, key=lambda arm: arm.name != study.recipe.reference):
            yield from (Named(arm.name, partial(_of_arm, study, arm, seed)) for seed in study.recipe.seeds)
    elif is_checkpoint(folder):
        yield _opened(name or _trained_on(read_checkpoint_info(folder)) or folder.name, open_checkpoint(folder))
    elif folder.is_dir() and not is_timm_folder(folder):
        names = _told_apart(folder)
        yield from (_opened(name or names[sub], open_checkpoint(sub)) for sub in names)
    else:
        yield _opened(name or (folder.resolve().name if folder.exists() else place), open_existing(place))


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
