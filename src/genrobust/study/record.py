"""What a report says of a study, beside its scores: what was trained, how long it took, on what, and what to mind."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace

from genrobust.core import RETRIEVED, Claim, SourceQuality, StudyRecord
from genrobust.data import LINE_SOURCE
from genrobust.recipe import recipe_yaml
from genrobust.study.gallery import environment, gallery
from genrobust.study.graph import Graph
from genrobust.study.rates import measured_rate
from genrobust.study.scoring import StudyScores
from genrobust.study.stages.generate import Generate
from genrobust.study.training_runs import run_of


def record_of(graph: Graph, scores: StudyScores, command: str) -> StudyRecord:
    """Return the record of a finished study, which `command` made."""
    recipe, context, sources = graph.recipe, graph.context, graph.sources
    trained = graph.train([])
    return StudyRecord(
        title=recipe.title or recipe.name,
        question=recipe.question,
        command=command,
        recipe_yaml=recipe_yaml(recipe),
        date=datetime.date.today().isoformat(),
        summary=scores.summary,
        arms=tuple(trained.record(run_of(recipe, arm, 0)) for arm in recipe.arms),
        stages=context.times.records,
        pictures=tuple(gallery(context.data.labels, {s: sources.images(s) for s in graph.pictured})),
        environment=environment(context.device, recipe.threads, context.executor.workers()),
        baselines=tuple(scores.baselines),
        notes=(*_notes(graph, scores), *scores.notes),
        not_generated=recipe.not_generated,
        claims=tuple(Claim(**claim.model_dump()) for claim in recipe.claims),
        kinds={name: shift.kind for name, shift in recipe.data.shifts.items()},
        qualities=tuple(_qualities(graph)),
    )


def _qualities(graph: Graph) -> Iterator[SourceQuality]:
    """What the images of each source are like; nothing where the recipe does not ask."""
    config, context, datasets = graph.recipe.quality, graph.context, graph.sources.datasets
    for quality in () if config is None else graph.describe(config).found():
        made = datasets.get(quality.source)
        rate = None
        if made is not None and not made.user_provided:
            rate = measured_rate(context.out, Generate.name, made.rate_key)
        yield replace(quality, per_second=rate)


def _notes(graph: Graph, scores: StudyScores) -> Iterator[str]:
    """What a study of few seeds, without baselines, or with too few images to retrieve cannot say."""
    recipe, first = graph.recipe, graph.sources.first
    if len(recipe.seeds) < 3:
        seeds = "One training seed" if len(recipe.seeds) == 1 else "Two training seeds"
        yield f"{seeds}: differences between arms show what happened here and claim nothing in general."
    if not scores.baselines and not scores.summary.lines:
        yield "No baseline models: without them there is no line, and so no effective robustness."
    elif not scores.baselines:
        yield f"Baseline lines: {LINE_SOURCE}; intervals are over images and the lines' own errors."
    if RETRIEVED in recipe.sources() and first is not None:
        got, wanted = len(graph.sources.images(RETRIEVED)), len(first.images)
        if got < wanted:
            yield f"Retrieval found {got:,} images for {wanted:,} generated ones: some classes ran short."
