"""What comes with the package beside the benchmark, found by the one word that names it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

EMBEDDED = "pictograms"  # a folder of this name is written ./pictograms


def embedded(part: Literal["generator", "variation", "clip"]) -> Path:
    """The folder of a part of the package; what was installed may lack it."""
    return Path(str(resources.files("genrobust") / "assets" / part))


def absent(folder: Path) -> str:
    """What to say where an embedded `folder` is not there."""
    return f"the package comes without it: {folder} is not there"
