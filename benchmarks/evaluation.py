"""Speed of scoring K checkpoints on M test sets: genrobust against a plain loop, with the same logits.

    python benchmarks/evaluation.py                   Pictograms: 64 px drawings, the recipe's own small network
    python benchmarks/evaluation.py --photographs     500 px JPEGs at 224 px, a ResNet-18

The plain loop reads the test sets once for each checkpoint, with torchvision's ImageFolder and a DataLoader of two
workers, so it decodes each image K times. "One by one" is genrobust with one checkpoint at a time; "together" is what a
study does. "The networks alone" gets all images as tensors in memory: nothing can be faster. Weights are random, which
costs the same as trained ones.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from side_by_side import cores, interleaved, rate, table, times_faster, use_cores, where_and_when
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from genrobust.classifiers import (
    CheckpointInfo,
    Feed,
    PredictedBy,
    create_classifier,
    load_checkpoint,
    open_checkpoint,
    predict_sets,
    save_checkpoint,
)
from genrobust.core import ImageSet, LabelSpace, Predictions
from genrobust.data import classes_of, load_data, open_images, open_stored
from genrobust.recipe import EvaluateConfig, load_recipe

WORKERS = 2  # of the DataLoader: one a core
BATCHES = 6  # of each set: with one, a worker of the DataLoader would read all of it while the others have no work
SETS = 8  # as the Pictograms study has


def write_drawings(folder: Path, count: int) -> None:
    """Write the first `count` images of each Pictograms test set, as PNGs in class folders."""
    data = load_data(load_recipe("pictograms").data)
    for name, images in data.tests.items():
        for class_id in data.labels.ids:
            (folder / name / class_id).mkdir(parents=True)
        for i in range(min(count, len(images))):
            images.image(i).save(folder / name / data.labels.ids[images.labels[i]] / f"{i:04d}.png")


def write_photographs(folder: Path, count: int) -> None:
    """Write `count` JPEGs for each set, 500 x 375 px, quality 90, as detailed as photographs: 80 KB each."""

    def write(number: int, i: int) -> None:
        noise = np.random.default_rng([number, i])
        coarse = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.float32)
        image = Image.fromarray((smooth + noise.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8))
        target = folder / f"set-{number}" / f"class-{i % 10}" / f"{i:04d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, quality=90)

    with ThreadPoolExecutor(cores()) as pool:
        for done in [pool.submit(write, number, i) for number in range(SETS) for i in range(count)]:
            done.result()


def write_checkpoints(folder: Path, count: int, labels: LabelSpace, photographs: bool) -> list[Path]:
    train = load_recipe("pictograms").train
    name, kwargs, size = (
        ("resnet18", {}, 224) if photographs else (train.architecture, train.model_kwargs, train.image_size)
    )
    for number in range(count):
        torch.manual_seed(number)
        model = create_classifier(name, len(labels), size, kwargs)
        save_checkpoint(folder / str(number), model, CheckpointInfo(name, dict(kwargs), labels.ids, size, {}))
    return [folder / str(number) for number in range(count)]


@torch.inference_mode()
def plain(
    checkpoints: list[Path], folders: list[Path], settings: EvaluateConfig, device: str, workers: int = WORKERS
) -> dict[str, dict[str, torch.Tensor]]:
    """The logits of every checkpoint on every folder, by the path of each image."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for checkpoint in checkpoints:
        model, info = load_checkpoint(checkpoint, device)
        resize = v2.Resize(int(info.image_size / settings.crop_pct), v2.InterpolationMode.BICUBIC, antialias=True)
        transform = v2.Compose([resize, v2.CenterCrop(info.image_size), v2.PILToTensor()])
        for folder in folders:
            images = ImageFolder(str(folder), transform, allow_empty=True)
            loader = DataLoader(images, settings.batch_size, num_workers=workers)
            logits = torch.cat([model(batch.to(device)).float().cpu() for batch, _ in loader])
            keys = (f"{folder.name}/{Path(path).relative_to(folder)}" for path, _ in images.samples)
            found[checkpoint.name] = {**found.get(checkpoint.name, {}), **dict(zip(keys, logits, strict=True))}
    return found


