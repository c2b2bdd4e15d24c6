"""Choose how the Pictograms recipes sample, mix and augment, on *wild-val* and *val* alone: no test set is opened.

    python pictograms/choose.py --out runs/choose --set generator.guidance_scale=2.0 --weights 1 2 4
    python pictograms/choose.py --out runs/choose --weights --policies autoaugment drawing-styles

Prints one line for each mixture: top-1 on *wild-val* (designers that are in neither the generator's nor the real
training data, all styles) and on *val* (the real data's own split), the mean over training seeds and, of several, the
lowest and the highest. Seeds differ from those of the studies, so that a choice does not fit their noise. Everything is
cached under --out, so further settings cost only their new parts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from genrobust.classifiers.classifier import open_checkpoint
from genrobust.classifiers.predicting import predict_sets
from genrobust.classifiers.saved import PredictedBy
from genrobust.recipe.classify import ArmConfig
from genrobust.recipe.load import load_recipe
from genrobust.study.study import Study

DATA_SEED, TRAIN_SEED = 100, 100
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the images that a policy changes


def arms(weights: list[float]) -> list[ArmConfig]:
    """Generated alone, then real to generated as `weights` to 1; real alone first, for comparison."""
    mixed = [
        ArmConfig(
            name=f"real:generated {weight:g}:1",
            mixture=({"source": "real", "weight": weight}, {"source": "generated", "weight": 1}),
        )
        for weight in weights
    ]
    alone = [ArmConfig(name="generated", mixture="generated")] if weights else []
    return [ArmConfig(name="real", mixture="real"), *alone, *mixed]


def augmented(policies: list[str]) -> list[ArmConfig]:
    """Real images, of which each policy changes a share."""
    return [
        ArmConfig(
            name=f"{policy} of {100 * share:g} %",
            mixture="real",
            train={"augmentation": policy, "augmentation_share": share},
        )
        for policy in policies
        for share in SHARES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="pictograms")
    parser.add_argument("--out", type=Path, default=Path("runs/choose"))
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--weights", type=float, nargs="*", default=[1.0], help="of real to 1 of generated")
    parser.add_argument("--policies", nargs="*", default=[], help="augmentations, to change shares of the real images")
    parser.add_argument("--seeds", type=int, default=1, help="how many trainings of each mixture")
    args = parser.parse_args()
    study = Study(load_recipe(args.recipe, [f"data_seed={DATA_SEED}", *args.sets]), args.out)
    data, recipe = study.data, study.recipe
    assert data.shifted_val is not None
    sets = {"wild-val": data.shifted_val, "val": data.val}
    print(" ".join(args.sets), flush=True)
    for arm in [*arms(args.weights), *augmented(args.policies)]:
        top1: dict[str, list[float]] = {name: [] for name in sets}
        for seed in range(TRAIN_SEED, TRAIN_SEED + args.seeds):
            checkpoint = study.checkpoint(arm, seed)
            opened = open_checkpoint(checkpoint)
            by = PredictedBy(checkpoint.name, opened.preparation)
            found = predict_sets(args.out, {by: opened}, sets, data.labels, 256, threads=recipe.threads)[by]
            for name, p in found.items():
                top1[name].append(100 * float(np.mean(p.logits.argmax(1) == p.labels)))
        print(f"  {arm.name:<24} {'   '.join(told(name, values) for name, values in top1.items())}", flush=True)


def told(name: str, values: list[float]) -> str:
    """The mean of the accuracies on a set, and how far apart they are."""
    spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{name} {np.mean(values):5.1f}{spread}"


if __name__ == "__main__":
    main()
