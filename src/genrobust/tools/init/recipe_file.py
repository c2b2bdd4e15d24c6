"""Writes a commented recipe that fits a user's images and machine, and describes it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from genrobust.core import GenrobustError, UserError, about, count, parse_yaml, some_of, templates
from genrobust.recipe import locate_specs, located, parse_recipe, paths_from, study_name
from genrobust.store import OutputFile
from genrobust.study import Studies, seconds_left
from genrobust.tools.init.proposed_settings import LEAST_SHIFT
from genrobust.tools.init.user_images import NAMED, UserImages

LINES = 12  # of output, at most


def write_recipe(images: UserImages, values: Mapping[str, Any], output: OutputFile, out: Path) -> list[str]:
    """Write a recipe of the proposed `values` that `genrobust run` accepts as it is. Return lines for the user.

    Folders that mean no class are left for the user to fill in. A run refuses the recipe until then. A recipe that is
    replaced is kept under its name with ``~`` and a number.

    Args:
        out: The folder of studies, which keeps what is read of the images.

    Raises:
        UserError: The recipe exists, or a value is wrong.
    """
    recipe = output.path
    text = _recipe_text(images, recipe, values)
    before = list(_describe_sets(images, values))
    if recipe.is_file() and recipe.read_bytes() != text.encode():
        before.insert(0, f"the former recipe is {recipe.replace(_free_name(recipe))}")
    with output.writing() as file:
        file.write(text.encode())
    times, found = _check(recipe, out)
    doubts = [*images.doubts, *found]
    after = list(_describe_next(images, values, recipe, times))
    room = max(1, LINES - len(before) - len(after))
    if len(doubts) > room:
        doubts[room - 1 :] = [f"{len(doubts) - room + 1} more: genrobust show {recipe}"]
    return [*before, *(f"check: {doubt}" for doubt in doubts), *after]


def _free_name(recipe: Path) -> Path:
    free = Path(f"{recipe}~")
    number = 2
    while free.exists():
        free = Path(f"{recipe}~{number}")
        number += 1
    return free


def _recipe_text(images: UserImages, recipe: Path, values: Mapping[str, Any]) -> str:
    """Return the text of the recipe.

    Raises:
        UserError: The address of a server is invalid.
    """
    environment = templates("tools/init", keep_trailing_newline=True)
    environment.filters |= {"q": _quoted, "located": located}
    here = Path(os.path.relpath(".", recipe.parent))
    with paths_from(here):
        text = environment.get_template("init.yaml.j2").render(
            **locate_specs(values, here, Path()),
            file=shlex.quote(str(recipe)),
            name=study_name(recipe.stem),
            found=images,
        )
    raw = parse_yaml(text, str(recipe))
    try:
        parse_recipe({key: value for key, value in raw.items() if key != "quick"}, str(recipe))
    except UserError as error:
        # The user wrote the option, and the recipe is not written yet.
        raise UserError(str(error).replace(f"{recipe}: generator.server.url", "--server")) from error
    return text


def _quoted(value: object) -> str:
    """Return `value` as YAML on one line, safe as a key, in a list and in a comment."""
    text = str(value)
    # Double quotes escape line breaks.
    style = None if text.isprintable() else '"'
    listed = yaml.safe_dump([text], default_style=style, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return listed.strip()[1:-1]


def _check(recipe: Path, out: Path) -> tuple[list[str], list[str]]:
    """Open the study as a run does.

    Returns:
        The times of the study and of its short version, in words, and the problems of the images. Without times, a run
        refuses the recipe.
    """
    times: list[str] = []
    doubts: list[str] = []
    try:
        for quick in (False, True):
            study = Studies(out, quick=quick).open(str(recipe))
            if not doubts:
                doubts = [str(notice) for notice in study.context.notices]
            rows = study.rows()
            seconds, unknown = seconds_left(rows)
            # A time is known only if an earlier run in this folder made such steps.
            times.append("" if unknown else f", {about(seconds)} here")
    except GenrobustError as error:
        return [], str(error).splitlines()
    return times, doubts


def _describe_sets(images: UserImages, values: Mapping[str, Any]) -> Iterator[str]:
    """Describe the sets that the user named, one line each; all shifts on one line."""
    data = images.data
    if "val" in images.section:
        held_out = ""
    else:
        held_out = f"; {len(data.val):,} more held out for validation"
    yield f"train: {images.words(data.train)}{held_out}"
    yield f"test: {images.words(data.tests[data.clean])}"
    shifts = []
    for name in data.shifts:
        shift = data.tests[name]
        few = ", too few for the mean" if len(shift) < values["min_images"] else ""
        shifts.append(f"{name} {len(shift):,} images{few}{images.lacks(shift, ', ')}")
    yield f"shifts: {'; '.join(shifts) or 'none, and so no robustness to measure: add --shift DIR'}"
    for name, unlabeled in data.unlabeled.items():
        yield f"without labels: {name}, {count(len(unlabeled), 'image')}"
    for key, others in (("retrieved", data.retrieval), ("generated", data.generated)):
        if others is not None:
            yield f"{key}: {images.words(others)}"


def _describe_next(images: UserImages, values: Mapping[str, Any], recipe: Path, times: list[str]) -> Iterator[str]:
    """Say what to do with the recipe, what else would help, and last what the network starts from."""
    data = images.data
    chosen_by = values["chosen_by"]
    if chosen_by:
        yield f"held out for genrobust tune, which chooses by it: a third of {chosen_by}"
    elif data.shifted_val is not None:
        yield "held out for genrobust tune, which chooses by it: shifted validation images"
    elif data.shifts:
        yield f"genrobust tune needs two shifts, one with at least {3 * LEAST_SHIFT} images"
    first = "look it over"
    if images.unknown:
        first = f"fill in data.same_class ({some_of(images.unknown, NAMED)})"
    elif not times:
        first = "fix what is listed, since a run refuses it"
    whole, short = times or ("", "")
    yield f"wrote {recipe}: {values['trainings']} trainings{whole}. First {first}, then"
    yield f"  genrobust run {shlex.quote(str(recipe))}    # with --quick: the short version{short}"
    if data.retrieval is None:
        yield "labeled images in other styles were worth most in our tests: add --retrieved DIR"
    if not values["with_generated"]:
        ways = "" if data.retrieval is None else "--own-generator, "
        yield f"for generated images add {ways}--generated DIR, or --server URL MODEL"
    yield values["start"]
