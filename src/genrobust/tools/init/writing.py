"""Writes a commented recipe that fits a user's images and machine."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

from genrobust.classifiers import BICUBIC, Initial, open_initial
from genrobust.cli import measure
from genrobust.core import (
    GenrobustError,
    ImageSet,
    OutputFile,
    UserError,
    about,
    available_devices,
    bare_name,
    cores,
    some_of,
    templates,
)
from genrobust.data import is_on_hub
from genrobust.recipe import TrainConfig, load_recipe, locate_specs, parse_recipe, study_name
from genrobust.study import Processes, Study, seconds_left
from genrobust.tools.init.finding import NAMED, Found
from genrobust.tools.init.proposing import SCRATCH, SEEDS, TUNED, propose

# Networks to start from, without and with a GPU: a ResNet-18 that learned ImageNet's classes (Wightman et al., 2021),
# and a ViT-S/16 that learned from its images without their labels (DINO: Caron et al., 2021).
NETWORKS = ("hf-hub:timm/resnet18.a1_in1k", "hf-hub:timm/vit_small_patch16_224.dino")
PHOTOGRAPH, COLORED = 64, 3  # px of the median shorter side; gray levels that channels of some image differ by
SIZES = (32, 64, 96, 128, 160, 192, 224)  # px, of a square input
CPU_SIZE = 64  # px: at 224 a training step takes twelve times as long
NARROW = "{channels: [32, 64, 128, 256], stem_width: 16}  # half as wide: a third of the time on a CPU"
GRID = 6  # baseline models: twice the three that a line needs
LEAST_CLEAN = 100  # test images: with fewer, one moves clean accuracy by more than a point, and a line fits noise
LEAST_SHIFT = 30  # images of a shifted set that is averaged: one image of fewer moves accuracy by over three points
IMBALANCED = 3  # times as many images of a class as of another, where classes are drawn equally often
GPU_THREADS = 8  # CPU threads beside a GPU; without one, a worker of one thread runs on each core
SAMPLED = 32  # images that are looked at for their sizes and colors
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones
LINES = 12  # of output, at most


def write_recipe(
    found: Found,
    recipe: Path,
    out: Path,
    overwrite: bool = False,
    init: str | None = None,
    server: tuple[str, str] | None = None,
    own: bool = False,
) -> list[str]:
    """Write a recipe for the images `found` that `genrobust run` accepts as it is; return lines on what it does.

    Folders that mean no class are left for the user to fill in; a run refuses the recipe until then. A recipe that
    `overwrite` replaces is kept beside it, with a ``~`` after its name.

    Args:
        out: The output folder of studies, where what is read of the images is kept.
        init: The network to start from, as `train.init` names it, or "scratch"; by default one of `NETWORKS`, for
            photographs.
        server: The address of a server that generates, and its name of the model.
        own: Generate with a small generator that is trained on the images, by class and style.

    Raises:
        UserError: A recipe that exists or is no .yaml, a network that cannot be opened, an address that is none, or no
            labeled image to retrieve, from which a generator of one's own learns.
    """
    output = OutputFile(recipe, ".yaml", overwrite=overwrite)
    output.check()
    if own and found.data.retrieval is None:
        raise UserError("--own-generator: a generator learns other styles from labeled images of them: add --retrieved")
    gpu, (side, colored) = available_devices()[0] != "cpu", _look(found.data.train)
    photographs = colored and side >= PHOTOGRAPH
    network, line = _start(init, photographs, NETWORKS[gpu], found.class_names)
    values = {"own": own, "server": server, "gpu": gpu, "side": side, "photographs": photographs}
    values |= _settings(found, side, gpu, network, own, server is not None)
    text = _recipe_text(found, recipe, values)
    kept = []
    if recipe.is_file() and (former := recipe.read_bytes()) != text.encode():
        kept = [f"the former recipe is {recipe}~"]
        with OutputFile(Path(f"{recipe}~"), overwrite=True).writing() as file:
            file.write(former)
    with output.writing() as written:
        written.write(text.encode())
    time, doubts = _check(recipe, out)
    before, after = [*kept, *_describe_sets(found, values)], [*line, *_describe_next(found, values, recipe, time)]
    room = max(1, LINES - len(before) - len(after))
    if len(doubts) > room:
        doubts[room - 1 :] = [f"{len(doubts) - room + 1} more: genrobust show {recipe}"]
    return [*before, *(f"check: {doubt}" for doubt in doubts), *after]


def _look(images: ImageSet) -> tuple[int, bool]:
    """The median shorter side of a sample, in pixels, and whether any of it has colors."""
    sides, colored = [], False
    for index in range(min(len(images), SAMPLED)):  # in the order of a hash of their names
        with suppress(UserError):  # which the study reports
            pixels = np.asarray(images.image(index))
            sides.append(min(pixels.shape[:2]))
            colored = colored or bool(np.ptp(pixels, axis=2).max() >= COLORED)
    if not sides:
        raise UserError(f"--train: cannot read any of the sampled images, such as {images.keys[0]}")
    return round(median(sides)), colored


def _start(
    init: str | None, photographs: bool, proposed: str, class_names: Mapping[str, str]
) -> tuple[Initial | None, list[str]]:
    """The network that the user gave, or the proposed one where its weights can be had; and a line on it."""
    if init == "scratch" or (init is None and not photographs):
        return None, []
    texts = [[f"a photo of a {name}"] for name in class_names.values()]
    opened = partial(open_initial, classes=list(class_names), texts=lambda: texts)
    if init is not None:
        return opened(TrainConfig(init=init)), [f"it starts from {init}, which may have seen images like your tests"]
    name = proposed.removeprefix("hf-hub:")
    try:
        beside = "with an arm from scratch beside it: ImageNet may hold your classes and styles"
        return opened(TrainConfig(init=proposed)), [f"it starts from {name}, {beside}"]
    except GenrobustError:
        return None, [f"from scratch: no weights of {name} here. To fetch them: hf download {name}"]


def _settings(
    found: Found, side: int, gpu: bool, network: Initial | None, own: bool, on_server: bool
) -> dict[str, Any]:
    """The values of the template that depend on the numbers of images and on this machine."""
    data, counts = found.data, found.counts(found.data.train)
    sizes, retrieved = {shift: len(data.tests[shift]) for shift in data.shifts}, data.retrieval is not None
    pool = [counts, *([found.counts(data.retrieval)] if own and data.retrieval is not None else [])]
    per_class = min(MOST_PER_CLASS, max(10, round(sum(float(np.median(of)) for of in pool))))
    with_generated = gpu or on_server or own or data.generated is not None
    made = len(data.generated) if data.generated is not None else with_generated * per_class * len(counts)
    largest = len(data.train) + max(made, len(data.retrieval) if data.retrieval is not None else 0)
    # An arm from scratch prepares images bicubically, and all arms are tested on images that are prepared alike.
    beside = network is not None and network.blueprint.interpolation == BICUBIC
    has_line = network is None and sizes and len(data.tests[data.clean]) >= LEAST_CLEAN
    arms, grid, workers = 2 + 2 * with_generated + retrieved + beside, GRID if has_line else 0, 0 if gpu else cores()
    size = max((s for s in SIZES if s <= (side if gpu else min(side, CPU_SIZE))), default=SIZES[0])
    size = size if network is None else network.blueprint.image_size
    scratch, tuned = (
        propose(pace, len(data.train), largest, size, SEEDS * arms + grid, workers) for pace in (SCRATCH, TUNED)
    )
    largest_shift = max(sizes, key=lambda shift: sizes[shift], default="")
    choosing = data.shifted_val is None and len(sizes) > 1 and sizes[largest_shift] >= 3 * LEAST_SHIFT
    return {
        "answer": "real+generated" if with_generated else "real+retrieved" if retrieved else "real+randaugment",
        "threads": min(GPU_THREADS, cores()) if gpu else 1,
        "cores": cores(),
        "with_generated": with_generated,
        "own_steps": min(8000, max(2000, math.ceil(50 * sum(int(of.sum()) for of in pool) / 3200) * 100)),
        "per_class": per_class,
        "largest": largest,
        "size": size,
        "plan": scratch if network is None else tuned,
        "scratch": scratch,
        "beside": beside,
        "architecture": "resnet10t"
        if not gpu or size <= 96
        else "resnet18"
        if len(data.train) < 100_000
        else "resnet50",
        "model_kwargs": "{}" if gpu else NARROW,
        "learning_rate": round(2e-3 * math.sqrt(scratch["batch_size"] / 128), 5),  # AdamW's noise grows with the root
        "init": None if network is None else network.spec,
        "knows_classes": network is not None
        and {*map(bare_name, found.class_names)} <= {*map(bare_name, network.opened.classes)},
        "trainings": SEEDS * arms + grid,
        "balance": counts.max() >= IMBALANCED * counts.min(),
        "chosen_by": largest_shift if choosing else None,
        "min_images": LEAST_SHIFT if max(sizes.values(), default=LEAST_SHIFT) >= LEAST_SHIFT else 1,
        "grid": grid,
        "least_clean": LEAST_CLEAN,
    }


def _recipe_text(found: Found, recipe: Path, values: Mapping[str, Any]) -> str:
    """The recipe's text; raises UserError for an address of a server that is none."""
    folder, section = recipe.parent, dict(found.section)

    def from_recipe(path: str) -> str:
        is_same = Path(path).is_absolute() or is_on_hub(Path(path)) or folder == Path()
        return path if is_same else os.path.relpath(path, folder)

    located = locate_specs({"init": values["init"]}, Path(os.path.relpath(".", folder)), Path())
    shifts = {name: from_recipe(path) for name, path in section.pop("shifts", {}).items()}
    section = {key: value if key in {"source", "real"} else from_recipe(value) for key, value in section.items()}
    environment = templates("tools/init", keep_trailing_newline=True)
    environment.filters |= {"q": _quoted}
    text = environment.get_template("init.yaml.j2").render(
        file=shlex.quote(str(recipe)),
        name=study_name(recipe.stem),
        **{**values, **located},
        section=section,
        shifts=shifts,
        found=found,
        data=found.data,
    )
    parse_recipe({key: value for key, value in yaml.safe_load(text).items() if key != "quick"}, str(recipe))
    return text


