"""The record of a study for a report, beside its scores: what was trained, how long it took, on what, and caveats."""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

import numpy as np

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import (
    RETRIEVED,
    RETRIEVED_BY_CLASS,
    ArmRecord,
    Claim,
    ImageSet,
    LabelSpace,
    MissedPicture,
    Picture,
    StudyData,
    StudyRecord,
    Summary,
    cores,
    count,
    hardware,
    some_of,
)
from genrobust.data import LINE_SOURCE, ShardDataset
from genrobust.recipe import ArmConfig, recipe_yaml
from genrobust.report import thumbnail_bytes
from genrobust.study.estimates import Rates
from genrobust.study.graph import Graph
from genrobust.study.provenance import Makers, describe_makers
from genrobust.study.results.initial_weights import describe_starts, name_starts
from genrobust.study.results.scoring import StudyScores
from genrobust.study.seen import describe_starts_seen
from genrobust.study.stages.stage import Stage, rows
from genrobust.study.stages.train import Train
from genrobust.study.training_runs import TrainingRun

PER_SOURCE = 7  # images of each class from each source at the most: one a style
WITHOUT_STYLES = 3  # of them where a class has no more styles
PICTURES = 2400  # in all, some 1.5 kB each: a report is one file; where there are more, classes are left out evenly


def record_of(graph: Graph, scores: StudyScores, command: str, makers: Sequence[Makers]) -> StudyRecord:
    """Return the record of a finished study, which `command` and `makers` made."""
    recipe, context = graph.recipe, graph.context
    return StudyRecord(
        title=recipe.title or recipe.name,
        question=recipe.question,
        command=command,
        recipe_yaml=recipe_yaml(recipe),
        date=datetime.date.today().isoformat(),
        summary=scores.summary,
        arms=tuple(_arm_record(graph, arm) for arm in recipe.arms),
        stages=context.times.records,
        pictures=tuple(gallery(context.data.labels, {name: graph.images.open(name) for name in graph.pictured})),
        environment=environment(context.device, recipe.threads, context.executor.workers()),
        baselines=tuple(scores.baselines),
        notes=(*_notes(graph, scores), *scores.notes),
        not_generated=recipe.not_generated,
        claims=tuple(Claim(**claim.model_dump()) for claim in recipe.claims),
        qualities=() if recipe.quality is None else tuple(graph.describe(recipe.quality).found()),
        curves=scores.curves,
        answer=recipe.answer or "",
        class_names=context.data.labels.names,
        missed=tuple(_missed_pictures(context.data, scores.summary)),
        made_by=describe_makers(makers),
        warnings=tuple(_warnings(graph)),
        cells=tuple(cells for cells in scores.cells if cells.absent in scores.summary.subsets),
        on_cores=context.device == "cpu",
        starts=name_starts(recipe),
    )


def _arm_record(graph: Graph, arm: ArmConfig) -> ArmRecord:
    """Describe what an arm trained on, how well it knows the validation images, and what it takes to make."""
    planned = [graph.checkpoints.of_arm(arm.name, seed) for seed in graph.recipe.seeds]
    trainings = [read_checkpoint_info(each.folder).training for each in planned]
    accuracies = [training["best_val_top1"] for training in trainings]
    run, train, mixture = planned[0].run, planned[0].settings, planned[0].mixture()
    steps = train.steps_for(len(mixture))
    return ArmRecord(
        run.of,
        dict(mixture.counts),
        train.network_in_words(run.alpha),
        train.augmented,
        steps,
        train.batch_size,
        drawing={part.source: part.drawing_in_words for part in run.parts if part.drawing},
        val_top1=None if None in accuracies else float(np.mean(accuracies)),  # None without validation images
        seconds=device_seconds(graph, run),
        started_from=train.origin_arm or "",
        trained={str(p.run.seed): training.get("run", "") for p, training in zip(planned, trainings, strict=True)},
    )


def device_seconds(graph: Graph, run: TrainingRun) -> dict[str, float]:
    """Return the seconds of each stage, by name, in which one core makes all that `run` mixes and then trains it.

    On a GPU, they are those of the device.
    The training of a classifier that `run` starts from counts, if a study trains it. Whatever other arms share is
    counted in full: so much the run costs by itself. Images that are retrieved to match generated ones
    need not be generated. Nothing is returned where the rate of some job is not known.
    """
    seconds: dict[str, float] = {}
    for row in rows(list(dict.fromkeys(_stages_of(graph, run)))):
        stage = row.stage
        for job in row.jobs:
            rate = Rates(graph.context.out).known(stage.name, stage.worker, stage.cost(job))
            if rate is None:
                return {}
            cores = stage.threads if graph.context.device == "cpu" else 1
            seconds[stage.name] = seconds.get(stage.name, 0) + cores * job.total * job.each / rate
    return seconds