def together(
    checkpoints: list[Path], sets: dict[str, ImageSet], labels: LabelSpace, settings: EvaluateConfig, device: str
) -> dict[str, dict[str, torch.Tensor]]:
    """The same by genrobust, read from the files that it writes."""
    with tempfile.TemporaryDirectory() as out:
        opened = {PredictedBy(c.name, c.name): open_checkpoint(c, settings) for c in checkpoints}
        made = predict_sets(Path(out), opened, sets, labels, settings.batch_size, device, cores())
        return {by.word: by_key(predictions) for by, predictions in made.items()}


def one_by_one(
    checkpoints: list[Path], sets: dict[str, ImageSet], labels: LabelSpace, settings: EvaluateConfig, device: str
) -> None:
    with tempfile.TemporaryDirectory() as out:
        for checkpoint in checkpoints:
            opened = {PredictedBy(checkpoint.name, checkpoint.name): open_checkpoint(checkpoint, settings)}
            predict_sets(Path(out), opened, sets, labels, settings.batch_size, device, cores())


@torch.inference_mode()
def networks_alone(checkpoints: list[Path], tensors: list[torch.Tensor], device: str) -> None:
    for checkpoint in checkpoints:
        model, _ = load_checkpoint(checkpoint, device)
        for batch in tensors:
            model(batch.to(device, memory_format=torch.channels_last)).cpu()


def by_key(predictions: Mapping[str, Predictions]) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": torch.tensor(logits)
        for name, made in predictions.items()
        for key, logits in zip(made.keys, made.logits, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", action="store_true", help="500 px JPEGs at 224 px instead of the Pictograms")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--images", type=int, help="in each test set; 150 drawings or 24 photographs where not said")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    use_cores(2)
    count = asked.images or (24 if asked.photographs else 150)
    settings = EvaluateConfig(crop_pct=0.875 if asked.photographs else 1, batch_size=-(-count // BATCHES))
    folder = Path(tempfile.mkdtemp(prefix="evaluation-"))
    try:
        (write_photographs if asked.photographs else write_drawings)(folder / "images", count)
        folders = sorted((folder / "images").iterdir())
        classes = classes_of(open_stored(folders[0]))
        sets: dict[str, ImageSet] = {path.name: open_images(path.name, open_stored(path), classes) for path in folders}
        checkpoints = write_checkpoints(folder / "checkpoints", asked.checkpoints, classes.labels, asked.photographs)
        as_prepared = open_checkpoint(checkpoints[0], settings).prepare
        tensors = [
            b for s in sets.values() for b in Feed(settings.batch_size, torch.device("cpu")).batches(s, as_prepared)
        ]
        what = checkpoints, sets, classes.labels, settings, asked.device
        ways: dict[str, Callable[[], object]] = {
            "plain loop (ImageFolder, DataLoader)": partial(plain, checkpoints, folders, settings, asked.device),
            "genrobust, one by one": partial(one_by_one, *what),
            "genrobust, together": partial(together, *what),
            "the networks alone": partial(networks_alone, checkpoints, tensors, asked.device),
        }
        seconds = interleaved(ways, asked.rounds)
        theirs, ours = plain(checkpoints, folders, settings, asked.device), together(*what)
        apart = max(float((logits - ours[c][key]).abs().max()) for c in theirs for key, logits in theirs[c].items())
        assert all(theirs[c].keys() == ours[c].keys() for c in theirs)
    finally:
        shutil.rmtree(folder)
    first, images = next(iter(ways)), sum(map(len, sets.values()))
    decoded = dict(zip(ways, (asked.checkpoints * images, asked.checkpoints * images, images, 0), strict=True))
    rows = [
        [name, f"{decoded[name]:,}", rate(asked.checkpoints * images, s), times_faster(s, seconds[first])]
        for name, s in seconds.items()
    ]
    print(table(["way", "images decoded", "predictions/s", "times the plain loop"], rows))
    print()
    print(
        f"{where_and_when()}; {asked.checkpoints} checkpoints x {len(sets)} test sets, {images:,} images, "
        f"{asked.rounds} rounds; the spread is that of rounds. Logits of both differ by {apart:.1e} at most."
    )


if __name__ == "__main__":
    main()
