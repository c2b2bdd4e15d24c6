"""The folder that a fine-tuned generator is saved in: the base with another UNet, or a LoRA for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME, convert_state_dict_to_diffusers
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from torch import Tensor

from genrobust.errors import GenrobustError, UserError
from genrobust.files import make_folder, replacing
from genrobust.generate.pipeline import INDEX
from genrobust.models import save_tensors

RECORD = "finetune.json"
STATE = "state.safetensors"
UNET = "unet"


def is_finished(out: Path, job: dict[str, Any]) -> bool:
    """Whether the folder `out` holds the fine-tune that `job` describes, finished: the record is written last.

    Raises UserError, naming what differs, where it holds another, and where it holds other files.
    """
    if (out / RECORD).exists():
        try:
            found = json.loads((out / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise GenrobustError(f"cannot read {out / RECORD}: {error}; delete {out} to fine-tune again") from error
        require_same(found, job, out)
        return True
    strangers = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
    if strangers and STATE not in strangers:
        some = ", ".join(strangers[:3])
        raise UserError(f"{out} holds other files ({some}) and no {RECORD}: choose another folder")
    return False


def require_same(found: Any, job: dict[str, Any], out: Path) -> None:
    """Raise UserError that says in what the fine-tune `found` in the folder `out` differs from `job`."""
    there = found if isinstance(found, dict) else {}
    rows = [f"  {k}: there {there.get(k)}, asked for {wanted}" for k, wanted in job.items() if there.get(k) != wanted]
    if rows:
        what = f"{out} holds another fine-tune: choose another folder, or delete that one"
        raise UserError("\n".join([what, *rows]))


def save_record(out: Path, record: dict[str, Any]) -> None:
    """Write what the fine-tune in the folder `out` is; from then on it is finished."""
    with replacing(out / RECORD) as file:
        file.write((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def save_full(out: Path, base: Path, variant: str | None, unet: UNet2DConditionModel) -> None:
    """Write the generator in the folder `base` with the weights of `unet`, as a diffusers folder.

    All else is copied byte by byte, `variant` files under plain names; the UNet is written in the dtype of the base's.
    """
    index = json.loads((base / INDEX).read_bytes())
    for part in sorted(name for name in index if (base / name).is_dir()):
        make_folder(out / part)
        for source, name in _files(base / part, variant):
            if part != UNET or source.suffix != ".safetensors":
                _copy(source, out / part / name)
    dtype = _dtype(base / UNET, variant)
    weights = {name: weight.to(dtype) for name, weight in unet.state_dict().items()}
    save_tensors(out / UNET / SAFETENSORS_WEIGHTS_NAME, weights, {"format": "pt"})
    _copy(base / INDEX, out / INDEX)


def save_lora(out: Path, unet: UNet2DConditionModel) -> None:
    """Write the LoRA in `unet` as diffusers does: a safetensors file that ``load_lora_weights(out)`` takes."""
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))

    def write(weights: dict[str, Tensor], path: str) -> None:
        save_tensors(Path(path), weights, {"format": "pt"})

    # Without the adapter's metadata: its scale is 1, which is what a LoRA without any is taken to have.
    StableDiffusionPipeline.save_lora_weights(out, unet_lora_layers=layers, save_function=write)


def _files(part: Path, variant: str | None) -> Iterator[tuple[Path, str]]:
    """The files of a generator's part that are loaded, with their plain names: weights of one variant, no pickles.

    The index of weights in several files stays behind for the UNet's, which are written as one.
    """
    weights = [p for p in part.iterdir() if p.suffix == ".safetensors"]
    chosen = [p for p in weights if p.stem.partition(".")[2] == (variant or "")]
    if not chosen:  # a part without files of the variant is loaded from its plain ones
        chosen = [p for p in weights if "." not in p.stem]
    for path in sorted(chosen):
        yield path, f"{path.stem.partition('.')[0]}.safetensors"
    for path in sorted(part.iterdir()):
        if path.suffix in {".json", ".txt"} and ".index." not in path.name:
            yield path, path.name


def _dtype(part: Path, variant: str | None) -> torch.dtype:
    weights = next(path for path, _ in _files(part, variant) if path.suffix == ".safetensors")
    with safe_open(weights, framework="pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype


def _copy(source: Path, to: Path) -> None:
    with source.open("rb") as read, replacing(to) as write:
        shutil.copyfileobj(read, write)
