"""Writes a commented recipe that fits a user's images and machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count as count_from
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
from genrobust.generate import PromptedConfig, ServerConfig
from genrobust.recipe import TrainConfig, load_recipe, locate_specs, parse_recipe, study_name
from genrobust.study import Processes, Study, seconds_left
from genrobust.tools.init.finding import NAMED, Found, path_from
from genrobust.tools.init.proposing import (
    GRID,
    IMBALANCED,
    QUICK_GENERATED,
    least_images,
    no_preview,
    propose,
    propose_generator,
    propose_tuned,
    shift_to_choose_by,
)

# The repository that held Stable Diffusion 1.5 is gone; the first two are copies of it, the third its predecessor.
STABLE_DIFFUSION = PromptedConfig(
    model="stable-diffusion-v1-5/stable-diffusion-v1-5",
    alternatives=("benjamin-paine/stable-diffusion-v1-5", "CompVis/stable-diffusion-v1-4"),
    variant="fp16",
    dtype="auto",
    steps=25,
    guidance_scale=2.0,
)
# Networks to start from, without and with a GPU: a ResNet-18 that learned ImageNet's classes (Wightman et al., 2021),
# and a ViT-S/16 that learned from its images without their labels (DINO: Caron et al., 2021).
NETWORKS = ("hf-hub:timm/resnet18.a1_in1k", "hf-hub:timm/vit_small_patch16_224.dino")
LEAKS = "It has seen ImageNet, whose classes and styles may be among yours."
MAY_LEAK = "It may have seen images like those of the tests."
PHOTOGRAPH, COLORED = 64, 3  # px of the median shorter side; gray levels that channels of some image differ by
LEAST_TEST_IMAGES = 100  # with fewer, one image moves clean accuracy by more than a point, and a line fits noise
GPU_THREADS = 8  # CPU threads beside a GPU; without one, a worker of one thread runs on each core
SAMPLED = 32  # images that are looked at for their sizes and colors
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones
LINES = 12  # of output, at most
POLICIES = {True: "[autoaugment, randaugment, augmix, photograph-styles]", False: "[autoaugment, randaugment, augmix]"}


def write_recipe(
    found: Found,
    recipe: Path,
    out: Path,
    again: Callable[..., str],
    say: Callable[[str], None],
    overwrite: bool = False,
    pretrained: str | None = None,
    scratch: bool = False,
    server: tuple[str, str] | None = None,
    own_generator: bool = False,
) -> None:
    """Write a recipe for the images `found` that `genrobust run` accepts as it is.

    Folders that mean no class are left for the user to fill in; a run refuses the recipe until then. A recipe that is
    there, which `overwrite` replaces, is kept as a numbered copy beside it.

    Args:
        out: The output folder of studies, where what is read of the images is kept.
        again: Returns the command that was given, with more words.
        say: Logs one line of what is found.
        pretrained: The network to start from, as `train.init` names it; by default one of `NETWORKS`, for photographs.
        scratch: Start from no network.
        server: The address of a server that generates, and its name of the model.
        own_generator: Generate with a small generator that is trained on the images, by class and style.

    Raises:
        UserError: A recipe that exists or is no .yaml, a network that cannot be opened, an address that is none, or no
            labeled image to retrieve, from which a generator of one's own learns.
    """
    if recipe.suffix not in {".yaml", ".yml"}:
        raise UserError(f"--recipe {recipe}: the name of a recipe ends in .yaml")
    OutputFile(recipe, overwrite=overwrite).check()
    data, gpu = found.data, available_devices()[0] != "cpu"
    side, colored = _look(data.train)
    photographs = colored and side >= PHOTOGRAPH
    initial, network = None, ""
    if pretrained or (photographs and not scratch):
        initial, network = _start(pretrained, NETWORKS[gpu], found.class_names)
    values = _values(found, side, gpu, initial, server is not None, own_generator)
    leaks = "" if initial is None else MAY_LEAK if pretrained else LEAKS
    values |= {"server": server, "policies": POLICIES[photographs], "leaks": leaks}
    text = _recipe_text(found, recipe, values)
    kept = []
    if recipe.is_file() and (before := recipe.read_bytes()) != text.encode():
        kept = [f"kept the recipe that was there as {_keep_copy(recipe, before)}"]
    with OutputFile(recipe, overwrite=overwrite).writing() as written:
        written.write(text.encode())
    time, noticed = _check(recipe, out, found)
    doubts = [f"check: {doubt}" for doubt in (*noticed, *_doubts(found, values))]
    sets, then = [*kept, *_sets(found, values)], [*filter(None, [network, leaks]), *_choice(found, values)]
    then += _next(found, values, recipe, again, time)
    room = max(1, LINES - len(sets) - len(then))
    if len(doubts) > room:
        doubts[room - 1 :] = [f"check: {len(doubts) - room + 1} more lines: genrobust show {recipe}, and the recipe"]
    for line in (*sets, *doubts, *then):
        say(line)


def _look(images: ImageSet) -> tuple[int, bool]:
    """The median shorter side of a sample, in pixels, and whether any of it has colors."""
    sides, colored = [], False
    for index in range(min(len(images), SAMPLED)):  # in the order of a hash of their names
        try:
            pixels = np.asarray(images.image(index))
        except UserError:  # the study reports it
            continue
        sides.append(min(pixels.shape[:2]))
        colored = colored or bool(np.ptp(pixels, axis=2).max() >= COLORED)
    if not sides:
        raise UserError(f"--train: cannot read any of the sampled images, such as {images.keys[0]}")
    return round(median(sides)), colored


def _start(given: str | None, proposed: str, class_names: Mapping[str, str]) -> tuple[Initial | None, str]:
    """The network that the user gave, or the proposed one where its weights can be had; and a line on it."""
    texts = [[f"a photo of a {name}"] for name in class_names.values()]
    opened = partial(open_initial, classes=list(class_names), texts=lambda: texts)
    if given is not None:
        return opened(TrainConfig(init=given)), f"it starts from {given}"
    name = proposed.removeprefix("hf-hub:")
    try:
        return opened(TrainConfig(init=proposed)), f"it starts from {name}, with an arm from scratch beside it"
    except GenrobustError:
        return None, f"from scratch: no weights of {name} here. To fetch them: hf download {name}"


def _keep_copy(recipe: Path, content: bytes) -> Path:
    """Write `content` to a new file beside `recipe`, with a number in its name, and return that."""
    names = (recipe.with_name(f"{recipe.stem}.{number}{recipe.suffix}") for number in count_from(1))
    copy = next(path for path in names if not os.path.lexists(path))
    with OutputFile(copy).writing() as file:
        file.write(content)
    return copy


def _recipe_text(found: Found, recipe: Path, values: Mapping[str, Any]) -> str:
    """The recipe's text; raises UserError for an address of a server that is none."""
    environment = templates("tools/init", keep_trailing_newline=True)
    environment.filters |= {"q": _quoted}
    if values["init"] is not None and recipe.parent != Path():
        values = {**values, **locate_specs({"init": values["init"]}, Path(os.path.relpath(".", recipe.parent)), Path())}
    section = {
        key: value if key in {"source", "real"} else path_from(recipe.parent, value)
        for key, value in found.section.items()
        if key != "shifts"
    }
    shifts = {name: path_from(recipe.parent, path) for name, path in found.section.get("shifts", {}).items()}
    names = {"file": shlex.quote(str(recipe)), "name": study_name(recipe.stem)}
    text = environment.get_template("init.yaml.j2").render(
        **names, **values, data=section, shifts=shifts, found=found, study=found.data
    )
    parse_recipe({key: value for key, value in yaml.safe_load(text).items() if key != "quick"}, str(recipe))
    return text


