"""Speed of the training loop against a bare step: images a second of each, and their ratio, for the installed recipes.

    python benchmarks/training.py

The loop is that of `genrobust.train`, as a recipe runs it: it reads and augments every batch, steps, averages the
weights and checks the loss. A bare step is forward, backward and optimizer on one batch in memory as floats: the same
network, memory format, precision, loss and optimizer, without reading, augmentation, weight average and learning-rate
schedule. The two take turns in one process, ten steps each, on the same threads. The rows of the loop leave out
validation and saving the state. `pictograms` is the network of the recipe of that name on its icons; `imagenet100` that
of its recipe on the synthetic photographs of `loading.py`, read from packed copies, at --side pixels and in small
batches for a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from loading import photographs
from side_by_side import rate, table, times_faster, use_cores, where_and_when
from timm.optim import create_optimizer_v2
from torch.nn import functional as F

from genrobust.classifiers import autocast, create_classifier, move_to, resolved_here
from genrobust.core import ImageSet, LabelSpace, Subset, resolve_device
from genrobust.data.readers import pictograms
from genrobust.recipe import TrainConfig, load_recipe
from genrobust.train import Mixture, Source, TrainingJob, train
from genrobust.train.loop import LOOK_EVERY

CORES = 2
WARM_UP = 3  # turns that are not counted


class BareSteps:
    """Runs `LOOK_EVERY` steps on one batch in memory."""

    def __init__(self, config: TrainConfig, classes: int, device: torch.device) -> None:
        model = create_classifier(config.architecture, classes, config.image_size, config.model_kwargs)
        self.model, self.config, self.device = move_to(model, device).train(), config, device
        if config.compile:
            self.model.compile(dynamic=False)
        self.optimizer = create_optimizer_v2(
            self.model,
            opt=config.optimizer,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            fused=True,
        )
        shape = (config.batch_size, 3, config.image_size, config.image_size)
        self.images = torch.rand(shape, device=device).contiguous(memory_format=torch.channels_last)
        self.targets = torch.randint(classes, shape[:1], device=device)

    def __call__(self) -> None:
        with fastest_convolutions(self.device):
            for _ in range(LOOK_EVERY):
                with autocast(self.device, self.config.precision):
                    logits = self.model(self.images)
                loss = F.cross_entropy(logits.float(), self.targets, label_smoothing=self.config.label_smoothing)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()


def fastest_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Let cuDNN choose what is fastest, for the block; genrobust takes what sums in a fixed order, for all after it."""
    how = {"enabled": True, "benchmark": True, "deterministic": False}  # `flags` turns off what it is not asked for
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(**how)
    return flags if device.type == "cuda" else nullcontext()


def take_turns(
    images: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    device: torch.device,
    packed: Path | None,
    warm_up: int = WARM_UP,
    threads: int = CORES,
) -> dict[str, list[float]]:
    """Seconds of every turn of the loop and of bare steps, after so many that warm up.

    While the bare steps run, the loop's readers fetch the batch ahead: where reading is the bound, one batch of the
    LOOK_EVERY of a turn comes for nothing.
    """
    bare = BareSteps(config, len(labels), device)
    seconds: dict[str, list[float]] = {"loop": [], "bare": []}
    began = time.perf_counter()

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def turn(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal began
        if "val_top1" in metrics:  # the last step
            return
        ended = clock()
        bare()
        began, before = clock(), began
        if step > warm_up * LOOK_EVERY:
            seconds["loop"].append(ended - before)
            seconds["bare"].append(began - ended)

    run(images, labels, config, device, packed, turn, threads)
    return seconds


def run(
    images: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    device: torch.device,
    packed: Path | None,
    watch: Callable[[int, Mapping[str, float]], None],
    threads: int = CORES,
) -> None:
    mixture = Mixture([Source("real", images)], config.batch_size, config.image_size, config.crop, packed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        train(TrainingJob(mixture, Subset(images, [0]), labels, config, 0, out, str(device), threads), watch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--turns", type=int, default=12, help=f"of {LOOK_EVERY} steps each, for the loop and bare steps"
    )
    parser.add_argument("--batch", type=int, default=32, help="of imagenet100; its recipe's is for a GPU")
    parser.add_argument("--side", type=int, default=224, help="of imagenet100, in pixels")
    parser.add_argument("--architecture", help="of timm, for imagenet100: such as tf_efficientnet_lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["pictograms", "imagenet100"])
    asked = parser.parse_args()
    use_cores(CORES)
    device = resolve_device(asked.device)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in [asked.only] if asked.only else ["pictograms", "imagenet100"]:
            once = {"steps": (WARM_UP + asked.turns) * LOOK_EVERY + 1, "epochs": None}
            never = {"validate_every": once["steps"] + 1, "save_every": once["steps"] + 1, "warmup_steps": 0}
            config = resolved_here(load_recipe(name).train, device.type).model_copy(update=once | never)
            if name == "pictograms":
                data = pictograms.load_pictograms()
                images, labels, packed = data.train, data.labels, None
            else:
                config = config.model_copy(
                    update={"batch_size": asked.batch, "image_size": asked.side, "start_size": None}
                )
                if asked.architecture:
                    network = {
                        "architecture": asked.architecture,
                        "model_kwargs": {},
                        "blur_pool": False,
                        "compile": False,
                    }
                    config = config.model_copy(update=network)
                images, labels, packed = *photographs(Path(temporary), 256), Path(temporary) / "packed"
            what = f"{name}: {config.architecture}, {config.image_size} px, batch {config.batch_size}"
            seconds = take_turns(images, labels, config, device, packed)
            of_a_turn = LOOK_EVERY * config.batch_size
            rates = [rate(of_a_turn, seconds[way]) for way in ("loop", "bare")]
            rows.append([what, *rates, times_faster(seconds["loop"], seconds["bare"])])
    print(table(["training", "loop, images/s", "bare step, images/s", "loop / bare"], rows))
    print(f"\nMedian of the turns (slowest to fastest); {where_and_when()}")


if __name__ == "__main__":
    main()
