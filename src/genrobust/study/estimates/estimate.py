"""Estimates of the work of a study on this machine: time from rates measured or published, and space on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path

from genrobust.classifiers import named_precisions
from genrobust.core import EMBEDDED, FLOAT32, DiskFull, UserError, about, has_no_inodes, progress_bar, set_threads
from genrobust.recipe import GENERATED, GeneratorConfig, Recipe
from genrobust.study.context import Context
from genrobust.study.estimates.rates import MACHINE, RATES, Cost, known_rate, remember_rate
from genrobust.study.estimates.speed import measure_speed
from genrobust.study.executors.jobs import DoJobs, Job, Work
from genrobust.study.executors.processes import Processes
from genrobust.study.stages.generate import Generate, generation_cost
from genrobust.study.stages.stage import Row, Stage
from genrobust.study.study import Study

# Stable Diffusion 1.5 in diffusers with PyTorch's own attention, float16, one 512 px image at a time: 1.60 s an image.
PUBLISHED_SECONDS, PUBLISHED_STEPS = 1.60, 50
PUBLISHED_BY = "published for Stable Diffusion 1.5 on one A100, github.com/fal-ai/stable-diffusion-benchmarks"
SECONDS = 2.0  # of measurement, before anything has run in a folder
MEASURED = (FLOAT32, "bfloat16", "float16")


def generation_time(images: int, generator: GeneratorConfig, worker: str, out: Path) -> str:
    """Return how long `images` images take, in words, with the rate and where it comes from."""
    rate = known_rate(out, Generate.name, worker, generation_cost(generator))
    if rate is not None:
        return f"{images:,} images take {about(images / rate)} at {rate:.3g} images/s, measured on this machine"
    steps = generator.drawn_steps
    each = PUBLISHED_SECONDS * steps / PUBLISHED_STEPS
    return (
        f"{images:,} images of {steps} steps take {about(images * each)} at {each:.2g} s each on one A100 "
        f"({PUBLISHED_SECONDS:.1f} s at {PUBLISHED_STEPS} steps: {PUBLISHED_BY}). A CPU takes minutes for each"
    )


def published_time(row: Row) -> str | None:
    """Return how long the images of a row take by the published rate, in words.

    None where that is not the rate of their generator, or where this machine's own is known.
    """
    if not isinstance(row.stage, Generate) or not row.left:
        return None
    context, generator = row.stage.context, row.stage.dataset.generator
    if row.stage.seconds(row.left) is not None or "stable-diffusion-v1" not in generator.model:
        return None
    return generation_time(sum(job.size for job in row.left), generator, "cuda", context.out)


def seconds_left(rows: Sequence[Row]) -> tuple[float, bool]:
    """Return the seconds that `rows` take, and whether there are more whose rate is not known yet."""
    total, unknown = 0.0, False
    for stage, of_stage in groupby(rows, key=lambda row: row.stage):
        seconds = stage.seconds([job for row in of_stage for job in row.left])
        total, unknown = total + (seconds or 0.0), unknown or seconds is None
    return total, unknown


def disk(rows: Sequence[Row]) -> int:
    """Return about how many bytes `rows` will take, with what lies beside them while they are made."""
    total = 0.0
    for row in rows:
        costs = [row.stage.cost(job) for job in row.left]
        beside = sorted((cost.beside for cost in costs), reverse=True)[: row.stage.workers]
        total += sum(cost.disk for cost in costs) + sum(beside)
    return round(total)


def free(out: Path) -> int:
    """Return the bytes that are free where `out` lies or will lie."""
    return shutil.disk_usage(next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())).free


@contextmanager
def explain_disk_full(study: Study) -> Iterator[None]:
    """Add to a DiskFull of the block how much `study` still needs, and how much is free, where that is the reason."""
    try:
        yield
    except DiskFull as error:
        if has_no_inodes(study.out):
            raise
        need, room = disk(study.rows()) / 1e6, free(study.out) / 1e6
        needs = f"this study still needs about {need:,.0f} MB" if need else "the study's arms need no more"
        raise DiskFull(f"{error} ({needs}; {room:,.0f} MB are free)") from error


def requests_of(recipe: Recipe) -> dict[str, int]:
    """Return the number of images that a recipe of ImageNet generates, by dataset, without looking at any data.

    Raises:
        UserError: The classes are read from the data, or from a list that is wrong.
    """
    labels = recipe.data.known_labels()
    if labels is None:
        raise UserError("the classes of this study are known from its images alone")
    names = [n for n in recipe.generated_sets() if n != GENERATED or recipe.data.generated is None]
    return {name: len(labels) * recipe.generation(name)[1].per_class for name in names}


def needs_of(recipe: Recipe) -> str:
    """Return what a recipe needs and this machine lacks, in words: data, a GPU, files; "" for nothing."""
    if recipe.data.needs:
        return recipe.data.needs
    generators = [recipe.generation(name)[0] for name in recipe.generated_sets()]
    retrieved = recipe.data.retrieved
    places = [*(config.model for config in generators), retrieved.clip, *recipe.data.places.values()]
    named = [str(place) for place in places if place not in (None, EMBEDDED)]
    return ", ".join(dict.fromkeys(place for place in named if not Path(place).exists()))


def time_here(recipe: Recipe, out: Path) -> str:
    """Return about how long the missing jobs of a study take, by the rates that are measured in `out`.

    "" means that some of them are not measured. A study that trains a generator is not looked at, which takes seconds.
    """
    if not (out / RATES).exists() or any(
        config.from_scratch or config.finetuned for config in recipe.datasets.values()
    ):
        return ""
    seconds, unknown = seconds_left(Study(recipe, out, executor=Processes(recipe)).rows())
    if unknown:
        return ""
    return about(seconds) if seconds else "done"


def measure_machine(rows: Sequence[Row]) -> None:
    """Measure how fast this machine is, where some job of `rows` is not done.

    It is kept in the folder of the study. As many workers are measured at the same time as the study will have: they
    share the memory's bandwidth. Nothing is measured on a GPU, whose speed with a network depends more on what feeds
    it, nor on a cluster, whose nodes may all differ: there the first jobs of a stage tell.
    """
    first = [(row.stage, row.left[0]) for row in rows if row.left]
    if not first:
        return
    context = first[0][0].context
    precisions = sorted({FLOAT32, *named_precisions(context.recipe).values()} & set(MEASURED))
    known = [known_rate(context.out, MACHINE, context.worker, Cost(1, precision)) for precision in precisions]
    if context.device != "cpu" or not context.executor.here or None not in known:
        return
    jobs = [Job(number, "measuring this machine", 1) for number in range(context.executor.workers())]
    load = partial(_measurer, context, precisions, first)
    context.executor.run(Work("measuring this machine", jobs, load, "workers", light=True))


def _measurer(context: Context, precisions: Sequence[str], first: Sequence[tuple[Stage, Job]]) -> DoJobs:
    set_threads(context.recipe.threads)

    def measure(numbers: Sequence[int]) -> None:
        with progress_bar("measuring", len(numbers), "workers") as bar:
            for number in numbers:
                for precision in precisions:
                    speed = measure_speed(precision, SECONDS / len(precisions))
                    remember_rate(context.out, MACHINE, Cost(1, precision).key(context.worker), speed)
                for stage, job in first if number == 0 else ():
                    stage.cost(job)  # which keeps the sizes of networks
                bar.advance()

    return measure
