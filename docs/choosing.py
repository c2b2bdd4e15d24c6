"""Can *wild-val* choose? How its accuracy goes with that on the test sets, over the trainings of a study.

    genrobust run pictograms-full
    genrobust run new-designers
    python docs/choosing.py RUNS

Prints correlations (Pearson's) of mean accuracies over trainings, and over those of arms with retrieved images alone:
*wild-val* and the mean of six shifts, *wild-val* and that of the five sets by new designers, and these two.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np

from genrobust import Study, load_recipe

STUDIES = "pictograms-full", "new-designers"
VALIDATION = "wild-val"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", help="the output folder")
    runs = parser.parse_args().runs
    means = {}
    for name in STUDIES:
        study = Study(load_recipe(name), runs)
        least, beside = study.recipe.evaluate.min_images, {VALIDATION, *study.recipe.evaluate.beside}
        shifts = [test for test in study.shifts if test not in beside and len(study.data.tests[test]) >= least]
        trained = [run for run in study.runs() if not run.baseline]
        for run, by_test in zip(trained, study.predictions(trained), strict=True):
            right = {test: 100 * np.mean(p.logits.argmax(axis=1) == p.labels) for test, p in by_test.items()}
            of_run = means.setdefault((run.of, run.seed), {})
            of_run[name] = np.mean([right[test] for test in shifts])
            of_run |= {test: value for test, value in right.items() if test == VALIDATION}
    means = {of: found for of, found in means.items() if len(found) == len(STUDIES) + 1}
    for words, chosen in (
        ("all arms", list(means)),
        ("with retrieved images", [of for of in means if "retrieved" in of[0]]),
    ):
        print(f"{words}: {len(chosen)} trainings")
        for one, other in combinations((VALIDATION, *STUDIES), 2):
            both = np.array([[means[of][one], means[of][other]] for of in chosen])
            print(f"  {one} and {other}: {np.corrcoef(both.T)[0, 1]:.2f}")


if __name__ == "__main__":
    main()
