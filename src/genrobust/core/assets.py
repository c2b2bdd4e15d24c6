"""The embedded models: generators and a CLIP, which come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

# The name of the embedded models. For a folder of this name, write ./pictograms.
EMBEDDED = "pictograms"


def embedded(part: Literal["generator", "variation", "clip", "prompts"]) -> Path:
    return Path(str(resources.files("genrobust") / "assets" / part))


def find_clip(clip: str | Path) -> Path:
    """Return the folder of a CLIP: `clip` itself, or the embedded one for "pictograms"."""
    if str(clip) == EMBEDDED:
        return embedded("clip")
    return Path(clip).expanduser()
