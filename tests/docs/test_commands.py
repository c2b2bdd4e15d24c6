"""The commands in the documentation: all of them exist as they are written, and those that can be run are run.

Running them takes minutes: make test-all, or

    pytest -m thorough tests/docs/test_commands.py

A page's blocks run in their order in one shell, in an empty folder that holds the images which `data` makes. A block
that needs a GPU, the network or more than some seconds begins with ``` { .sh .norun } in place of ```sh.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import DOCS, LEFT_OUT, PAGES, RUN, blocks
from small_study import parsed

from genrobust.recipe import load_recipe

README, BUILTIN = DOCS.parent / "README.md", DOCS.parent / "src" / "genrobust" / "recipe" / "builtin"
FOLDERS = {"train": "train", "val": "outline-v2", "test": "test", "sketch": "solid", "phone": "pixel"}
EACH = 6
CLASSES = ("airplane", "anchor", "camera", "key")


def test_every_block_says_what_it_is() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"^``` ?(.*)$", text, flags=re.M)) == {"", RUN, LEFT_OUT, "yaml", "python", "text"}


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_commands_are_taken_as_they_are_written(page: Path) -> None:
    """Those in the text too, unless they are but the name of a command."""
    text = page.read_text(encoding="utf-8")
    for command in re.findall(r"`(genrobust [a-z][a-z-]* [^`]+)`", text):
        parsed(command)
    options = dict(re.findall(r'^(\w+)="(--.*)"$', text, flags=re.M))
    for code in blocks(page, RUN, LEFT_OUT, ""):
        for line in re.sub(r"\\\n", " ", code).splitlines():
            if line.startswith("genrobust "):
                given = re.sub(r"\$(\w+)", lambda variable: options.get(variable[1], "X"), line)
                parsed(re.split(r" [|&>]", given)[0])


def test_commands_in_recipes_are_taken_and_their_changes_load() -> None:
    """Those in comments, which an explanation may follow after three spaces."""
    tried = 0
    for path in BUILTIN.glob("*.yaml"):
        text = re.sub(r"(\\|(?<=,))\n#\s{5,}", " ", path.read_text(encoding="utf-8"))
        for line in re.findall(r"^#   (genrobust .*)$", text, flags=re.M):
            name, recipe, *words = parsed(re.split(r"\s{3,}", line)[0])
            if name in ("run", "show"):
                changes = [value for key, value in itertools.pairwise(words) if key == "--set"]
                load_recipe(recipe, changes, "--quick" in words)
                tried += 1
    assert tried > 15


@pytest.fixture
def data(write_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with ``data/train`` and the like, of a few icons in folders of their classes."""
    for name, source in FOLDERS.items():
        write_folder(f"data/{name}", source, EACH, {id: id for id in CLASSES})
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize("page", [page for page in PAGES if [*blocks(page, RUN)]], ids=lambda page: page.stem)
def test_commands_run(page: Path, data: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "".join(blocks(page, RUN))],
        cwd=data,
        env={**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
