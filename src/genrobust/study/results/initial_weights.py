"""Notes of a report on what the networks that arms start from have learned from, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genrobust.classifiers import is_checkpoint, read_checkpoint_info
from genrobust.core import EMBEDDED
from genrobust.recipe import Recipe
from genrobust.study.plan import StudyPlan
from genrobust.study.steps.classifier import ClassifierStep

FOREIGN = (
    "A network that may have seen the styles of the test sets is no fair comparison with one that has not: compare "
    "these arms with each other."
)


def name_starts(recipe: Recipe) -> str:
    """Describe in one sentence which arms start from which pretrained network, and which from scratch."""
    arms_by_start: dict[str, list[str]] = {}
    for arm in recipe.arms:
        train = recipe.train_of(arm)
        if train.is_pretrained:
            start = f"from the pretrained network {train.init}"
        else:
            start = "from scratch (not pretrained)"
        if train.origin_arm is not None:
            start = f"from the classifier of the arm {train.origin_arm}"
        arms_by_start.setdefault(start, []).append(arm.name)
    if len(arms_by_start) == 1:
        return f"All arms start {next(iter(arms_by_start))}."
    parts = [f"{', '.join(arms)} {start}" for start, arms in arms_by_start.items()]
    return f"Arms start: {'; '.join(parts)}."


def describe_starts(plan: StudyPlan) -> Iterator[str]:
    """Yield a note on each network that arms start from: these arms, and its own training images."""
    starts: dict[str, list[ClassifierStep]] = {}
    for planned in map(plan.arm, plan.recipe.arm_names):
        train = planned.run.train
        if train.is_pretrained:
            starts.setdefault(train.init, []).append(planned)
    for start, begun in starts.items():
        arms = ", ".join(dict.fromkeys(planned.run.of for planned in begun))
        networks = [(planned.open_initial(), planned.run.train) for planned in begun]
        prepared = dict.fromkeys(note for of, train in networks if of for note in of.preparation_notes(train))
        first = begun[0]
        words = [f"{start}: arms that start from it are {arms}.{_one_seed(first)} It was trained on {_seen_by(first)}."]
        if plan.recipe.learned_elsewhere(first.run.of):
            words.append(FOREIGN)
        yield " ".join([*words, *prepared])


def _one_seed(planned: ClassifierStep) -> str:
    """Note that all seeds start from one seed of another arm. "" if there is only one seed."""
    origin = planned.origin
    seeds = planned.context.recipe.seeds
    if origin is None or len(seeds) < 2:
        return ""
    return f" All seeds start from its seed {origin.run.seed}: intervals do not cover how its own trainings differ."


def _seen_by(planned: ClassifierStep) -> str:
    """Describe the training images of the network that a training starts from."""
    init = planned.run.train.init
    origin = planned.origin
    if origin is not None:
        run = origin.run
        images = f"images of the study {origin.context.recipe.name}: {' and '.join(part.source for part in run.parts)}"
        if run.train.is_pretrained:
            return f"{images}; before that, on {_seen_by(origin)}"
        return images
    if init == f"clip:{EMBEDDED}":
        return "wild, icons in all styles of the shifted test sets by other designers"
    if is_checkpoint(Path(init)):
        return _seen_by_checkpoint(read_checkpoint_info(Path(init)).training)
    return f"the data that its name tells ({init})"


def _seen_by_checkpoint(training: Mapping[str, Any]) -> str:
    """Describe the training images of a checkpoint by its manifest."""
    config = training.get("config")
    init = config.get("init") if isinstance(config, Mapping) else None
    sources = training.get("counts")
    study = training.get("study")
    if not sources:
        images = "images that it does not name"
    elif study:
        images = f"images of the study {study}: {' and '.join(sources)}"
    else:
        images = f"{' and '.join(sources)} of a study that it does not name"
    return f"{images}, from {init}" if init else images