def _quoted(value: object) -> str:
    """`value` as YAML on one line, safe as a key, in a list and in a comment, whatever it holds."""
    text = str(value)
    style = None if text.isprintable() else '"'  # which escapes line breaks
    listed = yaml.safe_dump([text], default_style=style, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return listed.strip()[1:-1]


def _values(
    found: Found, side: int, gpu: bool, initial: Initial | None, on_server: bool, own_generator: bool
) -> dict[str, Any]:
    """The values of the template that depend on the images and on this machine."""
    data, counts = found.data, found.counts(found.data.train)
    retrieved = data.retrieval is not None
    if own_generator and data.retrieval is None:
        raise UserError("--own-generator: a generator learns other styles from labeled images of them: add --retrieved")
    pool = [counts, *([found.counts(data.retrieval)] if own_generator and data.retrieval is not None else [])]
    own = propose_generator(int(sum(map(np.sum, pool))), gpu) if own_generator else None
    per_class = min(MOST_PER_CLASS, max(10, round(sum(map(float, map(np.median, pool))))))
    with_generated = gpu or on_server or own is not None or data.generated is not None
    sizes = {shift: len(data.tests[shift]) for shift in data.shifts}
    chosen_by, no_choice = (None, "") if data.shifted_val is not None else shift_to_choose_by(sizes)
    least = least_images({shift: found.left_of(shift, chosen_by) for shift in sizes})
    no_grid = "" if sizes else "there is no shifted test set"  # why a baseline line would be meaningless here
    if initial is not None:
        no_grid = "pretrained arms are far above small models from scratch"
    elif sizes and len(data.tests[data.clean]) < LEAST_TEST_IMAGES:
        no_grid = f"it needs {LEAST_TEST_IMAGES} clean test images, you have {len(data.tests[data.clean])}"
    grid, workers = 0 if no_grid else GRID, 0 if gpu else cores()
    made = len(data.generated) if data.generated is not None else with_generated * per_class * len(counts)
    largest = len(data.train) + max(made, len(data.retrieval) if data.retrieval is not None else 0)
    size = None if initial is None else initial.blueprint.image_size
    # An arm from scratch prepares images bicubically, and all arms are tested on images that are prepared alike.
    beside = initial is not None and initial.blueprint.interpolation == BICUBIC
    arms = 2 + 2 * with_generated + retrieved + beside
    answer = "real+generated" if with_generated else "real+retrieved" if retrieved else "real+randaugment"
    from_scratch = plan = propose(len(data.train), largest, side, arms, grid, workers, size)
    if size is not None:
        plan = propose_tuned(len(data.train), largest, arms, workers, size)
    return {
        "answer": answer,
        "threads": min(GPU_THREADS, cores()) if gpu else 1,
        "arms": arms,
        "with_generated": with_generated,
        "retrieved": retrieved,
        "own": own,
        "dataset": "by style" if own else "generated",
        "unknown": found.unknown,
        "generator": STABLE_DIFFUSION,
        "most_images": max(ServerConfig.model_fields["max_images"].default, per_class * len(counts)),
        "per_class": per_class,
        "quick_per_class": min(per_class, max(2, QUICK_GENERATED // len(counts))),
        "plan": plan,
        "from_scratch": from_scratch if beside else None,
        "init": None if initial is None else initial.spec,
        "learning_rate": 3e-5 if gpu else 3e-4,
        "trainings": 3 * arms + grid,
        # with a last layer for all classes, it needs no probe first
        "knows_classes": initial is not None
        and {*map(bare_name, found.class_names)} <= {*map(bare_name, initial.opened.classes)},
        "balance": counts.max() >= IMBALANCED * counts.min(),
        "no_preview": "" if initial else no_preview(plan["quick_steps"], plan["batch_size"], len(counts), counts.min()),
        "chosen_by": chosen_by,
        "no_choice": no_choice,
        "min_images": least,
        "grid": grid,
        "no_grid": no_grid,
        "left_out": {s: n for s, n in sizes.items() if found.left_of(s, chosen_by) < least},
    }


def _check(recipe: Path, out: Path, found: Found) -> tuple[str, list[str]]:
    """How long the study takes, in words, and what its own readers find wrong with the images."""
    if found.unknown:
        return "", []
    try:
        loaded = load_recipe(str(recipe))
        study = Study(loaded, out, executor=Processes(loaded))
        doubts = study.graph.notices()
        rows = study.rows()
        study.context.begin()  # so that what was read of the images is read once
        measure(rows)
    except GenrobustError as error:  # a run refuses it, too
        return "", str(error).splitlines()
    seconds, unknown = seconds_left(rows)
    return f", {about(seconds)} here" + (" and more that is not measured yet" if unknown else ""), doubts


def _sets(found: Found, values: Mapping[str, Any]) -> Iterator[str]:
    data = found.data
    held = "" if "val" in found.section else f"; {len(data.val):,} more held out for validation"
    yield f"train: {found.words(data.train)}{held}"
    yield f"test: {found.words(data.tests[data.clean])}"
    each = []
    for shift in data.shifts:
        few = ", too few for the mean" if shift in values["left_out"] else ""
        each.append(f"{shift} {len(data.tests[shift]):,} images{few}{found.lacks(data.tests[shift], ', ')}")
    if each:
        yield f"shifts: {'; '.join(each)}"
    for key, images in (("retrieved", data.retrieval), ("generated", data.generated)):
        if images is not None:
            yield f"{key}: {found.words(images)}"


def _choice(found: Found, values: Mapping[str, Any]) -> Iterator[str]:
    """What `genrobust tune` chooses by."""
    if values["chosen_by"] or found.data.shifted_val is not None:
        what = f"a third of {values['chosen_by']}" if values["chosen_by"] else "shifted-val"
        yield f"held out for genrobust tune, which chooses by it: {what}"
    elif found.data.shifts:
        yield f"nothing is held out for genrobust tune: {values['no_choice']}"
    else:
        yield "no shifted test set, and so no robustness to measure: add --shift DIR"


def _next(found: Found, values: Mapping[str, Any], recipe: Path, again: Callable[..., str], time: str) -> Iterator[str]:
    """What to do with the recipe, and what would be worth more."""
    file, ways = shlex.quote(str(recipe)), "" if found.data.retrieval is None else "--own-generator, "
    first = f"fill in data.same_class ({some_of(found.unknown, NAMED)})" if found.unknown else "look it over"
    yield f"wrote {recipe}: {values['trainings']} trainings{time}. First {first}, then"
    yield f"  genrobust run {file}{'' if values['no_preview'] else '    # with --quick: a preview'}"
    if found.data.retrieval is None:
        yield "labeled images in other styles are worth most, few or many:"
        yield f"  {again('--retrieved', 'DIR')}"
    if not values["with_generated"]:
        yield f"for generated images add {ways}--generated DIR, or --server URL --model NAME"


def _doubts(found: Found, values: Mapping[str, Any]) -> Iterator[str]:
    """What is doubtful about the names and numbers of the images, a line each."""
    data = found.data
    if found.unknown:
        near = [f"{name} ({' or '.join(near)}?)" if near else name for name, near in found.unknown.items()]
        yield f'no class: {some_of(near, NAMED)}: name one, or "", under data.same_class'
    if values["with_generated"] and data.retrieval is not None and (lacks := found.lacks(data.retrieval, "retrieved ")):
        yield f"{lacks}, and real+retrieved needs every class that is generated"
    if any(name.isdecimal() for name in found.class_names.values()):
        yield 'classes are called by numbers, and so would prompts be ("a photo of a 0"): fill in data.class_names'
    if values["balance"]:
        yield "some classes have 3 times as many images as others: they are drawn equally often (balance)"
    if values["no_preview"]:
        yield f"--quick shows only that all works: {values['no_preview']}"
