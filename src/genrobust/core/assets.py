"""The embedded models: generators and a CLIP, which come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

from genrobust.core.errors import UserError

EMBEDDED = "pictograms"  # names an embedded model; for a folder of this name, write ./pictograms


def embedded(part: Literal["generator", "variation", "clip", "prompts"]) -> Path:
    """The folder of a part of the package, which an installation may lack."""
    return Path(str(resources.files("genrobust") / "assets" / part))


def absent(folder: Path) -> str:
    """The reason why an embedded `folder` is missing, for an error."""
    return f"the package comes without it: {folder} is not there"


# OpenAI's CLIP on the hub, in open_clip's format, with safetensors: what messages name as an example.
PUBLISHED_CLIP = "timm/vit_base_patch32_clip_224.openai"


def find_clip(clip: str | Path) -> Path:
    """The folder of a CLIP: `clip` itself, or for "pictograms" that of the embedded one.

    Raises:
        UserError: This installation has no embedded CLIP.
    """
    if str(clip) != EMBEDDED:
        return Path(clip).expanduser()
    folder = embedded("clip")
    if not folder.exists():
        raise UserError(f"there is no CLIP {EMBEDDED}: {absent(folder)}; name the folder of another CLIP")
    return folder
