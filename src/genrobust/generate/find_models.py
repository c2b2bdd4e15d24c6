"""Finds generators, LoRAs and adapters by name, folder or hub id, and reads the index of a diffusers folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache

from genrobust.core import EMBEDDED, UserError, digest, embedded, one_line, reading
from genrobust.generate.generator_files import INDEX
from genrobust.generate.pipeline_config import AdapterConfig, DiffusersConfig, LoraConfig
from genrobust.store import Artifact, hash_folder, hash_once

# The kind of artifact of a generator that was trained here.
GENERATOR = "generator"
# The only part of a folder that is a class of genrobust, as its index names it.
PATCHES = ["genrobust.generate.patch_autoencoder", "PatchAutoencoder"]
# The file that diffusers takes if a LoRA's folder holds several.
LORA_FILE = "pytorch_lora_weights.safetensors"
# Exports read the license from it.
CARD = "README.md"
REASON_LENGTH = 160  # characters of a library's message
# Errors of a missing folder or hub id. Path.expanduser raises RuntimeError for an unknown user.
NOT_FOUND = (OSError, ValueError, RuntimeError)


def find_generator(config: DiffusersConfig) -> tuple[str, Path]:
    """Return the id and the folder of `config.model`. One from the hub is downloaded, safetensors only."""
    if config.model == EMBEDDED:
        return config.model, embedded("variation" if config.mode == "images" else "generator")
    return _find(config.model, "generator.model", lambda: _download_pipeline(config))


def check_trained(folder: Path) -> None:
    """Compare the files of a generator that was trained here with its manifest. A process reads them once."""
    artifact = Artifact(folder)
    if artifact.is_finished_as(GENERATOR):
        artifact.check_files()


def read_index(folder: Path) -> dict[str, Any]:
    """Read the model_index.json of `folder`."""
    if folder.is_file():
        raise UserError(
            f"{folder} is a file; a generator is a diffusers folder: convert it with "
            "StableDiffusionPipeline.from_single_file(...).save_pretrained(...)"
        )
    if not (folder / INDEX).exists():
        raise UserError(f"{folder} is no diffusers folder: it has no {INDEX}")
    with reading(folder / INDEX, ValueError, then=": get it again"):
        index = json.loads((folder / INDEX).read_bytes())
        if not isinstance(index, dict):
            raise ValueError("it is no JSON object")
        # A community pipeline has a list here, and brings its own code.
        if not isinstance(index.get("_class_name"), str):
            raise ValueError("its _class_name is none of diffusers' own")
    for name, part in index.items():
        if isinstance(part, list) and name != "id2label" and not _is_known_part(part):
            raise UserError(
                f"{folder / INDEX}: {name} is {str(part)[:60]}: a part is of a class of diffusers or transformers, or "
                "[null, null]; get it again, or name another"
            )
    return index


def require_no_kernels(folder: Path) -> None:
    """Raise UserError if a part of a generator names an attention kernel, which transformers runs from the hub."""
    for file in sorted(folder.glob("*/config.json")):
        with reading(file, ValueError, then=": remove that key, or get the generator again"):
            json.loads(file.read_bytes(), object_hook=_refuse_kernels)


def _refuse_kernels(values: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object `values`. Raise ValueError if it names a kernel."""
    for key, value in values.items():
        if key.endswith("attn_implementation") and "/" in str(value):
            raise ValueError(f"{key} is {str(value)[:60]}, which is code on the hub")
    return values


def _is_known_part(part: list[Any]) -> bool:
    """Whether diffusers can load `part`, [library, class], without importing an arbitrary module."""
    if part == [None, None]:
        return True
    if len(part) != 2 or not all(isinstance(word, str) for word in part):
        return False
    if part[0] in ("diffusers", "transformers") or part == PATCHES:
        return True
    # Import late: it takes seconds.
    import diffusers

    return hasattr(diffusers.pipelines, part[0])


def find_lora(config: LoraConfig) -> tuple[str, Path]:
    """Return the id and the .safetensors file of a LoRA. One from the hub is downloaded."""
    id, path = _find(config.model, "generator.lora", lambda: _download_files(config, ["*.safetensors"]))
    # Check before listing: for a folder at a URL, this fetches its files.
    check_trained(path.parent if path.is_file() else path)
    if path.is_file() and path.suffix == ".safetensors":
        return id, path
    files = sorted(path.glob("*.safetensors"))
    if path / LORA_FILE in files:
        files = [path / LORA_FILE]
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise UserError(f"generator.lora: {path} holds several .safetensors files or none ({names}): name the one file")
    return id, files[0]


@dataclass(frozen=True, slots=True)
class Adapter:
    """An IP-Adapter, which lets a text-to-image model draw from an image.

    Attributes:
        id: Its name without a path.
        file: Its weights.
        image_encoder: The folder of its CLIP.
    """

    id: str
    file: Path
    image_encoder: Path

    def sha256(self) -> str:
        return digest([hash_once(self.file), hash_folder(self.image_encoder)], 64)


def find_adapter(config: AdapterConfig) -> Adapter:
    """Find the adapter of `config`. One from the hub is downloaded."""
    patterns = [config.file, f"{config.image_encoder}/*.json", f"{config.image_encoder}/*.safetensors"]
    id, folder = _find(config.model, "generator.adapter", lambda: _download_files(config, patterns))
    file = folder / config.file
    encoder = folder / config.image_encoder
    if file.suffix != ".safetensors" or not file.is_file():
        raise UserError(f"generator.adapter.file: {config.file} is no .safetensors file in {folder}: name one there")
    if not (encoder / "config.json").is_file():
        raise UserError(f"generator.adapter.image_encoder: {encoder} holds no image encoder: name its folder")
    return Adapter(id, file, encoder)


def _find(model: str, key: str, download: Callable[[], str]) -> tuple[str, Path]:
    """Return the id and the path of `model`: a file or folder here, or else the folder that `download` returns."""
    try:
        path = Path(model).expanduser()
        if path.exists():
            return path.resolve().name, path
        if model.startswith((".", "/", "~")):
            raise FileNotFoundError("there is no such folder")
        return model, Path(download())
    except NOT_FOUND as error:
        raise UserError(
            f"{key}: {model} is not found: {one_line(error)[:REASON_LENGTH]}: name a folder, or a hub id on a machine "
            "that reaches huggingface.co"
        ) from error


def _download_pipeline(config: DiffusersConfig) -> str:
    # Import late: it takes seconds.
    from diffusers import DiffusionPipeline

    model, revision = config.model, config.revision
    folder: str = DiffusionPipeline.download(model, revision=revision, variant=config.variant, use_safetensors=True)
    # diffusers leaves out the card. Some models have none.
    if try_to_load_from_cache(model, CARD, revision=revision) is None:
        with suppress(*NOT_FOUND):
            hf_hub_download(model, CARD, revision=revision)
    return folder


def _download_files(config: LoraConfig | AdapterConfig, patterns: Sequence[str]) -> str:
    return snapshot_download(config.model, revision=config.revision, allow_patterns=[*patterns, CARD])
