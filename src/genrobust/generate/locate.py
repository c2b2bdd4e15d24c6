"""Finds generators and LoRAs by name, folder or hub id."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from diffusers import DiffusionPipeline
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from huggingface_hub import snapshot_download

from genrobust.core import EMBEDDED, UserError, absent, embedded
from genrobust.generate.trained_folder import check_trained
from genrobust.recipe import AdapterConfig, GeneratorConfig, LoraConfig

PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}
log = logging.getLogger(__name__)
_warn_once = lru_cache(log.warning)  # a run looks for its generator several times


def embedded_generator(mode: str = "labels") -> Path:
    """Return the folder of the generator that comes with the package, for `mode`."""
    return embedded("variation" if mode == "images" else "generator")


def find_generator(config: GeneratorConfig) -> tuple[str, Path]:
    """Return the id and the folder of the first of `config.model` and its alternatives that is found.

    A hub model is downloaded, safetensors alone. An alternative is logged with the reason. Raises UserError that says
    of each why it was not found.
    """
    reasons: list[str] = []
    for model in (config.model, *config.alternatives):
        try:
            folder = embedded_generator(config.mode) if model == EMBEDDED else Path(model).expanduser()
            id = model if model == EMBEDDED else folder.resolve().name
            if not folder.exists():
                id, folder = model, _download(model, config)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home of that user
            reasons.append(f"  {model}: {_first_line(error)}")
            continue
        if reasons:
            _warn_once("\n".join([f"generating with the alternative {id}, since these were not found:", *reasons]))
        return id, folder
    tried = "\n".join(reasons)
    raise UserError(f"no generator found; name a diffusers folder or a hub id under generator.model:\n{tried}")


def find_lora(config: LoraConfig) -> tuple[str, Path]:
    """Return the id and the .safetensors file of a LoRA; one of the hub is downloaded.

    Raises UserError for one that is not found, a pickle, and a folder without one file to choose; GenrobustError for a
    trained one that is damaged.
    """
    try:
        place, id = Path(config.model).expanduser(), config.model
        if place.exists():
            id = place.resolve().name
        else:
            place = Path(snapshot_download(config.model, allow_patterns=["*.safetensors"]))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"generator.lora: {config.model} is no file, folder or hub id: {_first_line(error)}") from None
    files = [place] if place.is_file() else sorted(p for p in place.glob("*") if p.is_file())
    fit = [p for p in files if p.suffix == ".safetensors"]
    named = [p for p in fit if p.name == LORA_WEIGHT_NAME_SAFE] or fit
    if not fit and any(p.suffix in PICKLES for p in files):
        raise UserError(f"generator.lora: {config.model} {_A_PICKLE}")
    if len(named) != 1:
        names = ", ".join(p.name for p in fit) or "none"
        raise UserError(
            f"generator.lora: {place} holds several .safetensors files or none ({names}): name the one file"
        )
    check_trained(named[0].parent)
    return id, named[0]


def find_adapter(config: AdapterConfig) -> tuple[str, Path, Path]:
    """Return the id, the .safetensors file and the folder of the image encoder of an IP-Adapter.

    One of the hub is downloaded. Raises UserError where one of them is not found, or is a pickle.
    """
    parts = [config.file, *(f"{config.image_encoder}/*.{ending}" for ending in ("json", "safetensors"))]
    try:
        place, id = Path(config.model).expanduser(), config.model
        if place.exists():
            id = place.resolve().name
        else:
            place = Path(snapshot_download(config.model, allow_patterns=parts))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"generator.adapter: {config.model} is no folder or hub id: {_first_line(error)}") from None
    file, encoder = place / config.file, place / config.image_encoder
    if file.suffix != ".safetensors":
        raise UserError(f"generator.adapter.file: {config.file} is no .safetensors file: name one in {place}")
    if not file.is_file():
        raise UserError(f"generator.adapter.file: there is no {config.file} in {place}: name its file")
    if not (encoder / "config.json").is_file():
        raise UserError(f"generator.adapter.image_encoder: {encoder} holds no image encoder: name its folder")
    refuse_pickles(encoder)
    return id, file, encoder


def refuse_pickles(part: Path) -> None:
    """Raise UserError where the folder `part` of a generator holds weights as a pickle and not as safetensors."""
    suffixes = {p.suffix for p in part.iterdir()}
    if suffixes & PICKLES and ".safetensors" not in suffixes:
        raise UserError(f"{part} {_A_PICKLE}")


def _download(model: str, config: GeneratorConfig) -> Path:
    if model == EMBEDDED:
        raise FileNotFoundError(absent(embedded_generator(config.mode)))
    if model.startswith((".", "/", "~")):
        raise FileNotFoundError("there is no such folder")
    return Path(
        DiffusionPipeline.download(model, revision=config.revision, variant=config.variant, use_safetensors=True)
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


_A_PICKLE = (
    "holds its weights as a pickle, which can run any code when it is read, and genrobust reads none: take a copy with "
    "safetensors, or convert it where you trust it"
)