def _quoted(value: object) -> str:
    """`value` as YAML on one line, safe as a key, in a list and in a comment, whatever it holds."""
    text = str(value)
    style = None if text.isprintable() else '"'  # which escapes line breaks
    listed = yaml.safe_dump([text], default_style=style, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return listed.strip()[1:-1]


def _check(recipe: Path, out: Path) -> tuple[str, list[str]]:
    """How long the study takes, in words, and what its own readers find wrong with the images."""
    try:
        loaded = load_recipe(str(recipe))
        study = Study(loaded, out, executor=Processes(loaded))
        doubts = study.graph.notices()
        rows = study.rows()
        measure(rows)
    except GenrobustError as error:  # a run refuses it, too
        return "", str(error).splitlines()
    seconds, unknown = seconds_left(rows)
    return f", {about(seconds)} here" + (" and more that is not measured yet" if unknown else ""), doubts


def _describe_sets(found: Found, values: Mapping[str, Any]) -> Iterator[str]:
    """What the user named, a line each; shifts on one."""
    data = found.data
    held = "" if "val" in found.section else f"; {len(data.val):,} more held out for validation"
    yield f"train: {found.words(data.train)}{held}"
    yield f"test: {found.words(data.tests[data.clean])}"
    each = []
    for shift, images in ((shift, data.tests[shift]) for shift in data.shifts):
        few = ", too few for the mean" if len(images) < values["min_images"] else ""
        each.append(f"{shift} {len(images):,} images{few}{found.lacks(images, ', ')}")
    yield f"shifts: {'; '.join(each) or 'none, and so no robustness to measure: add --shift DIR'}"
    for key, others in (("retrieved", data.retrieval), ("generated", data.generated)):
        if others is not None:
            yield f"{key}: {found.words(others)}"


def _describe_next(found: Found, values: Mapping[str, Any], recipe: Path, time: str) -> Iterator[str]:
    """What to do with the recipe, and what would be worth more."""
    if values["chosen_by"] or found.data.shifted_val is not None:
        what = f"a third of {values['chosen_by']}" if values["chosen_by"] else "shifted validation images"
        yield f"held out for genrobust tune, which chooses by it: {what}"
    elif found.data.shifts:
        yield f"nothing is held out for genrobust tune: it takes two shifts, one of {3 * LEAST_SHIFT} images or more"
    first = f"fill in data.same_class ({some_of(found.unknown, NAMED)})" if found.unknown else "look it over"
    yield f"wrote {recipe}: {values['trainings']} trainings{time}. First {first}, then"
    yield f"  genrobust run {shlex.quote(str(recipe))}    # with --quick: a preview"
    if found.data.retrieval is None:
        yield "labeled images in other styles are worth most, few or many: add --retrieved DIR"
    if not values["with_generated"]:
        ways = "" if found.data.retrieval is None else "--own-generator, "
        yield f"for generated images add {ways}--generated DIR, or --server URL --model NAME"
