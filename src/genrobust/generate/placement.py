"""Moves a pipeline onto a device, fits it into memory, and makes it faster: memory layout, offload, compilation."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from torch import nn

from genrobust.core import compiler_options, room_for_code
from genrobust.generate.library_errors import explain
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_config import DiffusersConfig

# Pipelines that pad prompts to the longest of a batch, so that shapes vary.
AS_LONG_AS_PROMPTS = ("QwenImage", "NucleusMoE", "ZImage")
# Share of the free GPU memory that weights may take. The rest is for activations.
USABLE = 0.8
# Small networks, which stay on the GPU when single layers of the others wait in main memory.
AUTOENCODERS = ("vae", "movq")
log = logging.getLogger(__name__)


def trunk_of(pipeline: Any) -> Any:
    """Return the network that is called in every step; None for a pipeline with several."""
    return getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)


def networks_of(pipeline: Any) -> dict[str, nn.Module]:
    """Return the parts of `pipeline` that have weights, by name."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def place(pipeline: Any, config: DiffusersConfig, device: torch.device) -> None:
    """Move `pipeline` onto `device`: all of it or, if memory is short, each part when it computes.

    The choice changes no image.
    """
    offload: str = config.offload if device.type == "cuda" else "none"
    if offload == "auto":
        offload = _fitting_offload(pipeline, device)
    if device.type in ("cpu", "cuda"):
        lay_out(pipeline, device)
    kind = type(pipeline).__name__
    with explain(f"generator.offload: {offload} cannot be used with a {kind}", "set it to another value"):
        if offload == "none":
            pipeline.to(device)
        elif offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            # Exclude the autoencoder: SDXL casts it to float32 before each call, but not its copies in main memory.
            pipeline.enable_group_offload(
                onload_device=device, offload_type="leaf_level", use_stream=True, exclude_modules=list(AUTOENCODERS)
            )


def lay_out(pipeline: Any, device: torch.device) -> None:
    """Store convolutions with channels last. Otherwise kernels convert each batch to that layout and back."""
    for name in ("unet", *AUTOENCODERS):
        part = getattr(pipeline, name, None)
        if part is None:
            continue
        # A small UNet in bfloat16 on a CPU is slower with channels last.
        is_slower = name == "unet" and device.type == "cpu" and part.dtype == torch.bfloat16
        is_video = any(weight.ndim == 5 for weight in part.parameters())
        if not is_slower and not is_video:
            part.to(memory_format=torch.channels_last)


def _fitting_offload(pipeline: Any, device: torch.device) -> str:
    """Return the value of `generator.offload` with which `pipeline` fits into the free memory of a GPU."""
    sizes = []
    for network in networks_of(pipeline).values():
        sizes.append(sum(weight.nbytes for weight in network.parameters()))
    # Free what this process no longer uses, such as the previous generator.
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    offload = offload_for(sizes, free)
    if offload != "none":
        log.warning(
            f"the generator takes {sum(sizes) / 1e9:.1f} GB, more than {device} has free: idle parts "
            f"wait in main memory (generator.offload: {offload}), which takes more time"
        )
    return offload


def offload_for(sizes: Sequence[int], free: int) -> str:
    """Return how parts of `sizes` fit into `free`, in bytes: "none", "model" (one part at a time), or "group"."""
    if sum(sizes) <= USABLE * free:
        return "none"
    if max(sizes) <= USABLE * free:
        return "model"
    return "group"


def compile_network(generator: Generator) -> None:
    """Compile the network at its first call, which changes images by rounding.

    A UNet is compiled by its large blocks, because its convolutions are outside of the blocks that diffusers compiles.
    A transformer consists of little but these blocks, which share code. Both work if the network is offloaded.
    """
    kind = type(generator.pipeline).__name__
    trunk = trunk_of(generator.pipeline)
    # None: compile for any length once a second length is seen.
    dynamic = None if kind.startswith(AS_LONG_AS_PROMPTS) else False
    arguments: dict[str, Any] = {"dynamic": dynamic, "options": compiler_options()}
    room_for_code(generator.config.model_dump_json())
    if isinstance(trunk, diffusers.UNet2DConditionModel | diffusers.UNet2DModel):
        for block in large_blocks(trunk):
            block.compile(**arguments)
        return
    with explain(f"generator.compile: the network of a {kind} cannot be compiled", "set it to false"):
        trunk.compile_repeated_blocks(**arguments)


def large_blocks(unet: Any) -> list[nn.Module]:
    """Return the blocks of a UNet, from first to last."""
    blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
    return [block for block in blocks if block is not None]
