"""What makes a diffusers pipeline faster or fits it into memory: memory layout, offload, compilation."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from torch import nn

from genrobust.core import UserError, compiler_options, room_for_code
from genrobust.generate.calls import explain
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_config import DiffusersConfig

AS_LONG_AS_PROMPTS = ("QwenImage", "NucleusMoE", "ZImage")  # pipelines that pad to the longest prompt of a batch
USABLE = 0.8  # of the free memory of a GPU, for weights; the rest is for the images
TRUNKS = ("transformer", "unet")
AUTOENCODERS = ("vae", "movq")  # small: they stay on the GPU where single layers wait in main memory
log = logging.getLogger(__name__)


def trunk_of(pipeline: Any) -> Any:
    """Return the network that is called at every step; None for a pipeline of several."""
    return next((part for name in TRUNKS if (part := getattr(pipeline, name, None)) is not None), None)


def networks_of(pipeline: Any) -> dict[str, nn.Module]:
    """Return the parts of `pipeline` that have weights, by name."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def place(pipeline: Any, config: DiffusersConfig, device: torch.device) -> None:
    """Move `pipeline` onto `device`, all of it or, where that has too little memory, what is computing.

    No image depends on it.

    Raises:
        UserError: The pipeline cannot do what the recipe asks for.
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
            # Not the autoencoder: SDXL casts it to float32 before each call, and the copies that wait are not cast.
            pipeline.enable_group_offload(
                onload_device=device, offload_type="leaf_level", use_stream=True, exclude_modules=list(AUTOENCODERS)
            )


def lay_out(pipeline: Any, device: torch.device) -> None:
    """Store convolutions with the channels last: else kernels turn each batch that they are given, and back.

    A small UNet in bfloat16 on a CPU is slower so, and stays as it is.
    """
    for name in ("unet", *AUTOENCODERS):
        part = getattr(pipeline, name, None)
        if part is None or (name == "unet" and device.type == "cpu" and part.dtype == torch.bfloat16):
            continue
        if all(weight.ndim < 5 for weight in part.parameters()):  # videos' have another layout
            part.to(memory_format=torch.channels_last)


def _fitting_offload(pipeline: Any, device: torch.device) -> str:
    """Return the value of `generator.offload` with which `pipeline` fits into the free memory of a GPU."""
    sizes = [sum(weight.nbytes for weight in part.parameters()) for part in networks_of(pipeline).values()]
    gc.collect()  # or what this process no longer uses, such as the generator before, counts as taken
    torch.cuda.empty_cache()
    offload = offload_for(sizes, torch.cuda.mem_get_info(device)[0])
    if offload != "none":
        log.warning(
            f"the generator takes {sum(sizes) / 1e9:.1f} GB, more than {device} has free: idle parts "
            f"wait in main memory (generator.offload: {offload}), which takes more time"
        )
    return offload


def offload_for(sizes: Sequence[int], free: int) -> str:
    """Return how parts of `sizes`, in bytes, fit into `free` bytes: "none", "model" (one at a time), or "group"."""
    if sum(sizes) <= USABLE * free:
        return "none"
    return "model" if max(sizes) <= USABLE * free else "group"


def compile_network(generator: Generator) -> None:
    """Compile the network at its first call.

    A UNet is compiled by its large blocks, since its convolutions lie outside of the blocks that diffusers compiles; a
    transformer is little but those, whose code is made once for all of them. Neither depends on whether the network
    waits in main memory between its calls. It changes images as another batch size does: by rounding.

    Raises:
        UserError: The network cannot be compiled.
    """
    kind, trunk = type(generator.pipeline).__name__, trunk_of(generator.pipeline)
    dynamic = None if kind.startswith(AS_LONG_AS_PROMPTS) else False
    arguments: dict[str, Any] = {"dynamic": dynamic, "options": compiler_options()}
    room_for_code(generator.config.model_dump_json())
    if isinstance(trunk, diffusers.UNet2DConditionModel | diffusers.UNet2DModel):
        for block in large_blocks(trunk):
            block.compile(**arguments)
        return
    try:
        trunk.compile_repeated_blocks(**arguments)
    except (AttributeError, ValueError) as error:  # no such method, or no such blocks
        raise UserError(f"generator.compile: the network of a {kind} cannot be compiled: set it to false") from error


def large_blocks(unet: Any) -> list[nn.Module]:
    """Return the blocks of which a UNet consists, from its first to its last."""
    return [block for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks) if block is not None]
