"""The folders that trained generators are saved in: the base with another UNet, a LoRA for it, or a class model."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from torch import Tensor, nn

from genrobust.classifiers import save_tensors
from genrobust.generate.generator_files import INDEX, part_files, part_folders
from genrobust.generate.patch_autoencoder import PatchAutoencoder
from genrobust.store import make_folder, replacing

UNET, VAE = "unet", "vae"
WEIGHTS_SUFFIX = ".safetensors"
# The metadata that diffusers and transformers require in a file of weights.
FORMAT = {"format": "pt"}


def save_full(out: Path, base: Path, variant: str | None, unet: UNet2DConditionModel) -> None:
    """Write the generator in the folder `base` with the weights of `unet`, as a diffusers folder.

    All other files are copied byte by byte, `variant` files under plain names. The UNet gets the dtype of the base's.
    """
    for part in part_folders(base):
        _copy_part(part, out / part.name, variant, weights=part.name != UNET)
    dtype = _read_dtype(base / UNET, variant)
    weights = {name: weight.to(dtype) for name, weight in unet.state_dict().items()}
    save_tensors(out / UNET / SAFETENSORS_WEIGHTS_NAME, weights, FORMAT)
    _copy_file(base / INDEX, out / INDEX)


def save_lora(out: Path, unet: UNet2DConditionModel) -> None:
    """Write the LoRA in `unet` as diffusers does: a safetensors file that ``load_lora_weights(out)`` reads."""
    # Keep PEFT's names, which diffusers reads: its own names exist for attention only.
    layers = get_peft_model_state_dict(unet)

    def write(weights: dict[str, Tensor], path: str) -> None:
        save_tensors(Path(path), weights, FORMAT)

    # Metadata of the adapter is left out: its scale is 1, the default.
    StableDiffusionPipeline.save_lora_weights(out, unet_lora_layers=layers, save_function=write)


def save_class_model(
    out: Path,
    vae: PatchAutoencoder | tuple[Path, str | None],
    unet: UNet2DModel,
    scheduler: Any,
    id2label: dict[int, str],
) -> None:
    """Write a class model as a DiTPipeline, with the U-Net as its transformer: both are called in the same way.

    `vae` is the autoencoder; or the folder of one to copy, and its variant.
    """
    index: dict[str, Any] = {
        "_class_name": "DiTPipeline",
        "_diffusers_version": metadata.version("diffusers"),
        "id2label": id2label,
        VAE: ["diffusers", AutoencoderKL.__name__],
    }
    parts: dict[str, Any] = {"transformer": unet, "scheduler": scheduler}
    if isinstance(vae, tuple):
        folder, variant = vae
        _copy_part(folder, out / VAE, variant)
    else:
        parts[VAE] = vae
    for name, part in parts.items():
        make_folder(out / name)
        save_json(out / name / part.config_name, json.loads(part.to_json_string()))
        if isinstance(part, PatchAutoencoder):
            library = PatchAutoencoder.__module__
        else:
            library = "diffusers"
        index[name] = [library, type(part).__name__]
        if isinstance(part, nn.Module):
            save_tensors(out / name / SAFETENSORS_WEIGHTS_NAME, part.state_dict(), FORMAT)
    save_json(out / INDEX, index)


def _copy_part(part: Path, to: Path, variant: str | None, weights: bool = True) -> None:
    """Copy the files that are loaded of `part`, with or without its weights, which lose `variant` in their names."""
    make_folder(to)
    for source in part_files(part, variant):
        if source.suffix != WEIGHTS_SUFFIX:
            _copy_file(source, to / source.name)
        elif weights:
            plain_name = source.stem.partition(".")[0] + WEIGHTS_SUFFIX
            _copy_file(source, to / plain_name)


def _read_dtype(part: Path, variant: str | None) -> torch.dtype:
    """Return the dtype of the first tensor in the weights of `part`."""
    weights = [path for path in part_files(part, variant) if path.suffix == WEIGHTS_SUFFIX]
    with safe_open(weights[0], framework="pt") as file:
        name = next(iter(file.keys()))
        dtype: torch.dtype = file.get_tensor(name).dtype
    return dtype


def _copy_file(source: Path, to: Path) -> None:
    with source.open("rb") as reader, replacing(to) as writer:
        shutil.copyfileobj(reader, writer)


def save_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` to the file `path`, whole or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode())
