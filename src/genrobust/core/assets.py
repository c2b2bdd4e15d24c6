"""The embedded models: generators and a CLIP, which come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

EMBEDDED = "pictograms"  # names an embedded model; for a folder of this name, write ./pictograms


def embedded(part: Literal["generator", "variation", "clip", "prompts"]) -> Path:
    """Return the folder of a part of the package."""
    return Path(str(resources.files("genrobust") / "assets" / part))


def find_clip(clip: str | Path) -> Path:
    """Return the folder of a CLIP: `clip` itself, or for "pictograms" that of the embedded one."""
    return embedded("clip") if str(clip) == EMBEDDED else Path(clip).expanduser()
