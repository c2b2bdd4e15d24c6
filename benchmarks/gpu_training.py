"""Parts of `gpu.py` that train, read and evaluate: genrobust, a bare step, and the loops of others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import evaluation
import loading
import torch
from gpu_results import Part, Seconds
from timm.data import create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3, NativeScaler
from training import fastest_convolutions, take_turns

from genrobust.classifiers import autocast, create_classifier
from genrobust.core import cores
from genrobust.data import classes_of, open_images, open_stored
from genrobust.recipe import EvaluateConfig, TrainConfig
from genrobust.train.loop import LOOK_EVERY

GOAL = 0.97  # of the bare step's images a second


class Training:
    """The parts that train one network on the photographs in `folder`, which are drawn where they are missing."""

    def __init__(
        self, folder: Path, count: int, device: torch.device, warm_up: int, turns: int, threads: int, **settings: Any
    ) -> None:
        """`count` photographs; `turns` of `LOOK_EVERY` steps count, after some that `warm_up`."""
        steps = (warm_up + turns) * LOOK_EVERY + 1
        never: dict[str, Any] = {"validate_every": steps + 1, "save_every": steps + 1, "warmup_steps": 0}
        # Speed does not depend on the rate, which is low enough for every network to train without a warm-up.
        crop: dict[str, Any] = {"crop": "random-resized", "optimizer": "sgd", "learning_rate": 1e-3}
        self.config = TrainConfig(steps=steps, **never, **crop, **settings)
        self.folder, self.count, self.device, self.threads = folder, count, device, threads
        self.warm_up, self.turns = warm_up, turns

    def parts(self, compiled: bool = True) -> Iterator[Part]:
        config = self.config
        title = f"{config.architecture}, {config.image_size} px, batch {config.batch_size}, {config.precision}"
        yield Part(title, "images/s", ["bare step", "genrobust"], self.ours, ("genrobust", "bare step", GOAL))
        unpacked = "genrobust, packed: false"
        yield Part(title, "images/s", [unpacked], partial(self.another, unpacked, packed=False))
        yield Part(title, "images/s", ["timm's loop"], self.timm)
        policy = "genrobust, augmentation: randaugment"
        yield Part(title, "images/s", [policy], partial(self.another, policy, augmentation="randaugment"))
        if compiled:
            ways = "bare step, compiled", "genrobust, compile: true"
            yield Part(title, "images/s", ways, partial(self.compiled, ways))

    def another(self, way: str, **changes: Any) -> Seconds:
        """genrobust's loop with `changes`, as the table calls it."""
        return {way: self.ours(**changes)["genrobust"]}

    def compiled(self, ways: tuple[str, str]) -> Seconds:
        """A bare step and genrobust's loop, both compiled, as the table calls them."""
        return dict(zip(ways, self.ours(compile=True).values(), strict=True))

    def ours(self, packed: bool = True, **changes: Any) -> Seconds:
        """genrobust's loop, with as many bare steps after each ten of its own, by default from packed copies."""
        config = self.config.changed(changes, "train")
        images, labels = loading.photographs(self.folder, self.count)
        copies = self.folder / "packed" if packed else None
        found = take_turns(images, labels, config, self.device, copies, self.warm_up, self.threads)
        each = LOOK_EVERY * config.batch_size
        return {way: [s / each for s in found[key]] for way, key in (("bare step", "bare"), ("genrobust", "loop"))}

    def timm(self) -> Seconds:
        """The parts of timm as its train.py puts them together: loader with prefetcher, scaler, average of weights."""
        config, device = self.config, self.device
        _, labels = loading.photographs(self.folder, self.count)
        images = create_dataset("", str(self.folder / "photographs"))
        shape = (3, config.image_size, config.image_size)
        how: dict[str, Any] = {"color_jitter": 0, "interpolation": "bicubic", "num_workers": cores(), "device": device}
        loader = create_loader(
            images, shape, config.batch_size, True, **how, pin_memory=True, use_multi_epochs_loader=True
        )
        network = create_classifier(config.architecture, len(labels), config.image_size).network
        model = network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = create_optimizer_v2(model, opt="sgd", lr=config.learning_rate, weight_decay=config.weight_decay)
        average, loss_of = ModelEmaV3(model, decay=config.ema_decay), LabelSmoothingCrossEntropy(config.label_smoothing)
        scaler = NativeScaler(device.type) if config.precision == "float16" else None
        seconds: list[float] = []
        step, began = 0, time.perf_counter()
        with fastest_convolutions(device):
            while len(seconds) < self.warm_up + self.turns:
                for batch, targets in loader:
                    with autocast(device, config.precision):
                        loss = loss_of(model(batch.contiguous(memory_format=torch.channels_last)), targets)
                    optimizer.zero_grad()
                    if scaler is not None:
                        scaler(loss, optimizer)
                    else:
                        loss.backward()
                        optimizer.step()
                    average.update(model, step=step)
                    step += 1
                    if step % LOOK_EVERY == 0:
                        float(loss.detach())
                        now = time.perf_counter()
                        seconds.append((now - began) / LOOK_EVERY / config.batch_size)
                        began = now
        return {"timm's loop": seconds[self.warm_up : self.warm_up + self.turns]}


