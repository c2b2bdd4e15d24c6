"""The folder that a trained generator is saved in: the base with another UNet, a LoRA for it, or a class model."""

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
from genrobust.core import make_folder, replacing
from genrobust.generate.generator_files import INDEX, part_files, part_folders
from genrobust.generate.patch_autoencoder import PatchAutoencoder

UNET, VAE = "unet", "vae"


def save_full(out: Path, base: Path, variant: str | None, unet: UNet2DConditionModel) -> None:
    """Write the generator in the folder `base` with the weights of `unet`, as a diffusers folder.

    All else is copied byte by byte, `variant` files under plain names; the UNet is written in the dtype of the base's.
    """
    for part in part_folders(base):
        _copy_part(part, out / part.name, variant, weights=part.name != UNET)
    dtype = _read_dtype(base / UNET, variant)
    weights = {name: weight.to(dtype) for name, weight in unet.state_dict().items()}
    save_tensors(out / UNET / SAFETENSORS_WEIGHTS_NAME, weights, {"format": "pt"})
    _copy_file(base / INDEX, out / INDEX)


def save_lora(out: Path, unet: UNet2DConditionModel) -> None:
    """Write the LoRA in `unet` as diffusers does: a safetensors file that ``load_lora_weights(out)`` takes."""
    layers = get_peft_model_state_dict(unet)  # in PEFT's names, which diffusers reads: its own are of attention alone

    def write(weights: dict[str, Tensor], path: str) -> None:
        save_tensors(Path(path), weights, {"format": "pt"})

    # Without the adapter's metadata: its scale is 1, which is what a LoRA without any is taken to have.
    StableDiffusionPipeline.save_lora_weights(out, unet_lora_layers=layers, save_function=write)


def save_class_model(
    out: Path,
    vae: PatchAutoencoder | tuple[Path, str | None],
    unet: UNet2DModel,
    scheduler: Any,
    id2label: dict[int, str],
) -> None:
    """Write a DiTPipeline: `unet`, `scheduler` and `vae`, or a copy of that in a folder, of a variant.

    The U-Net takes the place of the transformer there, which is called alike. `id2label` holds the names of each
    number, with commas between.
    """
    index: dict[str, Any] = {"_class_name": "DiTPipeline", "_diffusers_version": metadata.version("diffusers")}
    index |= {"id2label": id2label, VAE: ["diffusers", AutoencoderKL.__name__]}
    parts: dict[str, Any] = {"transformer": unet, "scheduler": scheduler}
    if isinstance(vae, tuple):
        _copy_part(vae[0], out / VAE, vae[1])
    else:
        parts[VAE] = vae
    for part, component in parts.items():
        make_folder(out / part)
        save_json(out / part / component.config_name, json.loads(component.to_json_string()))
        library = PatchAutoencoder.__module__ if component is vae else "diffusers"
        index[part] = [library, type(component).__name__]
        if isinstance(component, nn.Module):
            save_tensors(out / part / SAFETENSORS_WEIGHTS_NAME, component.state_dict(), {"format": "pt"})
    save_json(out / INDEX, index)


def _copy_part(part: Path, to: Path, variant: str | None, weights: bool = True) -> None:
    make_folder(to)
    for source in part_files(part, variant):
        is_weights = source.suffix == ".safetensors"
        if weights or not is_weights:
            _copy_file(source, to / (f"{source.stem.partition('.')[0]}.safetensors" if is_weights else source.name))


def _read_dtype(part: Path, variant: str | None) -> torch.dtype:
    weights = next(path for path in part_files(part, variant) if path.suffix == ".safetensors")
    with safe_open(weights, framework="pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype


def _copy_file(source: Path, to: Path) -> None:
    with source.open("rb") as reader, replacing(to) as writer:
        shutil.copyfileobj(reader, writer)


def save_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` to the file `path`, whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())
