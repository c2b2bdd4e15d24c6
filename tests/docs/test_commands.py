"""The commands in the documentation: all of them exist as they are written, and those that can be run are run.

Running them takes minutes: make test-all, or

    pytest -m thorough tests/docs/test_commands.py

A page's blocks run in their order in one shell, in an empty folder that holds the images which `data` makes. A block
that needs a GPU, the network or more than some seconds begins with ``` { .sh .norun } in place of ```sh.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from pages import LEFT_OUT, PAGES, RUN, blocks

from genrobust.cli import app

FOLDERS = {"train": "train", "val": "outline-v2", "test": "test", "sketch": "solid", "phone": "pixel"}
EACH = 6
CLASSES = ("airplane", "anchor", "camera", "key")


def test_every_block_says_what_it_is() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"^``` ?(.*)$", text, flags=re.M)) == {"", RUN, LEFT_OUT, "yaml", "python", "text"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for code in blocks(page, RUN, LEFT_OUT):
        for line in re.sub(r"\\\n", " ", code).splitlines():
            words = shlex.split(line.replace("$(", ""), comments=True)
            if words[:1] != ["genrobust"]:
                continue
            known = {option for param in commands[words[1]].params for option in (*param.opts, *param.secondary_opts)}
            given = {word for word in words[2:] if word.startswith("--")}
            assert given <= known, f"{page.name}: {line}"


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
