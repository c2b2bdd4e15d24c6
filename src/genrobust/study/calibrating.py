"""How fast this machine does what a study is about to do: a second of the real work, before the first run.

A trial does the work of a stage in a folder that is thrown away, from the real images, and is cut short by what counts
its progress. As many trials run at the same time as the study will have workers, which share the memory's bandwidth.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from genrobust.core import REAL, ZERO_SHOT, GenrobustError, Subset, counting
from genrobust.recipe import DatasetConfig, MixturePart
from genrobust.study.jobs import DoJobs, Job, Work
from genrobust.study.rates import measured_rate, remember_rate
from genrobust.study.study import Study
from genrobust.study.training_runs import TrainingRun
from genrobust.study.work import Step

SECONDS = 1.0  # of work whose speed is measured, once it has warmed up
BATCH = 8  # images drawn at once in a trial: large batches are a tenth faster, and take seconds each on a plain CPU
LARGEST_ON_CPU = 500_000_000  # bytes of weights: a generator beyond it draws for minutes before it tells a rate
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """Work of a stage that is measured for the rate key `of`; `key` is a dataset, a cell, or the zero-shot CLIP."""

    stage: str
    of: str
    key: str | TrainingRun | None


def calibrate(study: Study, steps: Sequence[Step]) -> None:
    """Measure the rates that the unfinished `steps` of `study` depend on and that this machine has not measured yet.

    They are remembered in the study's folder. On a cluster nothing is measured: its nodes may all differ.
    """
    trials = [
        Trial(step.stage, step.of, step.key)
        for step in {(step.stage, step.of): step for step in steps if step.left}.values()
        if step.stage in _WORK and measured_rate(study.out, step.stage, step.of) is None
    ]
    if not trials or not study.executor.here:
        return
    together = min(study.workers, max(step.jobs for step in steps))
    copies = math.ceil(together / len(trials))
    jobs = [Job(trial, f"a trial of {trial.stage}", 1) for _ in range(copies) for trial in trials]
    study.executor.run(Work("measuring this machine", jobs, partial(_measurer, study), "trials"))


def _measurer(study: Study) -> DoJobs:
    """What measures trials of `study`."""

    def measure(trials: Sequence[Trial]) -> None:
        for trial in trials:
            try:
                rate = _rate(partial(_WORK[trial.stage], study, trial.key))
            except GenrobustError as error:  # the study itself will say so, where it matters
                log.debug("no rate of %s: %s", trial.of, error)
            else:
                if rate is not None:
                    remember_rate(study.out, trial.stage, trial.of, rate)

    return measure


class _Enough(BaseException):
    """Ends a trial: no error, so that nobody handles it as one."""


def _rate(work: Callable[[Path], None]) -> float | None:
    """Images a second of `work`, which is given a folder to throw away; None where it counted none."""
    moments: list[tuple[float, int]] = []  # the first is the end of the warm-up

    def count(made: int, note: str | None) -> None:
        if made:
            moments.append((time.monotonic(), made))
            if moments[-1][0] - moments[0][0] >= SECONDS:
                raise _Enough

    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        counting("images", count),
        suppress(_Enough),
    ):
        work(Path(folder))
    if len(moments) > 1:
        return sum(made for _, made in moments[1:]) / (moments[-1][0] - moments[0][0])
    return moments[0][1] / (moments[0][0] - began) if moments else None


def _study_in(folder: Path, study: Study, **changes: object) -> Study:
    """`study` in another folder, with the data that it has read, untracked."""
    other = Study(study.recipe.model_copy(update={"track": (), **changes}), folder)
    other.data = study.data
    return other


def _generate(study: Study, dataset: str, folder: Path) -> None:
    """Draw images of `dataset`; with the base generator, where it is drawn with one that is still to be fine-tuned."""
    from genrobust.generate import weights_bytes

    recipe = study.recipe
    own = recipe.datasets.get(dataset, DatasetConfig())
    generator, generate = recipe.generation(dataset)
    if own.from_scratch or (study.device == "cpu" and weights_bytes(generator) > LARGEST_ON_CPU):
        return
    how = generate.model_copy(update={"batch_size": min(generate.batch_size, BATCH)})
    other = _study_in(folder, study, generator=generator, generate=how, datasets={})
    other.dataset("generated").make(slice(0, 1))


def _train(study: Study, cell: TrainingRun, folder: Path) -> None:
    """Train the network of `cell` on real images: those that are still to be generated take as long."""
    settings = cell.train.model_copy(update={"split_batchnorm": False, "workers": 1})
    other = _study_in(folder, study, data=study.recipe.data.model_copy(update={"packed": False}))
    other.training.train([replace(cell, parts=(MixturePart(source=REAL),), train=settings)])


def _evaluate(study: Study, key: str | None, folder: Path) -> None:
    """Let an untrained classifier, or the zero-shot CLIP, answer on the test sets."""
    from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint

    other = _study_in(folder, study)
    if key == ZERO_SHOT:
        other.evaluation.make([None])
        return
    train, labels = study.recipe.train, study.data.labels
    model = create_classifier(train.architecture, len(labels), train.image_size, train.model_kwargs)
    info = CheckpointInfo(train.architecture, dict(train.model_kwargs), labels.ids, train.image_size, {})
    save_checkpoint(folder / "untrained", model, info)
    other.evaluation.make([folder / "untrained"])


def _learn(study: Study, dataset: str, folder: Path) -> None:
    """Train the generator that `dataset` is drawn with, on one image of each class: encoding all takes longer."""
    _, firsts = np.unique(study.data.train.labels, return_index=True)
    other = _study_in(folder, study)
    other.data = replace(study.data, train=Subset(study.data.train, firsts))
    learned = other.dataset(dataset).learned
    if learned is not None:
        learned.make()


_WORK: Mapping[str, Callable[..., None]] = {
    "generate": _generate,
    "train": _train,
    "evaluate": _evaluate,
    "finetune": _learn,
    "class model": _learn,
}
