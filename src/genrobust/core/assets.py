"""What comes with the package beside the benchmark, found by the one word that names it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

from genrobust.core.errors import UserError

EMBEDDED = "pictograms"  # a folder of this name is written ./pictograms


def embedded(part: Literal["generator", "variation", "clip", "prompts"]) -> Path:
    """The folder of a part of the package; what was installed may lack it."""
    return Path(str(resources.files("genrobust") / "assets" / part))


def absent(folder: Path) -> str:
    """What to say where an embedded `folder` is not there."""
    return f"the package comes without it: {folder} is not there"


def find_clip(clip: str | Path) -> Path:
    """The folder that `clip` names: itself, or that of the CLIP that comes with the package ("pictograms").

    Raises UserError where the package comes without.
    """
    if str(clip) != EMBEDDED:
        return Path(clip).expanduser()
    folder = embedded("clip")
    if not folder.exists():
        raise UserError(f"there is no CLIP {EMBEDDED}: {absent(folder)}; name the folder of another")
    return folder
