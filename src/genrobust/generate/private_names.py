"""Private names of diffusers, as versions 0.39 to 0.42 have them. No other module reads one."""

from __future__ import annotations

from typing import Any

# In the call of a FLUX Kontext, which else enlarges its source image to a megapixel: for 512 px, three times the work.
KEEP_SIZE = {"_auto_resize": False}


def offloads_layers(part: Any) -> bool:
    """Return whether single layers of `part` can wait in main memory."""
    return bool(getattr(part, "_supports_group_offloading", True))
