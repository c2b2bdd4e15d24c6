"""Writes a commented recipe that fits a user's image folders and machine."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Callable, Mapping
from itertools import count as count_from
from pathlib import Path
from typing import Any

import yaml

from genrobust.classifiers import Initial, open_initial
from genrobust.core import PUBLISHED_CLIP, OutputFile, UserError, available_devices, cores, templates
from genrobust.data import as_written, held_out
from genrobust.generate import PromptedConfig, ServerConfig
from genrobust.recipe import TrainConfig, load_recipe, parse_recipe, study_name
from genrobust.report import count
from genrobust.study import Study, generation_time
from genrobust.tools.init.folders import (
    SHIFT,
    Contents,
    UserFolders,
    median_side,
    quoted,
    read_folders,
    say_broken,
    say_found,
    some,
)
from genrobust.tools.init.proposing import (
    GRID,
    TUNED,
    least_images,
    no_preview,
    propose,
    propose_generator,
    quick_generated,
    tuned_steps,
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
LEAST_TEST_IMAGES = 100  # with fewer, one image moves clean accuracy by more than a point, and a line fits noise
GPU_THREADS = 8  # CPU threads beside a GPU; without one, a worker of one thread runs on each core
FEW = 300  # training images of a class: with fewer, a pretrained network is worth a try
PROPOSED = f"hf-hub:{PUBLISHED_CLIP}"
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones


def write_recipe(
    folders: UserFolders,
    recipe: Path,
    out: Path,
    again: Callable[..., str],
    say: Callable[[str], None],
    check: bool = True,
    overwrite: bool = False,
    pretrained: str | None = None,
    server: tuple[str, str] | None = None,
    own_generator: bool = False,
) -> None:
    """Write a recipe for `folders` that `genrobust run` accepts as it is.

    Of test images only the names are read, unless `check` decodes every image to find broken ones and copies.
    Subfolders that match no training class are left for the user to fill in; a run refuses the recipe until then. A
    recipe that is there, which `overwrite` replaces, is kept as a numbered copy beside it.

    Args:
        out: The output folder of studies, whose measured rates tell how long generation takes.
        again: Returns the command that was given, with more words.
        say: Logs one line of what is found.
        pretrained: A network as `train.init` names it, for further arms that start from it.
        server: The address of a server that generates, and its name of the model.
        own_generator: Generate with a small generator that is trained on the images, by class and style.

    Raises:
        UserError: A recipe that exists or is no .yaml, a folder that is missing, empty or named twice, a training class
            without images, a network that cannot be opened, an address that is none, or no labeled image to retrieve,
            from which a generator of one's own learns.
    """
    if recipe.suffix not in {".yaml", ".yml"}:
        raise UserError(f"--recipe {recipe}: the name of a recipe ends in .yaml")
    OutputFile(recipe, overwrite=overwrite).check()
    by_role, class_names = read_folders(folders)
    shifts = {role.removeprefix(SHIFT): contents for role, contents in by_role.items() if role.startswith(SHIFT)}
    least = least_images([contents.total for contents in shifts.values()])
    say_found(by_role, least, say)
    is_whole = check and say_broken(by_role, say)
    gpu, initial = available_devices()[0] != "cpu", _open_pretrained(pretrained, class_names)
    own = propose_generator(_labeled(by_role), gpu) if own_generator else None
    values = _template_values(by_role, shifts, gpu, initial, server is not None, own)
    named = {"source": folders.source, "real": folders.real, "root": folders.places["train"], "server": server}
    text = _recipe_text(recipe, {**values, **named, "class_names": class_names, "min_images": least})
    if recipe.is_file() and (before := recipe.read_bytes()) != text.encode():
        say(f"kept the recipe that was there as {_keep_copy(recipe, before)}")
    with OutputFile(recipe, overwrite=overwrite).writing() as file:
        file.write(text.encode())
    if is_whole and not values["unknown"]:
        try:
            for notice in Study(load_recipe(str(recipe)), out).graph.notices():
                say(notice)
        except UserError as error:  # of images that a run refuses, too
            say(str(error))
    if own:
        say(
            f"to train a generator on {own['images']}: genrobust show {shlex.quote(str(recipe))} says how long it takes"
        )
    elif server is None and not values["generated"]:
        _say_generation(values, recipe, again, gpu, out, say)
    _say_next(values, recipe, again, say)


def _labeled(by_role: Mapping[str, Contents]) -> list[Contents]:
    """What a generator of one's own learns from: the training images, and those to retrieve."""
    if "retrieved" not in by_role:
        raise UserError(
            "--own-generator: a generator learns other styles from labeled images of them: add --retrieved DIR, or "
            "--train SET with a set of domains"
        )
    train, retrieved = by_role["train"], by_role["retrieved"]
    if not retrieved.counts:
        raise UserError(
            f"--own-generator: --retrieved {retrieved.folder} has no image of a training class, and a generator learns "
            f"from labeled ones.\nIts folders are {some(list(retrieved.unknown))}: name them like those of --train, "
            f"such as {some(train.names)}"
        )
    return [train, retrieved]


