"""The generation stage: a plan's requests into the shards of a dataset, resumed where it stopped."""

from __future__ import annotations

import logging
from collections import abc
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from genrobust.classifiers import AUTO, resolved_here
from genrobust.core import (
    GenrobustError,
    ImageSet,
    Maker,
    Request,
    Sample,
    device_kind,
    keep_freed_memory,
    leftovers,
    lock,
    made_by,
    make_folder,
    progress_bar,
    remove_leftovers,
    repeatable,
    resolve_device,
    set_threads,
)
from genrobust.data import (
    NAMES,
    ShardDataset,
    begin_dataset,
    discard_shards,
    done_shards,
    finish_dataset,
    missing_shards,
    write_shard,
)
from genrobust.generate.engine import Engine, engine_of, identity
from genrobust.generate.plan import Plan
from genrobust.generate.sample import FAULTS, Sampler
from genrobust.recipe import GenerateConfig, GeneratorConfig

HOPELESS = 100  # requests given up from the start of a run, without one image, before the run is stopped
log = logging.getLogger(__name__)


class Generation:
    """The generation of the images of `plan` into the shards of the folder `out`, which several processes may share.

    One process claims the folder; it and those that it trusts draw the missing shards meanwhile. Others that draw the
    same shards waste time, and lose nothing. A run that was stopped or killed resumes at its first missing shard. At
    the same `batch_size`, `threads` and device the bytes are those of an undisturbed run. Another batch size changes no
    request and, beyond rounding, no image: in float32 by 1 of 255 levels at most, in 1 of 20,000 values (the pictograms
    generator with 15 steps, batches of 1 against 48).
    """

    def __init__(
        self,
        plan: Plan,
        generator: GeneratorConfig,
        config: GenerateConfig,
        out: Path,
        device: str = "auto",
        threads: int = 2,
        sources: ImageSet | None = None,
        inputs: abc.Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare to generate.

        Args:
            sources: The real images that `plan` was made with; some modes draw from none.
            inputs: What `out` is named after, if it is named by a hash.
        """
        if generator.precision == AUTO:  # a dataset of diffusers, where the recipe's own engine is another
            generator = resolved_here(generator, device_kind(device))
        self._plan, self._generator, self._config = plan, generator, config
        self._out, self._device, self._threads = out, device, threads
        self._sources, self._inputs = sources, inputs
        self.parts = plan.shards(config.shard_size)

    @contextmanager
    def claimed(self) -> abc.Iterator[list[int]]:
        """Begin the dataset for the block, which gets the missing shards, and finish it when all are there.

        The folder is locked if there is something to do.

        Raises:
            UserError: The generator cannot be found, or the folder holds another dataset, is in use, or cannot be
                written.
            GenrobustError: A completed shard is damaged; or, after the block, all shards are done and hold no image:
                then a rerun draws them again.
        """
        out, total = self._out, len(self.parts)
        about = self._describe()
        make_folder(out)
        undone = missing_shards(out, total)  # fetches what others made
        has_work = bool(undone or leftovers(out))
        with lock(out) if has_work else nullcontext():
            begin_dataset(out, about, self._inputs, made_by(*self._makers()))
            if has_work:
                remove_leftovers(out)
            done = set(done_shards(out))
            finish_dataset(out)
            missing = [index for index in range(total) if index not in done]
            images = sum(len(self.parts[index]) for index in missing)
            engine_of(self._generator).check_amount(self._generator, images)
            yield missing
            if has_work:
                remove_leftovers(out)  # of others that drew meanwhile and were killed
            if missing:
                self._require_images()
            finish_dataset(out)

    def _makers(self) -> list[Maker]:
        """List what draws the images."""
        parts = engine_of(self._generator).parts(self._generator)
        decoders = () if self._sources is None else self._sources.decoders
        return [Generation, *parts, *decoders]

    def _require_images(self) -> None:
        dataset, total = ShardDataset(self._out, allow_partial=True), len(self.parts)
        if dataset.given_up and not len(dataset) and not missing_shards(self._out, total):
            discard_shards(self._out, total)
            generator = identity(self._generator)["generator"]
            raise _no_image(generator, len(dataset.given_up), sorted(set(dataset.given_up.values())))

    def load(self) -> abc.Callable[[abc.Sequence[int]], None]:
        """Load the generator, and return a function that draws shards into the claimed folder, with a progress bar.

        Raises:
            UserError: The generator cannot be loaded; by the function, that a source image cannot be read.
            GenrobustError: By the function, that the disk is full, memory does not suffice, or the generator draws
                nothing but black, blank, NaN or unsafe images.
        """
        make_folder(self._out)  # claimed on another machine, perhaps, and a copy of it here
        set_threads(self._threads)
        device = resolve_device(self._device)
        keep_freed_memory(device)
        engine = engine_of(self._generator)
        loaded = engine(self._generator, self._plan.labels, self._sources, device)
        size = self._config.batch_size
        loaded.expect(min(size, max(map(len, self.parts))))
        run = _Run(loaded, size, self._threads)
        # In float16, SDXL decodes in float32: TF32 has the bits of float16, and is many times as fast.
        tf32 = self._generator.precision == "float16"

        def draw(shards: abc.Sequence[int]) -> None:
            total = sum(len(self.parts[i]) for i in shards)
            with repeatable(tf32), progress_bar("generating", total) as bar:
                for i in shards:
                    run.write(self._out, i, [self._plan[n] for n in self.parts[i]], bar.advance)

        return draw

    def _describe(self) -> dict[str, Any]:
        """Describe everything that decides the images beyond rounding as flat JSON, and the names of the classes."""
        return {
            "plan": self._plan.fingerprint,
            "requests": len(self._plan),
            "class_ids": list(self._plan.labels.ids),
            NAMES: self._plan.labels.descriptions,
            "shard_size": self._config.shard_size,
            "shards": len(self.parts),
            **identity(self._generator),
        }


class _Run:
    """One run of the stage, with a loaded engine."""

    def __init__(self, engine: Engine, batch_size: int, threads: int) -> None:
        self._sampler = Sampler(engine)
        self._batch_size = batch_size
        self._accepted = self._given_up = 0
        versions = {f"{name}_version": metadata.version(name) for name in ("genrobust", "torch")}
        self._record = {**engine.record, "batch_size": batch_size, "threads": threads, **versions}

    def write(self, out: Path, index: int, requests: abc.Sequence[Request], done: abc.Callable[[int], None]) -> None:
        """Draw and write shard `index` of the folder `out`; `done` gets how many requests were just drawn."""
        rejected: list[dict[str, Any]] = []
        write_shard(out, index, self._samples(requests, rejected, done), rejected)

    def _samples(
        self, requests: abc.Sequence[Request], rejected: list[dict[str, Any]], done: abc.Callable[[int], None]
    ) -> abc.Iterator[Sample]:
        """Draw samples as they are asked for, a batch at once, while those before are encoded.

        Requests that were given up are added to `rejected`, with their metadata.
        """
        for start in range(0, len(requests), self._batch_size):
            batch, samples = requests[start : start + self._batch_size], list[Sample]()
            for drawing in self._sampler.draw(batch):
                request = drawing.request
                flags = {fault: fault in drawing.faults for fault in FAULTS}
                meta = {**asdict(request), **self._record, "redraws": drawing.redraws, **flags}
                if drawing.image is None:
                    rejected.append({**meta, "reason": f"{drawing.faults[-1]} after {drawing.redraws} redraws"})
                else:
                    samples.append(Sample(request.key, request.label, drawing.image, meta))
            self._accepted += len(samples)
            self._given_up += len(batch) - len(samples)
            if not self._accepted and self._given_up >= HOPELESS:
                raise _no_image(self._record["generator"], self._given_up, [rejected[-1]["reason"]])
            done(len(batch))
            yield from samples


def open_generated(folder: Path) -> ShardDataset:
    """Open a generated dataset, and warn of requests that gave no image, and of copies.

    Raises:
        UserError: Shards are missing.
    """
    dataset = ShardDataset(folder)
    if given_up := dataset.given_up:
        reasons, total = "; ".join(sorted(set(given_up.values()))), len(dataset) + len(given_up)
        log.warning(f"{folder}: {len(given_up)} of {total} requests gave no image ({reasons})")
    if copies := dataset.describe_copies():
        log.warning(f"{folder}: {copies}")
    return dataset


def _no_image(generator: str, requests: int, reasons: abc.Sequence[str]) -> GenrobustError:
    """The error where none of so many `requests` gave an image, for `reasons`."""
    remedy = "try generator.dtype float32, more generator.steps, or another generator"
    if all(reason.startswith("unsafe") for reason in reasons):
        remedy = "its safety checker or server refuses all: change data.class_names or generate.prompts, or the server"
    return GenrobustError(
        f"the generator {generator} gave no usable image for {requests:,} requests ({'; '.join(reasons)}): {remedy}"
    )
