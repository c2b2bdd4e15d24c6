"""Writes a commented recipe that fits a user's image folders and machine."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core import PUBLISHED_CLIP, UserError, available_devices, check_output, cores, templates, writing
from genrobust.recipe import EvaluateConfig, GeneratorConfig, TrainConfig, study_name
from genrobust.report import count
from genrobust.study.estimate import generation_time
from genrobust.study.own_folders import (
    SHIFT,
    FolderContents,
    Folders,
    look_at,
    median_side,
    quoted,
    say_broken,
    say_found,
    some,
)

if TYPE_CHECKING:  # which takes torch
    from genrobust.classifiers import Initial

# The repository that held Stable Diffusion 1.5 is gone; the first two are copies of it, the third its predecessor.
STABLE_DIFFUSION = GeneratorConfig(
    model="stable-diffusion-v1-5/stable-diffusion-v1-5",
    alternatives=("benjamin-paine/stable-diffusion-v1-5", "CompVis/stable-diffusion-v1-4"),
    variant="fp16",
    dtype="auto",
    steps=25,
    guidance_scale=2.0,
)
GRID = 6  # baseline models: twice the three that a line needs
LEAST_TEST_IMAGES = 100  # with fewer, one image moves clean accuracy by more than a point, and a line fits noise
SIZES = (32, 64, 96, 128, 160, 192, 224)  # px, of a square input
GPU_THREADS = 8  # CPU threads beside a GPU; without one, a worker of one thread runs on each core
CPU_SIZE = 64  # px: at 224 a training step takes twelve times as long
PASSES = 30  # over the images of the largest arm: where small networks trained from scratch level off
CPU_STEPS, GPU_STEPS = (200, 3000), (200, 50_000)  # least and most
FEW = 300  # training images of a class: with fewer, a pretrained network is worth a try
PROPOSED = f"hf-hub:{PUBLISHED_CLIP}"
TUNED_STEPS = (100, 2000)  # least and most: a pretrained network needs fewer
TUNED_PASSES = 10  # over the images of the largest arm, as in WiSE-FT's paper
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones


def write_recipe(
    folders: Folders,
    recipe: Path,
    out: Path,
    say: Callable[[str], None],
    check: bool = True,
    overwrite: bool = False,
    pretrained: str | None = None,
) -> None:
    """Write a recipe for `folders` that `genrobust run` accepts as it is.

    Of test images only the names are read, unless `check` decodes every image to find the broken ones. Subfolders that
    match no training class are left for the user to fill in; a run refuses the recipe until then. A recipe that is
    there, which `overwrite` replaces, is kept as a numbered copy beside it.

    Args:
        out: The output folder of studies, whose measured rates tell how long generation takes.
        say: Logs one line of what is found.
        pretrained: A network as `train.init` names it, for further arms that start from it.

    Raises:
        UserError: A recipe that exists or is no .yaml, a folder that is missing, empty or named twice, a training class
            without images, or a network that cannot be opened.
    """
    if recipe.suffix not in {".yaml", ".yml"}:
        raise UserError(f"--recipe {recipe}: the name of a recipe ends in .yaml")
    check_output(recipe, overwrite=overwrite)
    found, class_names = look_at(folders)
    say_found(found, say)
    if check:
        say_broken(found, say)
    values = _values(found, out, say, None if pretrained is None else _open_pretrained(pretrained, class_names))
    environment = templates("study", keep_trailing_newline=True)
    environment.filters |= {"q": quoted}
    text = environment.get_template("init.yaml.j2").render(
        file=quoted(str(recipe)), name=study_name(recipe.stem), class_names=class_names, **values
    )
    if recipe.is_file() and (before := recipe.read_bytes()) != text.encode():
        say(f"kept the recipe that was there as {_keep(recipe, before)}")
    with writing(recipe, overwrite=overwrite) as file:
        file.write(text.encode())
    first = f"Fill in data.same_class ({some(list(values['unknown']))})" if values["unknown"] else "Look it over"
    say(f"wrote {recipe}. {first}, then: genrobust run {recipe} --quick")


def _keep(recipe: Path, content: bytes) -> Path:
    """Write `content` to a new file beside `recipe`, with a number in its name, and return that."""
    names = (recipe.with_name(f"{recipe.stem}.{number}{recipe.suffix}") for number in count_from(1))
    copy = next(path for path in names if not os.path.lexists(path))
    with writing(copy) as file:
        file.write(content)
    return copy


def _open_pretrained(spec: str, class_names: Mapping[str, str]) -> Initial:
    from genrobust.classifiers import open_initial

    texts = [[f"a photo of a {name}"] for name in class_names.values()]
    return open_initial(TrainConfig(init=spec), list(class_names), lambda: texts)


def propose(real: int, largest: int, side: int, gpu: bool) -> dict[str, Any]:
    """Propose training settings for `real` training images with a median shorter side of `side` pixels.

    The largest arm has `largest` images; `gpu` says whether this machine has one. "every" is in steps, and the reasons
    become comments.
    """
    fitting = max((s for s in SIZES if s <= side), default=SIZES[0])
    size = fitting if gpu else min(fitting, CPU_SIZE)
    reason = f"px; the median shorter side of the training images is {side} px"
    if size < fitting:
        reason += f", but without a GPU more than {CPU_SIZE} takes days"
    batch = 128 if real >= 512 else max(8, 2 ** int(math.log2(max(1, real / 4))))
    low, high = GPU_STEPS if gpu else CPU_STEPS
    steps = min(high, max(low, math.ceil(PASSES * largest / batch / 100) * 100))
    passes = steps * batch / largest
    return {
        "architecture": "resnet10t" if size <= 96 else "resnet18" if real < 100_000 else "resnet50",
        "image_size": size,
        "size_reason": reason,
        "batch_size": batch,
        "steps": steps,
        "steps_reason": f"{passes:.0f} passes over the {largest:,} images of the largest arm",
        "learning_rate": round(2e-3 * math.sqrt(batch / 128), 5),  # the noise of AdamW grows with the root of the batch
        "warmup_steps": steps // 10,
        "every": steps // 5,
        "quick_steps": max(20, steps // 20),
    }


def _plan(
    train: FolderContents,
    largest: int,
    gpu: bool,
    initial: Initial | None,
    arms: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The training settings, and what of a pretrained network the recipe has, or proposes in a comment.

    Its arms follow so many others: for each mixture a linear probe, and two that are fine-tuned.
    """
    plan = {**propose(train.images, largest, median_side(train.stored), gpu), "init": None}
    least = min(train.counts.values())
    if initial is not None:
        low, high = TUNED_STEPS
        steps = min(high, max(low, math.ceil(TUNED_PASSES * largest / plan["batch_size"] / 100) * 100))
        plan |= {
            "init": initial.spec,
            "image_size": initial.blueprint.image_size,
            "size_reason": "px, as the pretrained network takes them; the same for all arms",
            "tuned_steps": steps,
            "tuned_warmup": steps // 10,
            "tuned_arms": [arms + at for at in (1, 2, 4, 5)],
        }
    elif least < FEW:
        say(f"a class has {count(least, 'training image')}: with fewer than {FEW}, try a pretrained network as well:")
        say(f"  genrobust init ... --pretrained {PROPOSED} --overwrite")
    return {"plan": plan, "few": least if least < FEW else 0, "proposed": PROPOSED}


