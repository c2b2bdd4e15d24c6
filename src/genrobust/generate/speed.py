"""What makes a diffusers pipeline faster or smaller: attention, caches, quantization, offloading, compilation."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from genrobust.core import MissingPackage, UserError
from genrobust.generate.calls import muted
from genrobust.recipe import GeneratorConfig

PAYS = 2_000  # images: at 2 a second, a third faster saves five minutes; compiling takes about one, in each worker
USABLE = 0.8  # of the free memory of a GPU, for weights; the rest is for the images
LARGE = 1_000_000_000  # bytes of a part's files: smaller ones, such as a CLIP or a VAE, are not worth quantizing
TRUNKS = ("transformer", "unet")
BACKENDS = {"flash-3": "_flash_3", "cudnn": "_native_cudnn"}  # names of diffusers, where they are not the recipe's
log = logging.getLogger(__name__)


def trunk_of(pipeline: Any) -> Any:
    """Return the network that is called at every step; None for a pipeline of several."""
    return next((part for name in TRUNKS if (part := getattr(pipeline, name, None)) is not None), None)


def quantization(config: GeneratorConfig, folder: Path) -> diffusers.PipelineQuantizationConfig | None:
    """Return what `from_pretrained` needs to quantize the large parts of the generator in `folder`; None for nothing.

    Raises MissingPackage where the quantizer is not installed.
    """
    if config.quantize is None:
        return None
    package, _, kind = config.quantize.partition("-")
    if find_spec(package) is None:
        raise MissingPackage(package, "quantize", f"generator.quantize: {config.quantize}")
    sizes = {part.name: sum(f.stat().st_size for f in part.glob("*.safetensors")) for part in folder.iterdir()}
    # The autoencoder stays as it is: it draws the pixels, and is small.
    names = [name for name, size in sizes.items() if name in TRUNKS or (size > LARGE and "encoder" in name)]
    if package == "bitsandbytes":
        how: dict[str, Any] = {"load_in_8bit": True}
        if kind == "nf4":
            compute = getattr(torch, config.dtype)
            how = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": compute}
        backend = f"bitsandbytes_{4 if kind == 'nf4' else 8}bit"
        return diffusers.PipelineQuantizationConfig(
            quant_backend=backend, quant_kwargs=how, components_to_quantize=names
        )
    import transformers
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    weights = Float8WeightOnlyConfig() if kind == "float8" else Int8WeightOnlyConfig()
    made: dict[str, Any] = {
        name: (diffusers.TorchAoConfig if name in TRUNKS else transformers.TorchAoConfig)(weights) for name in names
    }
    return diffusers.PipelineQuantizationConfig(quant_mapping=made)


def prepare(pipeline: Any, config: GeneratorConfig) -> None:
    """Give `pipeline` the attention, the cache and the decoding of `config`; raises UserError where it cannot."""
    kind, trunk = type(pipeline).__name__, trunk_of(pipeline)
    if config.attention is not None:
        _set_attention(trunk, config.attention, kind)
    if config.cache is not None:
        if not hasattr(trunk, "enable_cache"):
            raise UserError(f"generator.cache: the network of a {kind} takes no cache: leave it out")
        try:
            trunk.enable_cache(diffusers.FirstBlockCacheConfig())
        except Exception as error:
            raise UserError(f"generator.cache: a {kind} does not take {config.cache}: {error}: leave it out") from error
    for key in ("slicing", "tiling"):
        if getattr(config, key):
            enable = getattr(getattr(pipeline, "vae", None), f"enable_{key}", None)
            if enable is None:
                raise UserError(f"generator.{key}: the autoencoder of a {kind} has no {key}: leave it out")
            enable()


def _set_attention(trunk: Any, name: str, kind: str) -> None:
    parts = [] if trunk is None else trunk.modules()
    if not any(hasattr(getattr(part, "processor", None), "_attention_backend") for part in parts):
        raise UserError(f"generator.attention: the attention of a {kind} is PyTorch's own alone: leave it out")
    try:
        with muted("experimental feature", "diffusers.models.modeling_utils"):
            trunk.set_attention_backend(BACKENDS.get(name, name))
    except Exception as error:  # of packages that are not installed, with what to install
        raise UserError(f"generator.attention: {name} cannot be used: {error}") from error


def place(pipelines: Sequence[Any], config: GeneratorConfig, device: torch.device) -> None:
    """Move `pipelines` onto `device`, all of them or, where that has too little memory, what is computing.

    No image depends on it.
    """
    offload: str = config.offload if device.type == "cuda" else "none"
    if offload == "auto":
        parts = [part for pipeline in pipelines for part in pipeline.components.values()]
        sizes = [_bytes(part) for part in parts if isinstance(part, nn.Module)]
        gc.collect()  # or what this process no longer uses, such as the generator before, counts as taken
        torch.cuda.empty_cache()
        offload = offload_for(sizes, torch.cuda.mem_get_info(device)[0])
        if offload != "none":
            log.warning(
                f"the generator takes {sum(sizes) / 1e9:.1f} GB, more than {device} has free: what does not "
                f"compute waits in main memory (generator.offload: {offload}), which takes more time"
            )
    for pipeline in pipelines:
        if offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif offload == "group":
            pipeline.enable_group_offload(onload_device=device, offload_type="leaf_level", use_stream=True)
        else:
            pipeline.to(device)


def offload_for(sizes: Sequence[int], free: int) -> str:
    """Return how parts of `sizes`, in bytes, fit into `free` bytes: "none", "model" (one at a time), or "group"."""
    if sum(sizes) <= USABLE * free:
        return "none"
    return "model" if max(sizes) <= USABLE * free else "group"


def _bytes(part: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in part.parameters())


def compile_blocks(pipeline: Any, config: GeneratorConfig, device: torch.device, images: int) -> bool:
    """Compile the repeated blocks of the network, where `config` wants it for so many `images`; return whether it did.

    Compiled at the first draw, for its batch size alone. It changes images as another batch size does: by rounding.
    """
    trunk = trunk_of(pipeline)
    can = bool(getattr(trunk, "_repeated_blocks", None)) and hasattr(trunk, "compile_repeated_blocks")
    if config.compile == "auto":
        if not (can and device.type == "cuda" and images >= PAYS):
            return False
    elif not config.compile:
        return False
    elif not can:
        raise UserError(f"generator.compile: the network of a {type(pipeline).__name__} cannot be: leave it at auto")
    trunk.compile_repeated_blocks(fullgraph=config.offload == "none", dynamic=False)
    return True


def uncompile(pipeline: Any) -> None:
    """Undo `compile_blocks`."""
    for part in trunk_of(pipeline).modules():
        part._compiled_call_impl = None
