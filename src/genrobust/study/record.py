"""The record of a study for a report, beside its scores: what was trained, how long it took, on what, and caveats."""

from __future__ import annotations

import datetime
import io
import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import metadata

import numpy as np

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import (
    RETRIEVED,
    RETRIEVED_BY_SEARCH,
    ArmRecord,
    Claim,
    ImageSet,
    LabelSpace,
    Picture,
    SourceQuality,
    StudyRecord,
    cores,
    hardware,
)
from genrobust.data import LINE_SOURCE
from genrobust.recipe import ArmConfig, recipe_yaml
from genrobust.report import count, thumbnail
from genrobust.study.costs import device_seconds
from genrobust.study.graph import Graph
from genrobust.study.rates import measured_rate
from genrobust.study.scoring import StudyScores
from genrobust.study.stages.generate import Generate
from genrobust.study.stages.train import Train
from genrobust.study.starts import describe_starts
from genrobust.study.training_runs import run_of

CLASSES = 8  # shown, evenly through the label space
PER_SOURCE = 7  # images of each class from each source: one a style, where there are seven
SIDE = 128  # pixels at the most: a report is one file


def record_of(graph: Graph, scores: StudyScores, command: str) -> StudyRecord:
    """Return the record of a finished study, which `command` made."""
    recipe, context, sources = graph.recipe, graph.context, graph.sources
    return StudyRecord(
        title=recipe.title or recipe.name,
        question=recipe.question,
        command=command,
        recipe_yaml=recipe_yaml(recipe),
        date=datetime.date.today().isoformat(),
        summary=scores.summary,
        arms=tuple(_arm(graph, arm) for arm in recipe.arms),
        stages=context.times.records,
        pictures=tuple(gallery(context.data.labels, {s: sources.images(s) for s in graph.pictured})),
        environment=environment(context.device, recipe.threads, context.executor.workers()),
        baselines=tuple(scores.baselines),
        notes=(*_notes(graph, scores), *scores.notes),
        not_generated=recipe.not_generated,
        claims=tuple(Claim(**claim.model_dump()) for claim in recipe.claims),
        kinds={name: shift.kind for name, shift in recipe.data.shifts.items()},
        qualities=tuple(_qualities(graph)),
        curves=scores.curves,
        answer=recipe.answer or "",
    )


def _arm(graph: Graph, arm: ArmConfig) -> ArmRecord:
    """Describe what an arm trained on, how well it knows the validation images, and what it takes to make."""
    runs = [run_of(graph.recipe, arm, seed) for seed in graph.recipe.seeds]
    trainings = [read_checkpoint_info(graph.sources.checkpoint(run)).training for run in runs]
    found = [training["best_val_top1"] for training in trainings]
    record, seconds = Train(graph.sources, ()).record(runs[0]), device_seconds(graph, runs[0])
    val_top1 = None if None in found else float(np.mean(found))  # None without validation images
    trained = {str(run.seed): training.get("run", "") for run, training in zip(runs, trainings, strict=True)}
    return replace(record, val_top1=val_top1, seconds=seconds, trained=trained)


def _qualities(graph: Graph) -> Iterator[SourceQuality]:
    """Yield what the images of each source are like; nothing where the recipe does not ask."""
    config, context, datasets = graph.recipe.quality, graph.context, graph.sources.datasets
    for quality in () if config is None else graph.describe(config).found():
        made = datasets.get(quality.source)
        rate = None
        if made is not None and not made.user_provided:
            rate = measured_rate(context.out, Generate.name, made.rate_key)
        yield replace(quality, per_second=rate)


def _notes(graph: Graph, scores: StudyScores) -> Iterator[str]:
    """Yield what a study of few seeds or without baselines cannot say, and what retrieval found."""
    recipe, sources = graph.recipe, graph.sources
    if len(recipe.seeds) < 3:
        seeds = "One training seed" if len(recipe.seeds) == 1 else "Two training seeds"
        yield f"{seeds}: differences between arms show what happened here and claim nothing in general."
    if not scores.baselines and not scores.summary.lines:
        yield "No baseline models: without them there is no line, and so no effective robustness."
    elif not scores.baselines:
        yield f"Baseline lines: {LINE_SOURCE}; intervals are over images and the lines' own errors."
    yield from describe_starts(graph)
    if RETRIEVED in recipe.sources() and sources.first is not None:
        yield sources.report_retrieval()
    if RETRIEVED_BY_SEARCH in recipe.sources():
        yield sources.search.report()


def gallery(labels: LabelSpace, sources: Mapping[str, ImageSet]) -> Iterator[Picture]:
    """Yield pictures of the same few classes from each of `sources`, one of each style first."""
    stride = max(1, len(labels) // CLASSES)
    for label in range(0, len(labels), stride)[:CLASSES]:
        for origin, images in sources.items():
            for index in _one_of_each_style(images, label):
                png = io.BytesIO()
                thumbnail(images.image(index), SIDE).save(png, "PNG")
                name = labels.classes[label].name
                yield Picture(png.getvalue(), origin, name, images.styles[index], images.keys[index])


def _one_of_each_style(images: ImageSet, label: int) -> list[int]:
    here = [i for i, of in enumerate(images.labels) if of == label]
    firsts = list({images.styles[i]: i for i in reversed(here)}.values())[::-1]
    chosen = firsts + [i for i in here if i not in firsts]
    return sorted(chosen[:PER_SOURCE], key=lambda i: images.styles[i])


def environment(device: str, threads: int, workers: int) -> dict[str, str]:
    """Describe versions and machine, by name: no host name, no path."""
    computes = f" ({hardware(device).why})" if device == "cpu" else ""
    packages = ("genrobust", "torch", "timm", "diffusers", "transformers")
    return {name: metadata.version(name) for name in packages} | {
        "Python": platform.python_version(),
        "machine": f"{count(cores(), 'CPU core')}, {platform.machine()}, {platform.system()}",
        "device": f"{device}{computes}; {count(workers, 'worker')} of {count(threads, 'thread')}",
    }
