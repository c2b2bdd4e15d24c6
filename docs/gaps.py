"""What classifiers reach where their study's pool has gaps: on the classes that it lacks in a style, and on the others.

    python docs/gaps.py RUNS pacs-gaps

reads the study from RUNS, from the folder in which it ran, and writes docs/results/pacs-gaps-missing.json and
pacs-gaps-present.json: scores on the images of each shifted set whose class the pool lacks in their style, and on its
other images, as prose.py keeps them. Means are over sets with 30 such images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from keeping import condensed
from prose import RESULTS

from genrobust import Comparison, Predictions, Study, load_recipe, summarize
from genrobust.report.results import summary_to_json
from genrobust.robustness import list_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", help="the output folder")
    parser.add_argument("name", help="a study in it whose images to retrieve have styles")
    args = parser.parse_args()
    found = json.loads((Path(args.runs) / args.name / "results.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.yaml"
        recipe.write_text(found["recipe"], encoding="utf-8")
        study = Study(load_recipe(str(recipe)), args.runs)
    pool = set(zip(study.data.retrieval.labels.tolist(), study.data.retrieval.styles, strict=True))
    lacking = {}
    for test in study.shifts:
        images = study.data.tests[test]
        cells = zip(images.labels.tolist(), images.styles, strict=True)
        lacking[test] = np.array([cell not in pool for cell in cells])
    predictions = {
        (run.of, run.seed, test): saved
        for run, by_test in zip(study.runs(), study.predictions(study.runs()), strict=True)
        for test, saved in by_test.items()
    }
    for part in ("missing", "present"):
        kept = {test: of_gaps == (part == "missing") for test, of_gaps in lacking.items()}
        kept = {test: of_part for test, of_part in kept.items() if of_part.any()}
        scored = {
            (arm, seed, test): as_two_classes(saved, kept.get(test, slice(None)))
            for (arm, seed, test), saved in predictions.items()
            if test in (study.data.clean, *kept)
        }
        pairs = [(claim.arm, claim.than) for claim in study.recipe.claims]
        groups = {
            test: tuple(np.array(names)[kept.get(test, slice(None))]) for test, names in study.data.image_groups.items()
        }
        comparison = Comparison(
            study.data.clean, [*kept], study.recipe.reference, pairs=pairs, min_images=30, image_groups=groups
        )
        summary = summary_to_json(summarize(scored, comparison), list_metrics())
        told = {**found, "summary": summary, "claims": [], "qualities": []}
        (RESULTS / f"{args.name}-{part}.json").write_text(condensed(told), encoding="utf-8")
        print(part, {test: int(of_part.sum()) for test, of_part in kept.items()})


def as_two_classes(saved: Predictions, kept: slice | np.ndarray) -> Predictions:
    """Predictions that are right for the same images: on some classes alone, logits would be restricted to these."""
    right = (saved.logits.argmax(axis=1) == saved.labels)[kept]
    labels = np.arange(len(right)) % 2
    return Predictions(saved.test_set, np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)], labels)


if __name__ == "__main__":
    main()
