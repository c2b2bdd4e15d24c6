"""Notes of a report on what the networks that arms start from have learned from, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genrobust.classifiers import is_checkpoint, read_checkpoint_info
from genrobust.core import EMBEDDED
from genrobust.recipe import PRETRAINED
from genrobust.study.graph import Graph
from genrobust.study.sources import Sources
from genrobust.study.training_runs import TrainingRun, run_of

# Parts of the names that timm and the hub give to weights, and the data that they were trained on, in this order.
KNOWN = {
    "datacomp": "DataComp (image-text pairs of the web)",
    "laion400m": "LAION-400M (image-text pairs of the web)",
    "laion2b": "LAION-2B (image-text pairs of the web)",
    "lvd142m": "LVD-142M (images of the web)",
    "metaclip": "MetaCLIP's image-text pairs of the web",
    "openai": "OpenAI's 400 million image-text pairs of the web",
    "yfcc100m": "YFCC100M (images of Flickr)",
    "ig1b": "a billion images of Instagram",
    "in22k": "ImageNet-21k",
    "in21k": "ImageNet-21k",
    "in12k": "ImageNet-12k",
    "in1k": "ImageNet-1k",
}


def describe_starts(graph: Graph) -> Iterator[str]:
    """Yield a note on each pretrained network: the arms that start from it, and what it has seen before."""
    recipe = graph.recipe
    starts: dict[str, list[TrainingRun]] = {}
    for run in (run_of(recipe, arm, recipe.seeds[0]) for arm in recipe.arms):
        if run.train.is_pretrained:
            named = f"{run.train.architecture}'s {PRETRAINED} weights" if run.train.init == PRETRAINED else ""
            starts.setdefault(named or run.train.init, []).append(run)
    for start, runs in starts.items():
        arms = ", ".join(dict.fromkeys(run.of for run in runs))
        initial = graph.sources.initial(runs[0])
        prepared = [] if initial is None else initial.preparation_notes(runs[0].train)
        yield (
            f"{start}: arms that start from it are {arms}. It was trained on {seen_by(graph.sources, runs[0])}. A "
            "network that may have seen the styles of the test sets is no fair comparison with one that has not: "
            f"{' '.join(['compare these arms with each other.', *prepared])}"
        )


def seen_by(sources: Sources, run: TrainingRun) -> str:
    """Return what the network that a run starts from was trained on, in words."""
    init = run.train.init
    if (origin := sources.origin(run)) is not None:
        origin_sources, first = origin
        images = (
            f"images of the study {origin_sources.context.recipe.name}: "
            f"{' and '.join(part.source for part in first.parts)}"
        )
        return f"{images}; before that, on {seen_by(origin_sources, first)}" if first.train.is_pretrained else images
    if init == f"clip:{EMBEDDED}":
        return "wild, icons in all styles of the shifted test sets by other designers"
    if is_checkpoint(Path(init)):
        return _seen_by_checkpoint(read_checkpoint_info(Path(init)).training)
    name = init if init.startswith("hf-hub:") else Path(init).name
    if init == PRETRAINED and (initial := sources.initial(run)) is not None:
        name = initial.opened.name
    datasets = [dataset for part, dataset in KNOWN.items() if part in name.lower()]
    return " and ".join(datasets) or "data that its name does not tell"


def _seen_by_checkpoint(training: Mapping[str, Any]) -> str:
    config = training.get("config")
    init = config.get("init") if isinstance(config, Mapping) else None
    images = " and ".join(training.get("counts") or ["images that it does not name"])
    return f"{images}, from {init}" if init else images
