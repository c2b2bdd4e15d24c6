"""What a study makes, and how much of it is done: for `genrobust show`, and before anything long begins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrobust.core import RETRIEVED, RETRIEVED_BY_CLASS, ZERO_SHOT, UserError
from genrobust.recipe import GENERATED, MixturePart
from genrobust.study.rates import of_evaluating, of_generator, of_packing, of_training, of_zero_shot, place_of
from genrobust.study.study import Study
from genrobust.study.training_runs import TrainingRun


@dataclass(frozen=True, slots=True)
class Step:
    """A job of work of a study: what it makes, where, how much, and how much is done.

    `left` is the number of images that are still to go through, in so many independent `jobs`, and `of` what their rate
    depends on (see `rates`). `key` says which work it is: a dataset's name, a cell, or the zero-shot CLIP.
    """

    stage: str
    what: str
    folder: Path | None
    total: int
    done: int
    unit: str
    left: int
    of: str
    jobs: int = 1
    key: str | TrainingRun | None = None

    @property
    def sizes(self) -> list[tuple[int, str]]:
        """Each independent job that is left: its images, and what their rate depends on."""
        return [(math.ceil(self.left / self.jobs), self.of)] * self.jobs if self.left else []


def steps(study: Study) -> Iterator[Step]:
    """The jobs of `study`, in order, without doing any of them."""
    place = place_of(study.recipe)
    yield from _learned(study)
    pending = {name: dataset.missing() for name, dataset in study.datasets.items()}
    for name, dataset in study.datasets.items():
        if not dataset.brought:
            total, missing = len(dataset.plan), pending[name]
            done, jobs = total - missing, math.ceil(missing / dataset.generate.shard_size)
            yield Step("generate", name, dataset.folder, total, done, "images", missing, dataset.rate_key, jobs, name)
    if any(pending.values()):
        pending |= dict.fromkeys((RETRIEVED, RETRIEVED_BY_CLASS), 1)  # they are matched to what is generated
    for name in study.datasets:
        if not pending[name] and not _is_filtered(study, name, pending):
            pending[name] = 1
    trainings: list[Step] = []
    cropped: dict[str, bool] = {}  # the sources of random crops, and whether a training that is missing reads them
    images, unseen, classifiers = 0, 0, 0
    for cell in study.runs():
        parts, train = cell.parts, cell.train
        known = not any(pending.get(part.source) for part in parts)
        mixture = study.training.mixture(parts, train) if known else None
        folder = study.training.folder(mixture, train, cell.seed) if mixture is not None else None
        total = train.steps_for(len(mixture) if mixture is not None else _to_be_mixed(study, parts))
        done = total if folder is not None and _is_trained(folder) else 0
        left = (total - done) * train.batch_size
        of = of_training(train, place)
        trainings.append(Step("train", cell.name, folder, total, done, "steps", left, of, key=cell))
        if train.crop == "random-resized":
            cropped |= {part.source: cropped.get(part.source, False) or left > 0 for part in parts}
        of_tests = sum(len(study.data.tests[name]) for name in study.tests)
        unseen_here = of_tests if folder is None else study.evaluation.missing(folder)
        images, classifiers = images + of_tests, classifiers + (folder is None or unseen_here > 0)
        unseen += unseen_here
    yield from _packed(study, pending, cropped)
    yield from trainings
    of = of_evaluating(study.recipe.train, study.recipe.evaluate, place)
    yield Step("evaluate", "every classifier", None, images, images - unseen, "images", unseen, of, classifiers)
    if study.recipe.zero_shot is not None:
        total, unseen = sum(len(study.data.tests[name]) for name in study.tests), study.evaluation.missing(None)
        of = of_zero_shot(study.recipe.zero_shot, place)
        yield Step("evaluate", ZERO_SHOT, None, total, total - unseen, "images", unseen, of, key=ZERO_SHOT)


def _packed(study: Study, pending: Mapping[str, int], cropped: Mapping[str, bool]) -> Iterator[Step]:
    """The images that crops are cut from, and the copies of them; none is left where no training will read them."""
    from genrobust.train import to_pack

    folder = study.training.packed
    if folder is None:
        return
    for source, is_wanted in cropped.items():
        known = not pending.get(source)
        total = len(study.images(source)) if known else len(_labels_of(study, source))
        missing = to_pack(study.images(source), folder) if known else total
        left, of = missing if is_wanted else 0, of_packing(source in study.datasets)
        yield Step("pack", source, folder, total, total - missing, "images", left, of)


def _to_be_mixed(study: Study, parts: Iterable[MixturePart]) -> int:
    """How many images a mixture will have once all are made, if no filter leaves any out and retrieval finds all."""
    from genrobust.train import prefix

    return sum(len(prefix(_labels_of(study, part.source), part.per_class, part.fraction)) for part in parts)


def _labels_of(study: Study, source: str) -> np.ndarray:
    if source in (RETRIEVED, RETRIEVED_BY_CLASS):
        return _labels_of(study, next(iter(study.datasets)))
    if source not in study.datasets or study.datasets[source].brought:
        return np.asarray(study.images(source).labels)
    plan = study.datasets[source].plan
    return np.tile(np.arange(len(plan.labels)), plan.per_class)


def planned(study: Study) -> Iterator[Step]:
    """What `study` generates, as far as the recipe alone says: for ImageNet, whose classes are known without a disk.

    Raises UserError where they are read from the data, or from a list that is wrong.
    """
    from genrobust.data import label_space

    recipe = study.recipe
    if recipe.data.source != "imagenet":
        raise UserError("the classes of this study are known from its images alone")
    classes = len(label_space(recipe.data))
    for name in recipe.generated_sets():
        if name == GENERATED and recipe.data.generated is not None:
            continue
        generator, generate = recipe.generation(name)
        count = classes * generate.per_class
        yield Step("generate", name, None, count, 0, "images", count, of_generator(generator, place_of(recipe)))


def _is_filtered(study: Study, name: str, pending: Mapping[str, int]) -> bool:
    """Whether it is known what the filter of a dataset keeps, or it has none."""
    rule, recipe = study.recipe.filter_of(name), study.recipe
    if rule is None:
        return True
    if rule.clip is not None:
        from genrobust.core import find_clip

        return study.filter_path(name, rule, find_clip(rule.clip)).exists()
    judge = recipe.arm(rule.arm)
    if any(pending.get(part.source) for part in judge.mixture):
        return False
    train = recipe.train_of(judge)
    folder = study.training.folder(study.training.mixture(judge.mixture, train), train, recipe.seeds[0])
    return _is_trained(folder) and study.filter_path(name, rule, folder).exists()


def _learned(study: Study) -> Iterator[Step]:
    """The generators that are trained first."""
    found = [(name, learned) for name, d in study.datasets.items() if not d.brought and (learned := d.learned)]
    for name, learned in {learned.folder: (name, learned) for name, learned in found}.values():
        config = learned.config
        done = config.steps if learned.is_done else 0
        left = (config.steps - done) * config.batch_size
        yield Step(learned.stage, learned.what, learned.folder, config.steps, done, "steps", left, learned.of, key=name)


def _is_trained(folder: Path) -> bool:
    from genrobust.classifiers import fetch_checkpoint, is_checkpoint

    fetch_checkpoint(folder)
    return is_checkpoint(folder)