def _stages_of(graph: Graph, run: TrainingRun) -> Iterator[Stage]:
    """Yield the stages that make what `run` needs, and it; some may come twice, or list the same jobs."""
    if (origin := graph.checkpoints.of(run).origin) is not None:
        yield from _stages_of(graph, origin.run)
    for source in (part.source for part in run.parts if part.source not in (RETRIEVED, RETRIEVED_BY_CLASS)):
        for made in graph.make(source):
            yield from made.order()
    yield Train(graph.checkpoints, [run.tuned])


def _notes(graph: Graph, scores: StudyScores) -> Iterator[str]:
    """Yield where the lines come from, where not from models, how networks started, and what retrieval found."""
    if scores.summary.lines and not scores.baselines:
        yield f"Baseline lines: {LINE_SOURCE}; intervals are over images and the lines' own errors."
    yield from describe_starts(graph)
    yield from graph.images.reports()


def _warnings(graph: Graph) -> Iterator[str]:
    """Yield what makes the answer doubtful, whatever its numbers, such as a class that a filter emptied."""
    notices = [*graph.context.notices, *describe_starts_seen(graph.checkpoints), *graph.images.doubts()]
    yield from (f"Warning: {notice}." for notice in notices)
    for name in graph.recipe.generated_sets():
        if isinstance(images := graph.images.unfiltered(name).images, ShardDataset) and (
            copies := images.describe_copies()
        ):
            yield f"Warning: of the source {name}, {copies}."
    names = graph.context.data.labels.names
    for arm in graph.recipe.arms:
        learned = {*np.unique(graph.checkpoints.of_arm(arm.name).mixture().labels).tolist()}
        if missing := [name for label, name in enumerate(names) if label not in learned]:
            yield f"Warning: {arm.name} trains on no image of {count(len(missing), 'class')}: {some_of(missing)}."


def gallery(labels: LabelSpace, sources: Mapping[str, ImageSet], most: int = PICTURES) -> Iterator[Picture]:
    """Yield about `most` pictures of the classes from each of `sources`, one of each style first."""
    chosen = {origin: _one_of_each_style(images, len(labels)) for origin, images in sources.items()}
    stride = max(1, math.ceil(sum(len(few) for by_class in chosen.values() for few in by_class) / most))
    for label in range(0, len(labels), stride):
        for origin, images in sources.items():
            for index in chosen[origin][label]:
                yield Picture(
                    data=thumbnail_bytes(images.image(index)),
                    origin=origin,
                    class_name=labels.names[label],
                    style=images.styles[index],
                    caption=images.keys[index],
                )


def _one_of_each_style(images: ImageSet, classes: int) -> list[list[int]]:
    """The images of each class that are shown."""
    order, by_class = np.argsort(images.labels, kind="stable"), []
    for members in np.split(order, np.searchsorted(images.labels[order], range(1, classes))):
        firsts = list({images.styles[i]: i for i in reversed(members.tolist())}.values())[::-1]
        others = [i for i in members[: PER_SOURCE + 1].tolist() if i not in firsts]
        chosen = (firsts + others)[: max(len(firsts), WITHOUT_STYLES)][:PER_SOURCE]
        by_class.append(sorted(chosen, key=lambda i: images.styles[i]))
    return by_class


def _missed_pictures(data: StudyData, summary: Summary) -> Iterator[MissedPicture]:
    """Yield the images that every classifier gets wrong, each with what most of them say."""
    names = data.labels.names
    for missed in summary.missed:
        image = thumbnail_bytes(data.tests[missed.test_set].image(missed.index))
        predicted = f"{names[missed.said]} ({100 * missed.share:.0f} %)"
        yield MissedPicture(image, missed.test_set, names[missed.label], predicted, missed.key)


def environment(device: str, threads: int, workers: int) -> dict[str, str]:
    """Describe the machine that writes the report, by name: no host name, no path."""
    computes = f" ({hardware(device).why})" if device == "cpu" else ""
    return {
        "report by": f"genrobust {metadata.version('genrobust')}",
        "Python": platform.python_version(),
        "machine": f"{count(cores(), 'CPU core')}, {platform.machine()}, {platform.system()}",
        "device": f"{device}{computes}; {count(workers, 'worker')} of {count(threads, 'thread')}",
    }
