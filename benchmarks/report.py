"""Cost of `genrobust report` on saved predictions: CPU seconds and peak memory, for a study of any size.

    python benchmarks/report.py --images 50000 --classes 1000 --arms 5 --seeds 3 --shifts 4

makes image folders (one gray PNG under many names), empty checkpoints and random logits in --folder, then writes their
report in a separate process. The predictions take images x classes x 4 bytes for each arm, seed and test set, so 15 GB
as above: name a folder on a large disk. Existing files are reused.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from genrobust.classifiers.checkpoints import CheckpointInfo
from genrobust.classifiers.classifier import open_checkpoint
from genrobust.classifiers.models import create_classifier, save_checkpoint
from genrobust.classifiers.saved import prediction_inputs, save_predictions
from genrobust.core.results import Predictions
from genrobust.recipe.load import load_recipe
from genrobust.study.study import Study

RUN = "import atexit, json, sys; from genrobust.cli import main; {tell}; sys.argv[0] = 'genrobust'; main()"
TELL = "atexit.register(lambda: print('torch' if 'torch' in sys.modules else 'no torch', file=sys.stderr))"
TOP1 = {"test": 0.7}  # and 0.5 on every shift


def make_folders(folder: Path, classes: int, sets: dict[str, int]) -> None:
    """Image folders with so many images each, the classes in turn."""
    png = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(png, "PNG")
    for name, count in sets.items():
        for k in range(classes):
            (folder / name / f"c{k:04d}").mkdir(parents=True, exist_ok=True)
        for i in range(count):
            target = folder / name / f"c{i % classes:04d}" / f"{i:06d}.png"
            if not target.exists():
                target.write_bytes(png.getvalue())


def write_recipe(folder: Path, arms: int, seeds: int, shifts: list[str]) -> Path:
    """Write the recipe of a study of those folders, whose arms differ in their training steps."""
    recipe = {
        "name": "big",
        "device": "cpu",
        "seeds": list(range(seeds)),
        "generator": None,
        "data": {
            "source": "folders",
            **{name: str(folder / name) for name in ("train", "val", "test")},
            "shifts": {name: str(folder / name) for name in shifts},
        },
        "train": {"architecture": "test_resnet", "image_size": 32, "batch_size": 8},
        "arms": [{"name": f"arm-{a}", "mixture": "real", "train": {"steps": 100 + a}} for a in range(arms)],
        "reference": "arm-0",
        "robustness": {"baselines": str(folder / "baselines.csv")},
    }
    rows = [f"m{i},{name},{40 + 4 * i},{20 + 4 * i + i * 7 % 3}" for name in shifts for i in range(10)]
    (folder / "baselines.csv").write_text("\n".join(["model,test_set,clean,shifted", *rows]) + "\n")
    path = folder / "big.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def fill(study: Study) -> None:
    """Write an untrained checkpoint and random predictions for every arm and seed."""
    labels, trained = study.data.labels, study.graph.train([])
    arms = [arm.name for arm in study.recipe.arms]
    for run in study.runs():
        checkpoint, train, a, seed = study.graph.sources.checkpoint(run), run.train, arms.index(run.of), run.seed
        if not checkpoint.exists():
            model = create_classifier(train.architecture, len(labels), train.image_size)
            training = {"mixture": trained.mixture(run).fingerprint}
            info = CheckpointInfo(train.architecture, {}, labels.ids, train.image_size, training)
            save_checkpoint(checkpoint, model, info, inputs=study.graph.sources.checkpoint_inputs(run))

        def drawn(images, a=a, seed=seed) -> np.ndarray:
            shared = np.random.default_rng([len(images.name), *images.name.encode()])
            own = np.random.default_rng([a, seed, *images.name.encode()])
            n = len(images)
            right = 0.7 * shared.random(n) + 0.3 * own.random(n) < TOP1.get(images.name, 0.5) + a / 100
            logits = own.standard_normal((n, len(labels)), dtype=np.float32)
            logits[np.arange(n), np.where(right, images.labels, (images.labels + 1) % len(labels))] = 9
            return logits

        sets = {name: study.data.tests[name] for name in study.tests}
        opened, stage = open_checkpoint(checkpoint), study.graph.evaluate([])
        by = stage.predicted_by(checkpoint)
        for name, folder in stage.folders(by).items():
            images = sets[name]
            made = Predictions(name, drawn(images), images.labels, tuple(images.keys), labels.ids, opened.preparation)
            save_predictions(folder, made, prediction_inputs(by, name, images, labels), opened.weights_hash)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("benchmark-report"))
    for name, value in (("images", 50_000), ("classes", 1000), ("arms", 2), ("seeds", 1), ("shifts", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    shifts = [f"shift-{i}" for i in range(asked.shifts)]
    sets = {"train": 2 * asked.classes, "val": asked.classes, **dict.fromkeys(["test", *shifts], asked.images)}
    make_folders(asked.folder.resolve(), asked.classes, sets)
    recipe = write_recipe(asked.folder.resolve(), asked.arms, asked.seeds, shifts)
    out = asked.folder / "runs"
    fill(Study(load_recipe(str(recipe)), out))
    command = [sys.executable, "-c", RUN.format(tell=TELL), "report", str(recipe), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    metrics = {
        "predictions_gb": sum(p.stat().st_size for p in (out / "predictions").rglob("*.np?")) / 1e9,
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6),  # Linux counts in KiB
        "imported": done.stderr.split("\n")[-2],
    }
    print(json.dumps({**{k: v for k, v in vars(asked).items() if k != "folder"}, **metrics}))


if __name__ == "__main__":
    main()
