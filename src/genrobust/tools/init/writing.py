"""Writes a commented recipe that fits a user's images and machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from genrobust.cli import measure
from genrobust.core import GenrobustError, OutputFile, about, parse_yaml, some_of, templates
from genrobust.recipe import locate_specs, located, parse_recipe, paths_from, study_name
from genrobust.study import Studies, seconds_left
from genrobust.tools.init.finding import NAMED, Found
from genrobust.tools.init.proposing import LEAST_SHIFT

LINES = 12  # of output, at most


def write_recipe(found: Found, values: Mapping[str, Any], output: OutputFile, out: Path) -> list[str]:
    """Write a recipe of the proposed `values` that `genrobust run` accepts as it is; return lines on what it does.

    Folders that mean no class are left for the user to fill in; a run refuses the recipe until then. A recipe that is
    replaced is kept beside it, with a ``~`` and a number after its name. `out` keeps what is read of the images.

    Raises:
        UserError: The recipe exists, or a value is wrong.
    """
    recipe, text = output.path, _recipe_text(found, output.path, values)
    before = list(_describe_sets(found, values))
    if recipe.is_file() and recipe.read_bytes() != text.encode():
        names = (Path(f"{recipe}~{number}") for number in ("", *range(2, 1000)))
        before.insert(0, f"the former recipe is {recipe.replace(next(name for name in names if not name.exists()))}")
    with output.writing() as written:
        written.write(text.encode())
    times, doubts = _check(recipe, out)
    doubts = [*filter(None, [found.doubt]), *doubts]
    after = list(_describe_next(found, values, recipe, times))
    room = max(1, LINES - len(before) - len(after))
    if len(doubts) > room:
        doubts[room - 1 :] = [f"{len(doubts) - room + 1} more: genrobust show {recipe}"]
    return [*before, *(f"check: {doubt}" for doubt in doubts), *after]


def _recipe_text(found: Found, recipe: Path, values: Mapping[str, Any]) -> str:
    """The recipe's text; raises UserError for an address of a server that is none."""
    environment, here = templates("tools/init", keep_trailing_newline=True), Path(os.path.relpath(".", recipe.parent))
    environment.filters |= {"q": _quoted, "located": located}
    with paths_from(here):
        text = environment.get_template("init.yaml.j2").render(
            **locate_specs(values, here, Path()),
            file=shlex.quote(str(recipe)),
            name=study_name(recipe.stem),
            found=found,
        )
    parse_recipe({key: value for key, value in parse_yaml(text, str(recipe)).items() if key != "quick"}, str(recipe))
    return text


def _quoted(value: object) -> str:
    """`value` as YAML on one line, safe as a key, in a list and in a comment, whatever it holds."""
    text = str(value)
    style = None if text.isprintable() else '"'  # which escapes line breaks
    listed = yaml.safe_dump([text], default_style=style, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return listed.strip()[1:-1]


def _check(recipe: Path, out: Path) -> tuple[list[str], list[str]]:
    """How long the study and its short version take, in words, and what its own readers find wrong with the images.

    Without times, a run refuses the recipe.
    """
    times, doubts = list[str](), list[str]()
    try:
        for quick in (False, True):
            study = Studies(out, quick=quick).open(str(recipe))
            doubts = doubts or [*map(str, study.context.notices)]
            rows = study.rows()
            measure(rows)
            seconds, unknown = seconds_left(rows)
            times.append(f", {about(seconds)} here" + (" and more that is not measured yet" if unknown else ""))
    except GenrobustError as error:
        return [], str(error).splitlines()
    return times, doubts


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


def _describe_next(found: Found, values: Mapping[str, Any], recipe: Path, times: list[str]) -> Iterator[str]:
    """What to do with the recipe, and what would be worth more."""
    if values["network_line"]:
        yield values["network_line"]
    if values["chosen_by"] or found.data.shifted_val is not None:
        what = f"a third of {values['chosen_by']}" if values["chosen_by"] else "shifted validation images"
        yield f"held out for genrobust tune, which chooses by it: {what}"
    elif found.data.shifts:
        yield f"nothing is held out for genrobust tune: it takes two shifts, one of {3 * LEAST_SHIFT} images or more"
    first = f"fill in data.same_class ({some_of(found.unknown, NAMED)})" if found.unknown else "look it over"
    first = first if times or found.unknown else "fix what is listed, since a run refuses it"
    whole, short = times or ("", "")
    yield f"wrote {recipe}: {values['trainings']} trainings{whole}. First {first}, then"
    yield f"  genrobust run {shlex.quote(str(recipe))}    # with --quick: the short version{short}"
    if found.data.retrieval is None:
        yield "labeled images in other styles were worth most in our tests: add --retrieved DIR"
    if not values["with_generated"]:
        ways = "" if found.data.retrieval is None else "--own-generator, "
        yield f"for generated images add {ways}--generated DIR, or --server URL MODEL"
