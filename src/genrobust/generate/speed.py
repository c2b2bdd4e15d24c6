"""Settings that make a diffusers pipeline faster or smaller: attention, caches, quantization, offload, compilation."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from genrobust.core import UserError, compiler_options, require_packages, room_for_code
from genrobust.generate.calls import explain_refusal, muted
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.private_names import chooses_attention, offloads_layers

AS_LONG_AS_PROMPTS = ("QwenImage", "NucleusMoE", "ZImage")  # pipelines that pad to the longest prompt of a batch
WITHOUT_MASKS = ("flash", "flash-3", "sage")  # attention that such pipelines cannot use: they mask what they pad
PAYS = 2_000  # images: at 2 a second, a third faster saves five minutes; compiling takes about one, in each worker
USABLE = 0.8  # of the free memory of a GPU, for weights; the rest is for the images
LARGE = 1_000_000_000  # bytes of a part's files: smaller ones, such as a CLIP or a VAE, are not worth quantizing
TRUNKS = ("transformer", "unet")
AUTOENCODERS = ("vae", "movq")  # small: they stay on the GPU where single layers wait in main memory
CACHES = {"first-block": "FirstBlockCacheConfig", "taylor-seer": "TaylorSeerCacheConfig"}  # of diffusers
BACKENDS = {"flash-3": "_flash_3", "cudnn": "_native_cudnn"}  # names of diffusers, where they are not the recipe's
log = logging.getLogger(__name__)


def trunk_of(pipeline: Any) -> Any:
    """Return the network that is called at every step; None for a pipeline of several."""
    return next((part for name in TRUNKS if (part := getattr(pipeline, name, None)) is not None), None)


def quantization(config: DiffusersConfig, folder: Path) -> diffusers.PipelineQuantizationConfig | None:
    """Return what `from_pretrained` needs to quantize the large parts of the generator in `folder`; None for nothing.

    Raises:
        MissingPackage: The quantizer is not installed.
        UserError: The quantizer is too old.
    """
    if config.quantize is None:
        return None
    require_packages(["torchao"], "quantize", f"generator.quantize: {config.quantize}")
    sizes = {part.name: sum(f.stat().st_size for f in part.glob("*.safetensors")) for part in folder.iterdir()}
    # The autoencoder stays as it is: it draws the pixels, and is small.
    names = [name for name, size in sizes.items() if name in TRUNKS or (size > LARGE and "encoder" in name)]
    problem = f"generator.quantize: {config.quantize} cannot be used with the torchao that is installed"
    # diffusers says which version it wants
    with explain_refusal(problem, "pip install --upgrade 'genrobust[quantize]'"):
        return _quantization_config(config.quantize, names)


def _quantization_config(name: str, parts: Sequence[str]) -> diffusers.PipelineQuantizationConfig:
    import transformers
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    weights = Float8WeightOnlyConfig() if name == "torchao-float8" else Int8WeightOnlyConfig()
    mapping: dict[str, Any] = {
        part: (diffusers.TorchAoConfig if part in TRUNKS else transformers.TorchAoConfig)(weights) for part in parts
    }
    return diffusers.PipelineQuantizationConfig(quant_mapping=mapping)


def prepare_pipeline(pipeline: Any, config: DiffusersConfig) -> None:
    """Give `pipeline` the attention, the cache and the decoding of `config`.

    Raises:
        UserError: The pipeline does not take one of them.
    """
    kind, trunk = type(pipeline).__name__, trunk_of(pipeline)
    if config.attention in WITHOUT_MASKS and kind.startswith(AS_LONG_AS_PROMPTS):
        raise UserError(
            f"generator.attention: {config.attention} takes no masks, which a {kind} needs for prompts of unequal "
            "length: name another, or leave it out"
        )
    if config.attention is not None:
        _set_attention(trunk, config.attention, kind)
    if config.cache is not None:
        with explain_refusal(f"generator.cache: a {kind} does not take {config.cache}", "leave it out"):
            trunk.enable_cache(getattr(diffusers, CACHES[config.cache])())
    if config.tiling:
        with explain_refusal(f"generator.tiling: a {kind} does not take it", "leave it out"):
            pipeline.vae.enable_tiling()


def decode_one_by_one(pipeline: Any) -> bool:
    """Let the autoencoder decode one image after another; returns whether it did not, and can."""
    vae = getattr(pipeline, "vae", None)
    enable = getattr(vae, "enable_slicing", None)
    if enable is None or getattr(vae, "use_slicing", True):
        return False
    enable()
    return True


def _set_attention(trunk: Any, name: str, kind: str) -> None:
    if not chooses_attention(trunk):
        raise UserError(f"generator.attention: the attention of a {kind} is PyTorch's own alone: leave it out")
    # It makes the choice that of every network without one of its own too, which the block undoes: the next generator
    # of this process would draw with it.
    with (
        explain_refusal(f"generator.attention: {name} cannot be used", "name another, or leave it out"),
        muted("experimental feature", "diffusers.models.modeling_utils"),
        diffusers.attention_backend(),
    ):
        trunk.set_attention_backend(BACKENDS.get(name, name))


def place(pipeline: Any, config: DiffusersConfig, device: torch.device) -> str:
    """Move `pipeline` onto `device`, all of it or, where that has too little memory, what is computing.

    No image depends on it. Returns what is done, as `generator.offload` has it: "none", "model" or "group".

    Raises:
        UserError: The pipeline cannot do what the recipe asks for.
    """
    offload: str = config.offload if device.type == "cuda" else "none"
    if offload == "auto":
        offload = _chosen(pipeline, device)
    if device.type in ("cpu", "cuda") and config.quantize is None:
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
    sizes = [_bytes(part.parameters()) for part in pipeline.components.values() if isinstance(part, nn.Module)]
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


def _bytes(weights: Iterable[Tensor]) -> int:
    """Return the bytes of `weights`. Those of torchao name themselves what they were, and hold what they became."""
    total = 0
    for weight in weights:
        if hasattr(weight, "__tensor_flatten__"):
            total += _bytes(getattr(weight, name) for name in weight.__tensor_flatten__()[0])
        else:
            total += weight.numel() * weight.element_size()
    return total


def compile_network(generator: Generator, images: int) -> bool:
    """Compile the network, where its recipe wants it for `images`; return whether it did.

    A UNet is compiled by its large blocks, since its convolutions lie outside of the blocks that diffusers compiles; a
    transformer is little but those, whose code is made once for all of them. Neither depends on whether the network
    waits in main memory between its calls. Compiled at the first draw, for its batch size, and for half of it where
    guidance ends before the last step. It changes images as another batch size does: by rounding.

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
    beside = ""
    try:
        if config.cache == "taylor-seer":
            beside = f" beside cache: {config.cache}"
            raise ValueError("PyTorch (2.13) would compile the code of each step anew")
        room_for_code(config.model_dump_json())
        large = large_blocks(trunk)
        for block in large:
            block.compile(**arguments)
        if not large:
            trunk.compile_repeated_blocks(**arguments)
    except (AttributeError, ValueError) as error:  # no such method, or no such blocks
        if config.compile == "auto":
            return False
        raise UserError(f"generator.compile: the network of a {kind} cannot be{beside}: leave it at auto") from error
    return True


def large_blocks(trunk: Any) -> list[nn.Module]:
    """Return the blocks of which a UNet consists, from its first to its last; none of another network."""
    if not isinstance(trunk, diffusers.UNet2DConditionModel):
        return []
    unet: Any = trunk  # whose annotations name no blocks
    return [block for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks) if block is not None]
