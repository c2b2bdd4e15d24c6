"""What makes a diffusers pipeline faster or smaller: memory layout, offload, compilation."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from torch import nn

from genrobust.core import UserError, compiler_options, room_for_code
from genrobust.generate.calls import explain_refusal
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.private_names import offloads_layers

AS_LONG_AS_PROMPTS = ("QwenImage", "NucleusMoE", "ZImage")  # pipelines that pad to the longest prompt of a batch
PAYS = 2_000  # images: at 2 a second, a third faster saves five minutes; compiling takes about one, in each worker
USABLE = 0.8  # of the free memory of a GPU, for weights; the rest is for the images
TRUNKS = ("transformer", "unet")
AUTOENCODERS = ("vae", "movq")  # small: they stay on the GPU where single layers wait in main memory
log = logging.getLogger(__name__)


def trunk_of(pipeline: Any) -> Any:
    """Return the network that is called at every step; None for a pipeline of several."""
    return next((part for name in TRUNKS if (part := getattr(pipeline, name, None)) is not None), None)


def place(pipeline: Any, config: DiffusersConfig, device: torch.device) -> str:
    """Move `pipeline` onto `device`, all of it or, where that has too little memory, what is computing.

    No image depends on it. Returns what is done, as `generator.offload` has it: "none", "model" or "group".

    Raises:
        UserError: The pipeline cannot do what the recipe asks for.
    """
    offload: str = config.offload if device.type == "cuda" else "none"
    if offload == "auto":
        offload = _chosen(pipeline, device)
    if device.type in ("cpu", "cuda"):
        lay_out(pipeline, device)
    _move(pipeline, offload, device)
    return offload


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


def _chosen(pipeline: Any, device: torch.device) -> str:
    parts = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    sizes = [sum(weight.nbytes for weight in part.parameters()) for part in parts]
    gc.collect()  # or what this process no longer uses, such as the generator before, counts as taken
    torch.cuda.empty_cache()
    offload = offload_for(sizes, torch.cuda.mem_get_info(device)[0])
    if offload == "group" and not can_offload_layers(pipeline):
        offload = "model"
    if offload != "none":
        log.warning(
            f"the generator takes {sum(sizes) / 1e9:.1f} GB, more than {device} has free: idle parts "
            f"wait in main memory (generator.offload: {offload}), which takes more time"
        )
    return offload


def _move(pipeline: Any, offload: str, device: torch.device) -> None:
    if offload == "none":
        pipeline.to(device)
        return
    kind, other = type(pipeline).__name__, "model or none" if offload == "group" else "none"
    with explain_refusal(f"generator.offload: {offload} cannot be used with a {kind}", f"set it to {other}"):
        if offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            # Not the autoencoder: SDXL casts it to float32 before each call, and the copies that wait are not cast.
            pipeline.enable_group_offload(
                onload_device=device, offload_type="leaf_level", use_stream=True, exclude_modules=list(AUTOENCODERS)
            )


def can_offload_layers(pipeline: Any) -> bool:
    """Return whether single layers of `pipeline` can wait in main memory: `generator.offload: group`."""
    parts = (part for name, part in pipeline.components.items() if name not in AUTOENCODERS)
    return all(map(offloads_layers, parts))


def offload_for(sizes: Sequence[int], free: int) -> str:
    """Return how parts of `sizes`, in bytes, fit into `free` bytes: "none", "model" (one at a time), or "group"."""
    if sum(sizes) <= USABLE * free:
        return "none"
    return "model" if max(sizes) <= USABLE * free else "group"


def compile_network(generator: Generator, images: int) -> bool:
    """Compile the network, where its recipe wants it for `images`; return whether it did.

    A UNet is compiled by its large blocks, since its convolutions lie outside of the blocks that diffusers compiles; a
    transformer is little but those, whose code is made once for all of them. Neither depends on whether the network
    waits in main memory between its calls. Compiled at the first draw, for its batch size. It changes images as another
    batch size does: by rounding.

    Raises:
        UserError: The recipe insists, and the network cannot be compiled.
    """
    pipeline, config = generator.pipeline, generator.config
    trunk = trunk_of(pipeline)
    kind = type(pipeline).__name__
    has_varying_shapes = kind.startswith(AS_LONG_AS_PROMPTS)
    if config.compile == "auto":
        # Layers that are fetched one by one interrupt the compiled code at each; each length of text is a new shape.
        pays = generator.device.type == "cuda" and generator.offload != "group" and images >= PAYS
        if not pays or has_varying_shapes:
            return False
    elif not config.compile:
        return False
    arguments: dict[str, Any] = {"dynamic": None if has_varying_shapes else False, "options": compiler_options()}
    try:
        room_for_code(config.model_dump_json())
        large = large_blocks(trunk)
        for block in large:
            block.compile(**arguments)
        if not large:
            trunk.compile_repeated_blocks(**arguments)
    except (AttributeError, ValueError) as error:  # no such method, or no such blocks
        if config.compile == "auto":
            return False
        raise UserError(f"generator.compile: the network of a {kind} cannot be: leave it at auto") from error
    return True


def large_blocks(trunk: Any) -> list[nn.Module]:
    """Return the blocks of which a UNet consists, from its first to its last; none of another network."""
    if not isinstance(trunk, diffusers.UNet2DConditionModel):
        return []
    unet: Any = trunk  # whose annotations name no blocks
    return [block for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks) if block is not None]
