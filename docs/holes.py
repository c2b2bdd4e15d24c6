"""Measures the studies on holes over all test images of the cells that the pool lacks, for docs/holes.md.

    python docs/holes.py runs holes-25-third holes-25-twothirds

reads the finished studies of these names in the folder `runs` and writes docs/holes.json. Studies that differ
only in the draw of their classes, called NAME-0, NAME-1 and so on, count as one: NAME-* names them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from genrobust import Comparison, Predictions, Study, Summary, parse_recipe, summarize
from genrobust.classifiers import PredictedBy, open_classifier, predict_sets
from genrobust.core import Subset
from genrobust.data import list_cells, withheld_cells
from genrobust.recipe import CellShare

OUT = Path(__file__).with_suffix(".json")
JUDGE = "oracle"  # the arm that says what generated images show: it has seen real images of all cells
HAS, LACKS = "has", "lacks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("names", nargs="+")
    args = parser.parse_args()
    told = {}
    for name in args.names:
        found = {
            path.resolve() for path in args.runs.glob(f"{name}/results.json")
        }  # a link, and the folder it leads to
        told[name.removesuffix("-*")] = measured([open_study(path, args.runs) for path in sorted(found)])
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in told.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def open_study(results: Path, runs: Path) -> Study:
    """The study that wrote `results`."""
    recipe = json.loads(results.read_text(encoding="utf-8"))["recipe"]
    return Study(parse_recipe(yaml.safe_load(recipe)), runs)


def measured(studies: list[Study]) -> dict[str, Any]:
    """Top-1 of each arm where the pool has the cell and where it lacks it, and how often generated images are right."""
    parts = {name: [pooled(study, lacks=name == LACKS) for study in studies] for name in (HAS, LACKS)}
    predictions, groups = {}, {}
    for name, of_studies in parts.items():
        groups[name] = [group for _, names in of_studies for group in names]
        for arm, seed in of_studies[0][0]:
            draws = [found[arm, seed] for found, _ in of_studies]
            keys = tuple(f"{draw}/{key}" for draw, one in enumerate(draws) for key in one.keys)
            logits, labels = (np.concatenate([getattr(one, what) for one in draws]) for what in ("logits", "labels"))
            predictions[arm, seed, name] = Predictions(name, logits, labels, keys)
    first = studies[0]
    cells = first.recipe.data.retrieved.without.cells
    assert isinstance(cells, CellShare)  # as the recipe has it
    summary = summarize(predictions, Comparison(HAS, [LACKS], reference="hole", min_images=1, image_groups=groups))
    return {
        "classes": len(first.data.labels),
        "share": cells.share,
        "seeds": len(first.recipe.seeds),
        "images": {name: len(groups[name]) for name in (HAS, LACKS)},
        "families": {name: len({*groups[name]}) for name in (HAS, LACKS)},
        "top1": {name: dict(scores(summary, name)) for name in (HAS, LACKS)},
        "right": {source: rights([right(study, source) for study in studies]) for source in drawn(first)},
    }


def pooled(study: Study, lacks: bool) -> tuple[dict[tuple[str, int], Predictions], list[str]]:
    """The predictions of each arm and seed on all shifted images of cells that lack, or do not, and their families."""
    cells = withheld_cells(study.data)
    tests = [name for name in study.context.shifts if name in study.data.image_groups]
    masks = {
        name: np.array([(cell in cells) == lacks for cell in list_cells(study.data.tests[name])]) for name in tests
    }
    found = {}
    for run, predictions in zip(runs := study.runs(), study.predictions(runs), strict=True):
        of_tests = [(predictions[name], masks[name]) for name in tests]
        logits, labels = (
            np.concatenate([np.asarray(getattr(one, what))[mask] for one, mask in of_tests])
            for what in ("logits", "labels")
        )
        keys = tuple(f"{one.test_set}/{one.keys[i]}" for one, mask in of_tests for i in np.flatnonzero(mask).tolist())
        found[run.of, run.seed] = Predictions(LACKS if lacks else HAS, logits, labels, keys)
    groups = [study.data.image_groups[name][i] for name in tests for i in np.flatnonzero(masks[name]).tolist()]
    return found, groups


def scores(summary: Summary, name: str) -> Iterable[tuple[str, list[float]]]:
    """By arm: top-1, and what it adds to that of `hole`, with the interval of this difference."""
    for arm in summary.arms:
        gain = None if arm == summary.reference else summary.score("top1", arm, name, minus=summary.reference)
        difference = [0.0, 0.0, 0.0] if gain is None else [gain.value, gain.lo, gain.hi]
        yield arm, [round(value, 2) for value in (summary.score("top1", arm, name).value, *difference)]


def drawn(study: Study) -> list[str]:
    """The generated sources that fill the hole."""
    return [name for name in study.recipe.datasets if name in study.recipe.sources()]


def right(study: Study, source: str) -> list[tuple[int, int]]:
    """How many images of `source` the judge takes for their class, of how many: in cells that lack, and in others."""
    images, cells = study.images(source), withheld_cells(study.data)
    mask = np.array([cell in cells for cell in list_cells(images)])
    judges, counts = study.train(study.runs(JUDGE)), []
    for part in (mask, ~mask):
        of_part, n = Subset(images, np.flatnonzero(part)), 0
        for folder in judges:
            key = PredictedBy(folder.name, folder.name)
            (saved,) = predict_sets(
                study.out / "judged", {key: open_classifier(str(folder))}, {"drawn": of_part}, study.data.labels, 100
            ).values()
            found = saved["drawn"]
            n += int((np.asarray(found.logits).argmax(axis=1) == found.labels).sum())
        counts.append((n, len(of_part) * len(study.recipe.seeds)))
    return counts


def rights(draws: list[list[tuple[int, int]]]) -> dict[str, float]:
    """The percentages that the judge takes for their class, over all `draws` of the classes."""
    sums = np.array(draws).sum(axis=0)
    return {name: round(100 * int(n) / int(of), 1) for name, (n, of) in zip((LACKS, HAS), sums, strict=True)}


if __name__ == "__main__":
    main()
