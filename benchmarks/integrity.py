"""Cost of checksums: the share of an evaluation, of a report from saved predictions, and of a training.

    python benchmarks/integrity.py

Runs each as a study does, and times the functions that compute or compare a checksum inside it. Files are read from the
page cache, as they are right after they were written: from a slow disk, the share is smaller.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from report import fill, make_folders, write_recipe
from side_by_side import cores, table, use_cores, where_and_when
from training import photographs

from genrobust.classifiers.checkpoints import CheckpointInfo
from genrobust.classifiers.classifier import open_checkpoint
from genrobust.classifiers.models import create_classifier, save_checkpoint
from genrobust.classifiers.predicting import predict_sets
from genrobust.classifiers.saved import PredictedBy
from genrobust.core.images import ImageSet, LabelSpace, Subset
from genrobust.data.reader import load_data
from genrobust.recipe.classify import TrainConfig
from genrobust.recipe.load import load_recipe
from genrobust.study.study import Study
from genrobust.train.loop import train
from genrobust.train.mixture import Mixture, Source

CHECKS = ("hash_file", "hash_once")


class Spent:
    """The seconds inside `CHECKS`, wherever they are called from."""

    def __init__(self) -> None:
        self.seconds = 0.0
        for module in [m for name, m in sys.modules.items() if name.startswith("genrobust.")]:
            for name in CHECKS:
                if callable(check := vars(module).get(name)):
                    setattr(module, name, self._timed(check))

    def _timed(self, check: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(check)
        def timed(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return check(*args)
            finally:
                self.seconds += time.perf_counter() - began

        return timed

    def row(self, what: str, work: Callable[[], object]) -> list[str]:
        before, began = self.seconds, time.perf_counter()
        work()
        whole, checks = time.perf_counter() - began, self.seconds - before
        return [what, f"{whole:.1f} s", f"{checks:.3f} s", f"{checks / whole:.2%}".replace("%", " %")]


def evaluate(checkpoint: Path, sets: Mapping[str, ImageSet], labels: LabelSpace, out: Path) -> None:
    """Predict all sets, and read the predictions as the scores do."""
    by = PredictedBy("model", "model")
    made = predict_sets(out, {by: open_checkpoint(checkpoint)}, sets, labels, 128, "cpu", cores())
    for found in made[by].values():
        np.asarray(found.logits).argmax(axis=1)


def run(images: ImageSet, labels: LabelSpace, config: TrainConfig, out: Path, packed: Path | None = None) -> None:
    mixture = Mixture([Source("real", images)], config.batch_size, config.image_size, config.crop, packed)
    train(mixture, Subset(images, range(min(500, len(images)))), labels, config, 0, out, "cpu", cores())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000, help="of each test set of the report, over 1,000 classes")
    parser.add_argument("--steps", type=int, default=200, help="of the training on Pictograms")
    asked = parser.parse_args()
    use_cores(2)
    spent, recipe = Spent(), load_recipe("pictograms")
    data, settings = load_data(recipe.data), recipe.train
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        network = create_classifier(settings.architecture, len(data.labels), settings.image_size, settings.model_kwargs)
        info = CheckpointInfo(settings.architecture, settings.model_kwargs, data.labels.ids, settings.image_size, {})
        save_checkpoint(folder / "untrained", network, info)
        of_sets = folder / "untrained", data.tests, data.labels, folder / "predictions"
        rows = [spent.row("evaluation of one classifier on the test sets of Pictograms", lambda: evaluate(*of_sets))]

        sets = {"train": 2000, "val": 1000, "test": asked.images, "shift-0": asked.images}
        make_folders(folder, 1000, sets)
        study = Study(load_recipe(str(write_recipe(folder, 2, 1, ["shift-0"]))), folder / "runs")
        fill(study)
        what = f"scores of two arms from saved predictions, 2 sets of {asked.images:,} images over 1,000 classes"
        rows.append(spent.row(what, study.scores))

        short = {
            "steps": asked.steps,
            "epochs": None,
            "save_every": 20,
            "validate_every": asked.steps,
            "warmup_steps": 10,
        }
        config = settings.model_copy(update={**short, "precision": "float32"})
        what = f"training on Pictograms, {asked.steps} steps, a state every 20"
        rows.append(spent.row(what, lambda: run(data.train, data.labels, config, folder / "trained")))

        pictures, labels = photographs(folder, 256)
        large = {"architecture": "resnet18", "model_kwargs": {}, "image_size": 224, "batch_size": 32, "steps": 8}
        epoch = config.model_copy(update={**large, "crop": "random-resized", "warmup_steps": 0})
        Mixture([Source("real", pictures)], 32, 224, epoch.crop, folder / "packed").pack("real")
        what = "training of one epoch on 256 packed photographs, ResNet-18 at 224 px"
        rows.append(spent.row(what, lambda: run(pictures, labels, epoch, folder / "large", folder / "packed")))
    print(table(["work", "in all", "checksums", "share"], rows))
    print(f"\n{where_and_when()}")


if __name__ == "__main__":
    main()
