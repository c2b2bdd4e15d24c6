"""The generation stage: a plan's requests into the shards of a dataset, going on where it was."""

from __future__ import annotations

import logging
from collections import abc
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import diffusers
import torch
import transformers

import genrobust
from genrobust.classifiers import AUTO, resolved_here
from genrobust.core import (
    GenrobustError,
    ImageSet,
    LabelSpace,
    Request,
    Sample,
    UserError,
    device_kind,
    keep_freed_memory,
    leftovers,
    lock,
    make_folder,
    progress_bar,
    remove_leftovers,
    resolve_device,
    set_threads,
)
from genrobust.data import ShardDataset, claim, done_shards, missing_shards, write_shard
from genrobust.generate.modes import MODES, Mode
from genrobust.generate.pipeline import Generator, identity, load_generator
from genrobust.generate.sample import FAULTS, Drawing, Sampler
from genrobust.recipe import GenerateConfig, GeneratorConfig

HOPELESS = 100  # requests given up from the start of a run, without one image, before the run is stopped
log = logging.getLogger(__name__)


class RequestPlan(Protocol):
    """What the stage needs of a plan: requests by index, their division into shards, and a fingerprint."""

    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Request: ...
    def shards(self, shard_size: int) -> list[range]: ...


def manifest_of(
    plan: RequestPlan, generator: GeneratorConfig, config: GenerateConfig, labels: LabelSpace
) -> dict[str, Any]:
    """What the dataset is, as flat JSON: everything that decides its images beyond rounding."""
    return {
        "plan": plan.fingerprint,
        "requests": len(plan),
        "class_ids": list(labels.ids),
        "shard_size": config.shard_size,
        "shards": len(plan.shards(config.shard_size)),
        "max_redraws": config.max_redraws,
        **identity(generator),
    }


def generate(
    plan: RequestPlan,
    generator: GeneratorConfig,
    config: GenerateConfig,
    labels: LabelSpace,
    out: Path,
    device: str = "auto",
    threads: int = 2,
    shards: abc.Iterable[int] | None = None,
    sources: ImageSet | None = None,
) -> ShardDataset:
    """Draw what is missing of `plan` into the shards of the folder `out`, and open the dataset.

    `sources` are the real images that requests name, those that `plan` was made with; some modes draw from none.
    `shards` takes these shards alone, for one worker of several on the same folder; the dataset may then come back
    incomplete. A run that was stopped or killed goes on at its first missing shard, and at the same `batch_size`,
    `threads` and device the bytes are those of an undisturbed run. Another batch size changes no request and, beyond
    rounding, no image: in float32 by 1 of 255 levels at most, in 1 of 20,000 values (the pictograms generator with 15
    steps, batches of 1 against 48).

    Raises UserError for a folder that holds another dataset, is in use or cannot be written, a generator that cannot be
    loaded or is for another mode, a source image that cannot be had, and a shard that the plan has not; GenrobustError
    where a done shard is damaged, the disk is full, memory does not suffice, the generator's weights are no numbers, or
    it gives nothing but black, blank, NaN or unsafe images.
    """
    resolve_device(device)  # a wrong one is told before there is a folder
    job = Generation(plan, generator, config, labels, out, device, threads, sources)
    with job.claimed(shards) as missing:
        if missing:
            job.drawer()(missing)
        return job.opened(partial=shards is not None)


class Generation:
    """The work of `generate` in parts, for shards that several processes draw; it takes the same arguments.

    One process claims the folder, and those that it trusts draw into it meanwhile.
    """

    def __init__(
        self,
        plan: RequestPlan,
        generator: GeneratorConfig,
        config: GenerateConfig,
        labels: LabelSpace,
        out: Path,
        device: str = "auto",
        threads: int = 2,
        sources: ImageSet | None = None,
    ) -> None:
        self._plan, self._config, self._labels = plan, config, labels
        self._generator = generator if generator.dtype != AUTO else resolved_here(generator, device_kind(device))
        self._out, self._device, self._threads, self._sources = out, device, threads, sources
        self.parts = plan.shards(config.shard_size)

    @contextmanager
    def claimed(self, shards: abc.Iterable[int] | None = None) -> abc.Iterator[list[int]]:
        """Hold the folder for the block, which gets those of `shards` that are missing; None are all of them.

        Others may hold it too where `shards` are given. Raises as `generate` does for a wrong shard or folder.
        """
        out, total = self._out, len(self.parts)
        wanted = list(range(total)) if shards is None else sorted(set(shards))
        beyond = [index for index in wanted if not 0 <= index < total]
        if beyond:
            raise UserError(f"there is no shard {beyond[0]}: the plan has {total}, counted from 0")
        manifest = manifest_of(self._plan, self._generator, self._config, self._labels)
        make_folder(out)
        # Workers share the folder, and so do those who find all of it there.
        shared = shards is not None or not (missing_shards(out, total) or leftovers(out))
        with lock(out, shared, writes=shards is not None):
            claim(out, manifest)
            if not shared:
                remove_leftovers(out)
            done = set(done_shards(out))
            yield [index for index in wanted if index not in done]
            if not shared:
                remove_leftovers(out)  # of others that drew meanwhile and were killed

    def drawer(self) -> abc.Callable[[abc.Sequence[int]], None]:
        """Load the generator; returned is what draws shards into the claimed folder, with a bar."""
        make_folder(self._out)  # claimed on another machine, perhaps, and a copy of it here
        set_threads(self._threads)
        keep_freed_memory()
        loaded = load_generator(self._generator, resolve_device(self._device))
        mode = MODES[self._generator.mode](loaded, self._labels, self._sources)
        run = _Run(loaded, mode, self._config, self._threads)

        def draw(shards: abc.Sequence[int]) -> None:
            work = run.shards(self._out, ((i, [self._plan[n] for n in self.parts[i]]) for i in shards))
            # Closed before the folder is given back: an interrupt must not leave the writer at work without it.
            with progress_bar("generating", sum(len(self.parts[i]) for i in shards)) as bar, closing(work):
                for made in work:
                    bar.advance(made)

        return draw

    def opened(self, partial: bool = False) -> ShardDataset:
        """The dataset; raises UserError where shards are missing, unless it may be `partial`."""
        dataset = ShardDataset(self._out, allow_partial=partial)
        if dataset.given_up:
            log.warning(_summary_of(dataset))
        return dataset