def _keep_copy(recipe: Path, content: bytes) -> Path:
    """Write `content` to a new file beside `recipe`, with a number in its name, and return that."""
    names = (recipe.with_name(f"{recipe.stem}.{number}{recipe.suffix}") for number in count_from(1))
    copy = next(path for path in names if not os.path.lexists(path))
    with OutputFile(copy).writing() as file:
        file.write(content)
    return copy


def _recipe_text(recipe: Path, values: Mapping[str, Any]) -> str:
    """The recipe's text; raises UserError for an address of a server that is none."""
    environment = templates("tools/init", keep_trailing_newline=True)
    environment.filters |= {"q": quoted, "place": lambda path: quoted(as_written(path))}
    names = {"file": shlex.quote(str(recipe)), "name": study_name(recipe.stem)}
    text = environment.get_template("init.yaml.j2").render(**names, **values)
    parse_recipe({key: value for key, value in yaml.safe_load(text).items() if key != "quick"}, str(recipe))
    return text


def _open_pretrained(spec: str | None, class_names: Mapping[str, str]) -> Initial | None:
    if spec is None:
        return None
    texts = [[f"a photo of a {name}"] for name in class_names.values()]
    return open_initial(TrainConfig(init=spec), list(class_names), lambda: texts)


def _template_values(
    by_role: Mapping[str, Contents],
    shifts: Mapping[str, Contents],
    gpu: bool,
    initial: Initial | None,
    on_server: bool,
    own: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The values of the template that depend on the folders and on this machine."""
    train, generated, retrieved = by_role["train"], by_role.get("generated"), by_role.get("retrieved")
    images = train.counts.values()
    as_many = [*(_labeled(by_role) if own else [train])]
    median = sum(statistics.median(contents.counts.values()) for contents in as_many)
    per_class = min(MOST_PER_CLASS, max(10, round(median)))
    to_generate = per_class * len(train.counts)
    with_generated = gpu or on_server or own is not None or generated is not None
    no_grid = "" if shifts else "there is no shifted test set"  # why a baseline line would be meaningless here
    if shifts and by_role["test"].total < LEAST_TEST_IMAGES:
        no_grid = f"it needs {LEAST_TEST_IMAGES} clean test images, you have {by_role['test'].total}"
    added = [generated.total if generated else with_generated * to_generate, retrieved.total if retrieved else 0]
    arms = 2 + 2 * with_generated + (retrieved is not None)  # from scratch
    answer = "real+generated" if with_generated else "real+retrieved" if retrieved else "real+randaugment"
    grid = 0 if no_grid else GRID
    return {
        **_title_and_question(answer, len(train.counts), list(shifts), retrieved is not None),
        "answer": answer,
        "threads": min(GPU_THREADS, cores()) if gpu else 1,
        "train": train,
        "val": by_role.get("val"),
        "test": by_role["test"],
        "shifts": shifts,
        "generated": generated,
        "retrieved": retrieved,
        "with_generated": with_generated,
        "own": own,
        "dataset": "by style" if own else "generated",
        "unknown": {name: near for contents in by_role.values() for name, near in contents.unknown.items()},
        "generator": STABLE_DIFFUSION,
        "most_images": max(ServerConfig.model_fields["max_images"].default, to_generate),
        "per_class": per_class,
        "to_generate": to_generate,
        "quick_per_class": quick_generated(per_class, len(train.counts)),
        **_training_values(
            train, "val" in by_role, max(added), arms, 1 + with_generated, grid, 0 if gpu else cores(), initial
        ),
        "few": min(images) if min(images) < FEW else 0,
        "proposed": PROPOSED,
        "grid": grid,
        "no_grid": no_grid,
    }


def _training_values(
    train: Contents,
    has_val: bool,
    added: int,
    arms: int,
    mixtures: int,
    grid: int,
    workers: int,
    initial: Initial | None,
) -> dict[str, Any]:
    """The values of the template about training: of `arms` from scratch, then of `mixtures` from a pretrained network.

    Args:
        added: The most images that an arm mixes with the real ones.
        workers: The number of cores that train, 0 with a GPU.
    """
    images = train.counts.values()
    real = train.total if has_val else sum(n - held_out(n) for n in images)
    tuned, size = (0, None) if initial is None else (TUNED * mixtures, initial.blueprint.image_size)
    plan = propose(real, real + added, median_side(train), arms + tuned, grid, workers, size)
    return {
        "plan": plan,
        "no_preview": no_preview(plan["quick_steps"], plan["batch_size"], len(images), min(images)),
        "init": None if initial is None else initial.spec,
        "tuned_steps": tuned_steps(real + added, plan["batch_size"]),
        "tuned_arms": [arms + at for at in (1, 2, 4, 5)][: 2 * mixtures],
    }


def _title_and_question(answer: str, classes: int, shifts: list[str], retrieved: bool) -> dict[str, str]:
    """The title and the question of a study whose answer is about the arm `answer`."""
    *others, last = shifts or ["the test images"]
    over = f"{', '.join(others)} and {last}" if others else last
    robust = f"make a classifier of {classes:,} classes {'robust' if shifts else 'more accurate'}"
    if answer == "real+randaugment":
        return {
            "title": f"Does RandAugment {robust}?",
            "question": f"Does RandAugment, which changes the real images at random, raise the accuracy on {over}?",
        }
    kind = answer.removeprefix("real+")
    control = ", and as much as retrieved ones" if kind == "generated" and retrieved else ""
    return {
        "title": f"Do {kind} images {robust}{control}?",
        "question": f"Do {kind} images beside the real ones raise the accuracy on {over}{control}?",
    }


def _say_generation(
    values: Mapping[str, Any],
    recipe: Path,
    again: Callable[..., str],
    gpu: bool,
    out: Path,
    say: Callable[[str], None],
) -> None:
    """Log how long a GPU generates, and without a generator here the ways to generated images, as commands."""
    if gpu:
        say(f"to generate: {generation_time(values['to_generate'], STABLE_DIFFUSION, 'cuda', out)}")
    if values["with_generated"]:
        return
    ways = {
        "a server that has the images API of OpenAI": again(
            "--server", "http://127.0.0.1:30000", "--model", "NAME", "--overwrite"
        ),
        "images of any generator, one subfolder for each class": again("--generated", "DIR", "--overwrite"),
        "another machine with a GPU, genrobust and a copy of this folder. There": (
            f"genrobust generate {shlex.quote(str(recipe))}"
        ),
        "and then here, with a copy of the folder that it names": again("--generated", "FOLDER", "--overwrite"),
    }
    if values["retrieved"] is not None and values["retrieved"].counts:
        own = "a small generator of your own, trained here on your images, by class and style"
        ways = {own: again("--own-generator", "--overwrite"), **ways}
    say("no GPU here, so no arm has generated images. To add such arms:")
    for way, command in ways.items():
        say(f"  {way}:")
        say(f"    {command}")


def _say_next(values: Mapping[str, Any], recipe: Path, again: Callable[..., str], say: Callable[[str], None]) -> None:
    """Log what the study lacks, and what to do with the recipe, as commands."""
    if values["few"] and values["init"] is None:
        few = count(values["few"], "training image")
        say(f"a class has {few}. With fewer than {FEW}, try a pretrained network:")
        say(f"  {again('--pretrained', PROPOSED, '--overwrite')}")
    if values["no_grid"]:
        say(f"no baseline line, and so no effective robustness: {values['no_grid']}")
    file, classifier = shlex.quote(str(recipe)), shlex.quote(f"{recipe}:{values['answer']}")
    first = f"Fill in data.same_class ({some(values['unknown'])})" if values["unknown"] else "Look it over"
    why = values["no_preview"]
    say(f"wrote {recipe}. {first}, then run {'a first test' if why else 'a preview'}, the study, and its classifier:")
    say(f"  genrobust run {file} --quick")
    say(f"  genrobust run {file}")
    say(f"  genrobust predict {classifier} FOLDER")
    if why:
        say(f"--quick shows only that all works, not how accurate classifiers are: {why}")
