"""Print how accurate a study's classifiers are without the test images of which something like a copy was learned from.

    genrobust run pictograms-full --out runs
    python pictograms/corpus.py --package path/to/package --out build/corpus.npy
    python pictograms/near_copies.py --corpus build/corpus.npy --runs runs

Left out are the test images with a near copy among the drawings of the autoencoder and the CLIP's tower, and those to
which a generated image is one. The table has the mean top-1 of the shifts and its difference to the reference, on all
test images and on the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from corpus import framed
from PIL import Image

from genrobust.core import ImageSet
from genrobust.data.copies.fingerprint import NEAR, nearest
from genrobust.recipe import GENERATED, load_recipe
from genrobust.study import Study


def frames_of(images: ImageSet) -> np.ndarray:
    """The small pictures that `nearest` compares."""
    return framed(images.image(index) for index in range(len(images)))


def near(tests: Mapping[str, np.ndarray], others: np.ndarray) -> dict[str, np.ndarray]:
    """Which images of each test set have a near copy among `others`; frames of both, found from either side."""
    found = {name: nearest(frames, others).distance < NEAR for name, frames in tests.items()}
    theirs = nearest(others, np.concatenate(list(tests.values())))
    copied = np.zeros(sum(map(len, tests.values())), dtype=bool)
    copied[theirs.index[theirs.distance < NEAR]] = True
    begin = 0
    for name, own in found.items():
        found[name] = own | copied[begin : begin + len(own)]
        begin += len(own)
    return found


def top1(study: Study, shifts: Sequence[str], keep: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean top-1 of each arm on `shifts`, over seeds, in percent, on the images of `keep` alone."""
    found = {}
    for arm in study.recipe.arms:
        seeds = study.predictions(study.runs(arm.name))
        right = [
            np.mean((of.logits.argmax(axis=1) == of.labels)[keep[name]])
            for made in seeds
            for name in shifts
            for of in [made[name]]
        ]
        found[arm.name] = 100 * float(np.mean(right))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="what corpus.py wrote")
    parser.add_argument("--runs", type=Path, required=True, help="the output folder of the study")
    parser.add_argument("--recipe", default="pictograms-full")
    args = parser.parse_args()
    study = Study(load_recipe(args.recipe), args.runs)
    shifts = study.scores().summary.shifts
    tests = {name: frames_of(study.data.tests[name]) for name in (study.data.clean, *shifts)}
    drawings = near(tests, framed(map(Image.fromarray, np.load(args.corpus))))
    generated = near(tests, frames_of(study.images(GENERATED)))
    for name, frames in tests.items():
        print(
            f"{name}: {drawings[name].sum()} of {len(frames)} like a drawing, {generated[name].sum()} like a generated"
        )
    everything = top1(study, shifts, {name: np.ones(len(frames), dtype=bool) for name, frames in tests.items()})
    rest = top1(study, shifts, {name: ~(drawings[name] | generated[name]) for name in tests})
    print(f"left out: {sum(int((drawings[name] | generated[name]).sum()) for name in shifts)} of the shifts")
    reference = study.recipe.reference
    print("| arm | all | without | over the reference, all | without |\n| --- | --- | --- | --- | --- |")
    for arm in everything:
        gains = " | ".join(f"{of[arm] - of[reference]:+.1f}" for of in (everything, rest))
        print(f"| {arm} | {everything[arm]:.1f} | {rest[arm]:.1f} | {gains} |")


if __name__ == "__main__":
    main()