class _Run:
    """One run of the stage: a loaded generator, and a thread that encodes and writes beside it."""

    def __init__(self, generator: Generator, mode: Mode, config: GenerateConfig, threads: int) -> None:
        drawn = generator.config
        self._sampler = Sampler(generator, mode, config.max_redraws)
        self._batch_size = config.batch_size
        self._accepted = self._given_up = 0
        self._how = {
            "generator": generator.id,
            "weights_sha256": generator.weights_sha256,
            "mode": drawn.mode,
            "lora": generator.lora,
            "lora_sha256": generator.lora_sha256,
            "lora_scale": drawn.lora.scale if drawn.lora else None,
            "strength": None if "strength" in drawn.unused else drawn.strength,
            "scheduler": type(generator.pipeline.scheduler).__name__,
            "steps": drawn.steps,
            "guidance_scale": drawn.guidance_scale,
            **({"guidance_until": drawn.guidance_until} if drawn.guidance_until < 1 else {}),  # as in `sampling`
            "width": generator.width,
            "height": generator.height,
            "dtype": drawn.dtype,
            "device": generator.device.type,
            "batch_size": config.batch_size,
            "threads": threads,
            "genrobust_version": genrobust.__version__,
            "diffusers_version": diffusers.__version__,
            "transformers_version": transformers.__version__,
            "torch_version": torch.__version__,
        }

    def shards(self, out: Path, shards: abc.Iterable[tuple[int, list[Request]]]) -> abc.Generator[int, None, None]:
        """Draw and write each shard; yields how many requests were just drawn. Interrupted, it leaves whole shards."""
        before: Future[None] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="shards") as writer:
            for index, requests in shards:
                rejected: list[dict[str, Any]] = []
                with _Handover() as samples:
                    writing = writer.submit(write_shard, out, index, samples, rejected)
                    for start in range(0, len(requests), self._batch_size):
                        drawings = self._sampler.draw(requests[start : start + self._batch_size])
                        for drawing in drawings:
                            self._keep(drawing, samples, rejected)
                        self._stop_if_hopeless(rejected)
                        for future in (before, writing):
                            if future is not None and future.done():
                                future.result()  # a full disk is told now, not a shard later
                        yield len(drawings)
                before = writing
            if before is not None:
                before.result()

    def _keep(self, drawing: Drawing, samples: _Handover, rejected: list[dict[str, Any]]) -> None:
        request = drawing.request
        flags = {fault: fault in drawing.faults for fault in FAULTS}
        meta = {**asdict(request), **self._how, "redraws": drawing.redraws, **flags}
        if drawing.image is None:
            self._given_up += 1
            rejected.append({**meta, "reason": f"{drawing.faults[-1]} after {drawing.redraws} redraws"})
        else:
            self._accepted += 1
            samples.put(Sample(request.key, request.label, drawing.image, meta))

    def _stop_if_hopeless(self, rejected: list[dict[str, Any]]) -> None:
        if not self._accepted and self._given_up >= HOPELESS:
            raise GenrobustError(
                f"the generator {self._how['generator']} gave no usable image for {self._given_up} requests (the last: "
                f"{rejected[-1]['reason']}): try generator.dtype float32, more generator.steps, or another generator"
            )


class _Handover:
    """Samples on their way to the thread that encodes and writes them, so that none waits for its shard to be drawn.

    The block that puts them says by its end that there are no more; where it fails, so does whoever takes them.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Sample | None] = SimpleQueue()
        self._broken = False

    def __enter__(self) -> _Handover:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._broken = kind is not None
        self._queue.put(None)

    def put(self, sample: Sample) -> None:
        self._queue.put(sample)

    def __iter__(self) -> abc.Iterator[Sample]:
        while (sample := self._queue.get()) is not None:
            yield sample
        if self._broken:
            raise GenrobustError("the shard was not drawn to its end")


def _summary_of(dataset: ShardDataset) -> str:
    reasons = sorted(set(dataset.given_up.values()))
    total = len(dataset) + len(dataset.given_up)
    return f"{dataset.folder}: {len(dataset.given_up)} of {total} requests gave no image ({'; '.join(reasons)})"