def _values(
    found: Mapping[str, FolderContents], out: Path, say: Callable[[str], None], initial: Initial | None
) -> dict[str, Any]:
    """The values of the template that depend on the folders and on this machine."""
    device = available_devices()[0]
    gpu = device != "cpu"
    train, generated, retrieved = found["train"], found.get("generated"), found.get("retrieved")
    per_class = min(MOST_PER_CLASS, max(10, round(statistics.median(train.counts.values()))))
    to_generate = per_class * len(train.counts)
    if generated is None:
        _say_generation(to_generate, device, out, say)
    shifts = {role.removeprefix(SHIFT): one for role, one in found.items() if role.startswith(SHIFT)}
    no_grid = "" if shifts else "there is no shifted test set"  # why a baseline line would be meaningless here
    if shifts and found["test"].images < LEAST_TEST_IMAGES:
        no_grid = f"{found['test'].images} clean test images are too few, it takes {LEAST_TEST_IMAGES}"
    if no_grid:
        say(f"no baseline line, and so no effective robustness: {no_grid}")
    with_generated = gpu or generated is not None
    added = [generated.images if generated else to_generate, retrieved.images if retrieved else 0]
    return {
        "title": f"{len(train.counts):,} classes of {train.folder}, {count(len(shifts), 'shifted test set')}",
        "threads": min(GPU_THREADS, cores()) if gpu else 1,
        "train": train,
        "val": found.get("val"),
        "test": found["test"],
        "shifts": shifts,
        "generated": generated,
        "retrieved": retrieved,
        "with_generated": with_generated,
        "unknown": {name: near for one in found.values() for name, near in one.unknown.items()},
        "generator": STABLE_DIFFUSION,
        "per_class": per_class,
        **_plan(train, train.images + max(added), gpu, initial, 2 + 2 * with_generated + (retrieved is not None), say),
        "min_images": EvaluateConfig().min_images,
        "grid": GRID,
        "no_grid": no_grid,
    }


def _say_generation(images: int, device: str, out: Path, say: Callable[[str], None]) -> None:
    cost = generation_time(images, STABLE_DIFFUSION, device, out)
    if device != "cpu":
        say(f"to generate: {cost}")
        return
    say(f"no GPU here and no generated images, so the recipe has no generated arm. To generate: {cost}")
    say("  either run genrobust init again on a machine with a GPU (this recipe's sizes and steps are for a CPU),")
    say("  or add images of any generator, one subfolder for each class: genrobust init ... --generated DIR")
