"""What work costs on this machine: time from rates measured or published, and room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from genrobust.core import DiskFull, about
from genrobust.recipe import FinetuneConfig, GeneratorConfig, Recipe
from genrobust.study.rates import estimate, measured_rate, of_generator
from genrobust.study.study import Study
from genrobust.study.work import Step, steps

# Stable Diffusion 1.5 in diffusers with PyTorch's own attention, float16, one 512 px image at a time: 1.60 s an image.
PUBLISHED_SECONDS, PUBLISHED_STEPS = 1.60, 50
PUBLISHED_BY = "published for Stable Diffusion 1.5 on one A100, github.com/fal-ai/stable-diffusion-benchmarks"
PNG_SHARE = 0.6  # of the raw bytes of a photograph; drawings take less
STABLE_DIFFUSION_PIXELS = 512  # the side of its images where a recipe names none
PACKED_BYTES = 120_000  # of an image of about 500 px: the photographs and PNGs of benchmarks/loading.py
FINETUNED_COPIES = 5  # of a generator's weights: the fine-tuned one, and the state's weights, average and two moments
STATE_COPIES = 5  # of the weights in a training state: model, average, best, and the optimizer's two moments


def generation(images: int, generator: GeneratorConfig, device: str, out: Path) -> str:
    """How long `images` images take, in words, with the rate that says so and where it comes from."""
    rate = measured_rate(out, "generate", of_generator(generator, device))
    if rate is not None:
        return f"{images:,} images take {about(images / rate)} at {rate:.3g} images/s, measured on this machine"
    each = PUBLISHED_SECONDS * generator.steps / PUBLISHED_STEPS
    return (
        f"{images:,} images of {generator.steps} steps take {about(images * each)} at {each:.2g} s each on one A100 "
        f"({PUBLISHED_SECONDS:.1f} s at {PUBLISHED_STEPS} steps: {PUBLISHED_BY}). A CPU takes minutes for each"
    )


def published(recipe: Recipe, step: Step, out: Path) -> str | None:
    """How long the images of the generate step `step` take by the published rate, in words.

    None where that is not the rate of its generator, or where this machine's own is known.
    """
    generator, _ = recipe.generation(step.what)
    if "stable-diffusion-v1" not in generator.model or measured_rate(out, "generate", step.of) is not None:
        return None
    return generation(step.left, generator, "cuda", out)


def seconds_left(study: Study, steps: Sequence[Step]) -> tuple[float, bool]:
    """The seconds that the unfinished steps of `study` take, and whether there are more whose rate is not known yet."""
    total, unknown = 0.0, False
    for together in _waiting_for_each_other(steps):
        sizes = [size for step in together for size in step.sizes]
        seconds = estimate(study.out, together[0].stage, sizes, 1 if together[0].stage == "pack" else study.workers)
        total, unknown = total + (seconds or 0.0), unknown or seconds is None
    return total, unknown


def _waiting_for_each_other(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps in groups that begin when the one before has ended: all trainings are one, each dataset is its own."""
    for stage, group in groupby(steps, key=lambda step: step.stage):
        if stage in ("train", "evaluate"):
            yield list(group)
        else:
            yield from ([step] for step in group)


def disk(recipe: Recipe, work: Sequence[Step]) -> int:
    """About how many bytes the unfinished steps of `work` will take, with what lies beside them while they are made."""
    import torch

    from genrobust.classifiers import create_classifier

    total = 0.0
    for step in work:
        if step.stage == "generate" and recipe.generator is not None:
            own = 64 if recipe.generator.model == "pictograms" else STABLE_DIFFUSION_PIXELS
            width, height = recipe.generator.width or own, recipe.generator.height or own
            total += step.left * width * height * 3 * PNG_SHARE
        if step.stage == "pack":
            total += step.left * PACKED_BYTES
        if step.stage == "finetune" and step.left and recipe.generator is not None:
            from genrobust.generate import weights_bytes

            full = (recipe.finetune or FinetuneConfig()).method == "full"  # the additions of a LoRA take a few MB
            total += FINETUNED_COPIES * weights_bytes(recipe.generator) if full else 0
    models = sum(1 for step in work if step.stage == "train" and step.left)
    if models:
        train = recipe.train
        with torch.device("meta"):  # shapes alone: no memory, no time
            model = create_classifier(train.architecture, len(recipe.arms) + 1, train.image_size, train.model_kwargs)
        total += (models + STATE_COPIES) * sum(p.numel() * 4 for p in model.parameters())
    return round(total)


def free(out: Path) -> int:
    """The bytes that are free where `out` lies or will lie."""
    return shutil.disk_usage(next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())).free


@contextmanager
def room_told(study: Study) -> Iterator[None]:
    """Let a DiskFull of the block say how much `study` still needs, and how much is free."""
    try:
        yield
    except DiskFull as error:
        need, room = disk(study.recipe, list(steps(study))) / 1e6, free(study.out) / 1e6
        needs = f"this study still needs about {need:,.0f} MB" if need else "the study's arms need no more"
        raise DiskFull(f"{error} ({needs}; {room:,.0f} MB are free)") from error
