"""Partial results that an interrupted command keeps in its folder."""

from __future__ import annotations

from pathlib import Path

import torch

from genrobust.store import PARTS, KeptParts, Maker, made_by


def open_kept_parts(folder: Path, device: torch.device, *makers: Maker) -> KeptParts:
    """Open the partial results that an interrupted run of `makers` kept in `folder`.

    Results of another kind of device, of other code or of other libraries are not found.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = device.type
    return KeptParts(folder / PARTS, name, made_by(*makers))
