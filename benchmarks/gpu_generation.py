"""Parts of `gpu.py` that generate: a user's loop over a diffusers pipeline, and genrobust, on the same requests."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from batches import best_batch
from full_size import Shape, save_pipeline
from generation import draw_plainly
from gpu_results import Part, Results, Seconds

from genrobust.core import ClassLabel, LabelSpace
from genrobust.data import ShardDataset
from genrobust.generate import Generation, Plan, engine_of, plan_of
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.recipe import GenerateConfig, PromptConfig

CLASSES = 10
PER_CLASS = 1_000  # planned, so that what pays for many images is done; a few of them are drawn
TOGETHER = 8  # images at once, the plain way
SHARDS = 2  # in a round, so that one is written while the next is drawn
TRIAL_STEPS = 4  # of the trials of batch sizes
SLOW_S = 120.0  # of drawing in a part: then one round must do
PLAIN = "plain loop"


@dataclass(frozen=True)
class Size:
    """How much is drawn: `images` or more in each of the `rounds`, and at the `most` so many at once."""

    steps: Sequence[int]
    rounds: int
    most: int
    images: int
    threads: int = 2


class Drawing:
    """The parts of one shape of pipeline, whose weights are drawn at random when the first part runs."""

    def __init__(
        self,
        shape: Shape,
        folder: Path,
        device: torch.device,
        results: Results,
        dtype: str,
        size: Size,
        goal: float | None = None,
    ) -> None:
        """`goal`: how many times as fast as a plain loop, one image at a time, genrobust is to be."""
        self.goal = goal
        self.shape, self.device, self.results, self.dtype, self.size = shape, device, results, dtype, size
        self.folder, self.drawn = folder / shape.name.replace(" ", "-"), folder / "images"

    def parts(self) -> Iterator[Part]:
        what = f"{self.shape.name}, {self.shape.pixels} px"
        for count in self.size.steps:
            title = f"{what}, {count} steps"
            ways: dict[str, Callable[[DiffusersConfig, str], list[float]]] = {
                f"{PLAIN}, {self.dtype}, one at a time": partial(self.plain, 1),
                f"{PLAIN}, {self.dtype}, {TOGETHER} at once": partial(self.plain, TOGETHER),
                f"{PLAIN}, {self.dtype}, as many at once as genrobust": partial(self.plain, None),
                "genrobust, compile: false": partial(self.ours, False),
                # As it is by default; not "auto", which would go on without where that fails.
                "genrobust": partial(self.ours, self.device.type == "cuda"),
            }
            goal = None if self.goal is None else ("genrobust", next(iter(ways)), self.goal)
            for way, run in ways.items():
                yield Part(title, "images/s", [way], partial(self.one, way, run, self.config(count), title), goal)

    def one(
        self, way: str, run: Callable[[DiffusersConfig, str], list[float]], config: DiffusersConfig, title: str
    ) -> Seconds:
        if not (self.folder / "model_index.json").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            save_pipeline(self.shape, self.folder, getattr(torch, self.dtype), self.device)
        try:
            return {way: run(config, title)}
        finally:
            shutil.rmtree(self.drawn, ignore_errors=True)
            gc.collect()
            torch.cuda.empty_cache()

    def config(self, steps: int) -> DiffusersConfig:
        own: dict[str, Any] = {"model": str(self.folder), "scheduler": None, "guidance_scale": 7.5, "steps": steps}
        own["dtype"] = self.dtype
        return DiffusersConfig(**own)

    def plan(self, config: DiffusersConfig, shard_size: int, batch: int = 1) -> tuple[Plan, GenerateConfig]:
        labels = LabelSpace(tuple(ClassLabel(f"c{i}", f"class {i}", f"class {i}") for i in range(CLASSES)))
        prompts = PromptConfig(templates="openai")
        generate = GenerateConfig(per_class=PER_CLASS, shard_size=shard_size, batch_size=batch, prompts=prompts)
        # text alone: the real images are not asked for
        return plan_of(config, generate, labels, None, 0), generate  # type: ignore[arg-type]

    def plain(self, batch_size: int | None, config: DiffusersConfig, title: str) -> list[float]:
        """What a user would write: the pipeline as it is loaded, with a saved file for each image."""
        batch_size = batch_size or self.batch_size(config, title)
        pipeline = diffusers.DiffusionPipeline.from_pretrained(self.folder, torch_dtype=getattr(torch, self.dtype))
        pipeline.to(self.device).set_progress_bar_config(disable=True)
        images = max(self.size.images, batch_size) // batch_size * batch_size
        requests = list(self.plan(config, images)[0])[:images]
        draw = partial(draw_plainly, pipeline, requests, config, self.drawn, batch_size)
        return self.timed(lambda number: draw(), images)

    def ours(self, compiled: Any, config: DiffusersConfig, title: str) -> list[float]:
        """Some shards in each round: requests to whole files on the disk."""
        config = config.model_copy(update={"compile": compiled})
        batch = self.batch_size(config, title)
        images = max(self.size.images // SHARDS, batch) // batch * batch  # of a shard
        plan, generate = self.plan(config, images, batch)
        out = self.drawn / "shards"
        job = Generation(plan, config, generate, out, str(self.device), self.size.threads)
        with job.claimed():
            draw = job.load()
            seconds = self.timed(lambda n: draw(range(SHARDS * n, SHARDS * (n + 1))), SHARDS * images)
            again = sum(ShardDataset(out, allow_partial=True).metadata(["redraws"])["redraws"].to_pylist())
        if again:
            raise RuntimeError(f"{again} images were drawn again: random weights gave blank ones, which takes time")
        return seconds

    def batch_size(self, config: DiffusersConfig, title: str) -> int:
        """The batch size that pays, of up to `size.most`, with all that was tried as a note; measured once."""
        if known := self.results.batches.get(self.shape.name):
            return known
        plan, _ = self.plan(config, self.size.most)
        few = config.model_copy(update={"steps": TRIAL_STEPS})  # which take as much memory as all
        engine = engine_of(few)(few, plan.labels, None, self.device)
        first, tried = list(plan)[: self.size.most], {}

        def seconds(count: int) -> float:
            began = time.monotonic()
            engine.draw(first[:count])
            tried[count] = time.monotonic() - began
            return tried[count]

        best = best_batch(seconds, self.size.most)
        rates = ", ".join(f"{count}: {count / took:.3g}" for count, took in tried.items())
        self.results.batches[self.shape.name] = best
        tried_up_to = f"A batch of {best} pays, of up to {self.size.most} that were tried."
        self.results.note(title, f"{tried_up_to} Images/s in trials of {TRIAL_STEPS} steps, by batch: {rates}.")
        return best

    def timed(self, draw: Callable[[int], object], images: int) -> list[float]:
        """Seconds of an image in each round, after one that loads kernels, and may compile; of a slow card, of one."""
        seconds, start = [], time.perf_counter()
        for number in range(self.size.rounds + 1):
            if number > 1 and time.perf_counter() - start > SLOW_S:
                break
            began = time.perf_counter()
            draw(number)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append((time.perf_counter() - began) / images)
        return seconds[1:]
