"""Adds a LoRA to a loaded pipeline's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from genrobust.core import UserError
from genrobust.generate.logs import muted

ADAPTER = "recipe"


def add_lora(pipeline: Any, file: Path, scale: float) -> None:
    """Merge the LoRA in the safetensors `file`, `scale` times, into the weights of `pipeline`.

    Merged, it costs nothing while drawing. Raises UserError where the pipeline takes none, the file cannot be read or
    holds none, and where any of its layers finds no layer of the same shape: part of a LoRA is another LoRA.
    """
    kind = type(pipeline).__name__
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(f"generator.lora: a {kind} takes no LoRA: leave it out")
    try:
        with safe_open(file, framework="pt") as content:
            wanted = sum(key.endswith(("lora_A.weight", "down.weight")) for key in content.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"generator.lora: cannot read {file}: {error}: get it again") from error
    if not wanted:
        raise UserError(f"generator.lora: {file} holds no LoRA: none of its weights is named as one")
    own: dict[str, Any] = {"weight_name": file.name, "adapter_name": ADAPTER}
    loggers = ("diffusers.loaders.peft", "diffusers.loaders.lora_base")
    try:
        # Said of every LoRA for the UNet alone; what found no layer is counted below.
        with muted("No LoRA keys associated", *loggers):
            pipeline.load_lora_weights(file.parent, **own, use_safetensors=True, local_files_only=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"generator.lora: {file} cannot be added to the generator, a {kind}: {error}") from error
    parts = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    found = sum(ADAPTER in getattr(layer, "lora_A", {}) for part in parts for layer in part.modules())
    if found != wanted:
        raise UserError(
            f"generator.lora: {file} does not fit the generator, a {kind}: {wanted - found} of its {wanted} layers "
            "find no place. It was made for another model: take that one, or another LoRA"
        )
    pipeline.fuse_lora(lora_scale=scale)
    pipeline.unload_lora_weights()