class Reading:
    """The part that reads the photographs, and as many generated images, with each loader on all cores."""

    def __init__(self, folder: Path, count: int, batch: int, rounds: int) -> None:
        self.folder, self.count, self.batch, self.rounds = folder, count, batch, rounds

    def parts(self) -> Iterator[Part]:
        title = f"crops to {loading.SIDE} px, {cores()} cores, half JPEG, half PNG"
        for way in loading.NAMES:
            yield Part(title, "images/s", [way], partial(self.read, way))

    def read(self, way: str) -> Seconds:
        loading.make(self.folder, self.count)
        begin = loading.loaders(self.folder, True, self.count, self.batch, cores(), [way])[way]
        seconds = []
        for _ in range(self.rounds + 1):
            began = time.perf_counter()
            images = loading.drain(begin, self.batch)
            seconds.append((time.perf_counter() - began) / images)
        return {way: seconds[1:]}


class Evaluation:
    """The part that evaluates several classifiers on test sets of JPEGs, as `evaluation.py --photographs` does.

    They are ResNet-18s at 224 px, or `small` ones at 64 px.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        images: int,
        checkpoints: int,
        rounds: int,
        batch: int = 16,  # so that each set has a batch for each of 16 workers of the plain loop
        small: bool = False,
    ) -> None:
        self.folder, self.device, self.small = folder / "evaluation", str(device), small
        self.images, self.checkpoints, self.rounds, self.batch = images, checkpoints, rounds, batch

    def parts(self) -> Iterator[Part]:
        networks = f"{self.checkpoints} {'small networks' if self.small else 'ResNet-18s'}"
        title = f"{networks} x {evaluation.SETS} test sets of {self.images} JPEGs"
        yield Part(title, "predictions/s", ["plain loop (ImageFolder, DataLoader)", "genrobust"], self.run)

    @cached_property
    def inputs(self) -> tuple[Any, ...]:
        images = self.folder / "images"
        evaluation.write_photographs(images, self.images)
        folders = sorted(images.iterdir())
        classes = classes_of(open_stored(folders[0]))
        sets = {path.name: open_images(path.name, open_stored(path), classes) for path in folders}
        made = evaluation.write_checkpoints(self.folder, self.checkpoints, classes.labels, not self.small)
        return made, folders, sets, classes

    def run(self) -> Seconds:
        checkpoints, folders, sets, classes = self.inputs
        settings = EvaluateConfig(crop_pct=0.875, batch_size=self.batch)
        ways = {
            "plain loop (ImageFolder, DataLoader)": partial(
                evaluation.plain, checkpoints, folders, settings, self.device, min(cores(), self.images // self.batch)
            ),
            "genrobust": partial(evaluation.together, checkpoints, sets, classes.labels, settings, self.device),
        }
        predictions = self.checkpoints * self.images * evaluation.SETS
        found = loading.interleaved(ways, self.rounds)
        return {way: [s / predictions for s in seconds] for way, seconds in found.items()}
