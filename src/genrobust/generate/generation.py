"""The generation of a dataset: draws a plan's requests into shards, and resumes at the first missing shard."""

from __future__ import annotations

import logging
from collections import abc
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from genrobust.classifiers import AUTO, resolved_here
from genrobust.core import (
    GenrobustError,
    ImageSet,
    Request,
    Sample,
    device_kind,
    keep_freed_memory,
    progress_bar,
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
from genrobust.generate.request_plan import Plan
from genrobust.generate.sampler import FAULTS, Drawing, Sampler
from genrobust.recipe import GenerateConfig, GeneratorConfig
from genrobust.store import leftovers, lock, made_by, make_folder, remove_leftovers

# Stop a run after so many requests without a single image.
HOPELESS = 100
log = logging.getLogger(__name__)


@dataclass
class Generation:
    """The generation of the images of `plan` into the shards of the folder `out`, which several processes may share.

    One process claims the folder. It and the processes that it starts draw the missing shards. Two processes that draw
    the same shard waste time but lose nothing. A stopped or killed run resumes at its first missing shard. With the
    same `batch_size`, `threads` and device, the bytes are the same as undisturbed. Another batch size changes no
    request and, beyond rounding, no image: in float32 by 1 of 255 levels at most, in 1 of 20,000 values (the pictograms
    generator with 15 steps, batches of 1 and of 48).

    Attributes:
        sources: The real images that `plan` was made with; some modes draw from none.
        inputs: What the name of `out` is a hash of, if it is.
    """

    plan: Plan
    generator: GeneratorConfig
    config: GenerateConfig
    out: Path
    device: str = "auto"
    threads: int = 2
    sources: ImageSet | None = None
    inputs: abc.Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # A study resolves the precision of the recipe's own engine only, and a dataset may have another one.
        if self.generator.precision == AUTO:
            self.generator = resolved_here(self.generator, device_kind(self.device))
        self.parts = self.plan.shards(self.config.shard_size)

    @contextmanager
    def claimed(self) -> abc.Iterator[list[int]]:
        """Begin the dataset, yield the missing shards, and finish the dataset after the block if all are done.

        The folder is locked if there is something to do.

        Raises:
            UserError: The generator cannot be found, or the folder holds another dataset, is in use, or cannot be
                written.
            GenrobustError: A finished shard is damaged; or, after the block, all shards are done and hold no image:
                then a rerun draws them again.
        """
        out = self.out
        total = len(self.parts)
        description = self._describe()
        make_folder(out)
        # This also fetches shards that other machines finished.
        undone = missing_shards(out, total)
        has_work = bool(undone or leftovers(out))
        with lock(out) if has_work else nullcontext():
            begin_dataset(out, description, self.inputs, self._made_by())
            if has_work:
                remove_leftovers(out)
            done = set(done_shards(out))
            finish_dataset(out)
            missing = [index for index in range(total) if index not in done]
            images = sum(len(self.parts[index]) for index in missing)
            engine_of(self.generator).check_amount(self.generator, images)
            yield missing
            if has_work:
                # Processes that drew meanwhile may have been killed.
                remove_leftovers(out)
            if missing:
                self._require_images()
            finish_dataset(out)

    def _made_by(self) -> dict[str, Any]:
        parts = engine_of(self.generator).parts(self.generator)
        decoders = () if self.sources is None else self.sources.decoders
        return made_by(Generation, *parts, *decoders)

    def _require_images(self) -> None:
        """Raise GenrobustError, and discard the shards, if all are done and none holds an image."""
        dataset = ShardDataset(self.out, allow_partial=True)
        total = len(self.parts)
        is_whole = not missing_shards(self.out, total)
        if is_whole and dataset.given_up and not len(dataset):
            discard_shards(self.out, total)
            generator = identity(self.generator)["generator"]
            reasons = sorted(set(dataset.given_up.values()))
            raise _no_image_error(generator, len(dataset.given_up), reasons)

    def load(self) -> abc.Callable[[abc.Sequence[int]], None]:
        """Load the generator, and return a function that draws shards into the claimed folder, with a progress bar."""
        # The folder may have been claimed on another machine, and not exist here yet.
        make_folder(self.out)
        set_threads(self.threads)
        device = resolve_device(self.device)
        keep_freed_memory(device)
        engine = engine_of(self.generator)(self.generator, self.plan.labels, self.sources, device)
        batch_size = self.config.batch_size
        largest_shard = max(len(part) for part in self.parts)
        engine.expect(min(batch_size, largest_shard))
        writer = _ShardWriter(engine, self.out, batch_size, self.threads)
        # In float16, SDXL decodes in float32. TF32 has as many bits as float16, and is much faster.
        tf32 = self.generator.precision == "float16"

        def draw(shards: abc.Sequence[int]) -> None:
            total = sum(len(self.parts[index]) for index in shards)
            with repeatable(tf32), progress_bar("generating", total) as bar:
                for index in shards:
                    requests = [self.plan[number] for number in self.parts[index]]
                    writer.write(index, requests, bar.advance)

        return draw

    def _describe(self) -> dict[str, Any]:
        """Return everything that decides the images beyond rounding, and the names of the classes, as flat JSON."""
        return {
            "plan": self.plan.fingerprint,
            "requests": len(self.plan),
            "class_ids": list(self.plan.labels.ids),
            NAMES: self.plan.labels.descriptions,
            "shard_size": self.config.shard_size,
            "shards": len(self.parts),
            **identity(self.generator),
        }


class _ShardWriter:
    """Draws and writes shards."""

    def __init__(self, engine: Engine, out: Path, batch_size: int, threads: int) -> None:
        self._sampler = Sampler(engine)
        self._out, self._batch_size = out, batch_size
        self._accepted = 0
        self._given_up = 0
        self._record = {
            **engine.record,
            "batch_size": batch_size,
            "threads": threads,
            "genrobust_version": metadata.version("genrobust"),
            "torch_version": metadata.version("torch"),
        }

    def write(self, index: int, requests: abc.Sequence[Request], advance: abc.Callable[[int], None]) -> None:
        """Draw and write shard `index`; `advance` gets the number of requests that were just drawn."""
        rejected: list[dict[str, Any]] = []
        write_shard(self._out, index, self._draw(requests, rejected, advance), rejected)

    def _draw(
        self, requests: abc.Sequence[Request], rejected: list[dict[str, Any]], advance: abc.Callable[[int], None]
    ) -> abc.Iterator[Sample]:
        """Yield samples, one batch at a time, while earlier ones are encoded. A batch never crosses a shard.

        The metadata of requests that were given up is added to `rejected`.
        """
        for start in range(0, len(requests), self._batch_size):
            batch = requests[start : start + self._batch_size]
            samples = []
            for drawing in self._sampler.draw(batch):
                meta = self._metadata(drawing)
                if drawing.image is None:
                    reason = f"{drawing.faults[-1]} after {drawing.redraws} redraws"
                    rejected.append({**meta, "reason": reason})
                else:
                    samples.append(Sample(drawing.request.key, drawing.request.label, drawing.image, meta))
            self._accepted += len(samples)
            self._given_up += len(batch) - len(samples)
            if self._accepted == 0 and self._given_up >= HOPELESS:
                reasons = sorted({row["reason"] for row in rejected})
                raise _no_image_error(self._record["generator"], self._given_up, reasons)
            advance(len(batch))
            yield from samples

    def _metadata(self, drawing: Drawing) -> dict[str, Any]:
        """Return a row of the sidecar: the request, how it was drawn, and whether each fault occurred."""
        had_fault = {fault: fault in drawing.faults for fault in FAULTS}
        return {**asdict(drawing.request), **self._record, "redraws": drawing.redraws, **had_fault}


def open_generated(folder: Path) -> ShardDataset:
    """Open a generated dataset, and warn of requests without an image, and of copies."""
    dataset = ShardDataset(folder)
    given_up = dataset.given_up
    if given_up:
        total = len(dataset) + len(given_up)
        reasons = "; ".join(sorted(set(given_up.values())))
        log.warning(f"{folder}: {len(given_up)} of {total} requests gave no image ({reasons})")
    copies = dataset.describe_copies()
    if copies:
        log.warning(f"{folder}: {copies}")
    return dataset


def _no_image_error(generator: str, requests: int, reasons: abc.Sequence[str]) -> GenrobustError:
    remedy = "try generator.dtype float32, more generator.steps, or another generator"
    if all(reason.startswith("unsafe") for reason in reasons):
        remedy = "its safety checker or server refuses all: change data.class_names or generate.prompts, or the server"
    return GenrobustError(
        f"the generator {generator} gave no usable image for {requests:,} requests ({'; '.join(reasons)}): {remedy}"
    )
