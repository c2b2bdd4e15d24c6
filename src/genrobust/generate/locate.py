"""Finds generators, LoRAs and adapters by name, folder or hub id, and says what a folder in diffusers' format is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache

from genrobust.core import (
    EMBEDDED,
    Artifact,
    UserError,
    digest,
    embedded,
    hash_folder,
    hash_once,
    one_line,
    reading,
)
from genrobust.generate.generator_files import INDEX
from genrobust.generate.pipeline_config import AdapterConfig, DiffusersConfig, LoraConfig

GENERATOR = "generator"  # the kind of the artifact of one that was trained here
PATCHES = ["genrobust.generate.patch_autoencoder", "PatchAutoencoder"]  # the one part of ours
LORA_FILE = "pytorch_lora_weights.safetensors"  # the one of several that diffusers would take
CARD = "README.md"  # from which an export reads the license
REASON = 160  # characters of why a generator is not found: libraries say much


def find_generator(config: DiffusersConfig) -> tuple[str, Path]:
    """Return the id and the folder of `config.model`; one of the hub is downloaded, safetensors alone.

    Raises:
        UserError: It is not found.
    """
    model = config.model
    if model == EMBEDDED:
        return model, embedded("variation" if config.mode == "images" else "generator")
    try:
        folder = Path(model).expanduser()
        if folder.exists():
            return folder.resolve().name, folder
        return model, _download_pipeline(model, config)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home of that user
        raise UserError(
            f"generator.model: no generator {model}: {one_line(error)[:REASON]}: name a diffusers folder, or a hub id "
            "on a machine that reaches huggingface.co"
        ) from error


def check_trained(folder: Path) -> None:
    """Compare the files of a generator with its manifest, where it was trained here; a process reads them once.

    Raises:
        GenrobustError: A file is damaged; the message names the first.
    """
    artifact = Artifact(folder)
    if artifact.is_finished_as(GENERATOR):
        artifact.check_files()


def read_index(folder: Path) -> dict[str, Any]:
    """Return the model_index.json of `folder`.

    Raises:
        UserError: The folder is no diffusers folder, or one that is not of diffusers' own classes.
    """
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
        if not isinstance(index.get("_class_name"), str):  # a list in a community pipeline, which brings code
            raise ValueError("its _class_name is none of diffusers' own")
    for name, part in index.items():
        if name != "id2label" and isinstance(part, list) and not _is_known_part(part):
            raise UserError(
                f"{folder / INDEX}: {name} is {str(part)[:60]}: a part is of a class of diffusers or transformers, or "
                "[null, null]; get it again, or name another"
            )
    return index


def _is_known_part(part: list[Any]) -> bool:
    """Whether diffusers can load `part`, [library, class], without importing a module that anybody may have named."""
    if part == [None, None]:
        return True
    if len(part) != 2 or not all(isinstance(word, str) for word in part):
        return False
    if part[0] in ("diffusers", "transformers") or part == PATCHES:
        return True
    import diffusers  # which takes seconds

    return hasattr(diffusers.pipelines, part[0])


def find_lora(config: LoraConfig) -> tuple[str, Path]:
    """Return the id and the .safetensors file of a LoRA; one of the hub is downloaded.

    Raises:
        UserError: The LoRA is not found, or its folder has not one .safetensors file to choose.
        GenrobustError: A trained LoRA is damaged.
    """
    id, path = _find_parts(config, "generator.lora", ["*.safetensors"])
    check_trained(path.parent if path.is_file() else path)  # before its files are listed: at a URL, it fetches them
    files = [path] if path.is_file() else sorted(path.glob("*"))
    candidates = [p for p in files if p.suffix == ".safetensors"]
    matches = [p for p in candidates if p.name == LORA_FILE] or candidates
    if len(matches) != 1:
        names = ", ".join(p.name for p in candidates) or "none"
        raise UserError(f"generator.lora: {path} holds several .safetensors files or none ({names}): name the one file")
    return id, matches[0]


@dataclass(frozen=True, slots=True)
class Adapter:
    """The IP-Adapter that lets a text-to-image model draw from an image: its name without a path, file and encoder."""

    id: str
    file: Path
    image_encoder: Path

    @property
    def sha256(self) -> str:
        """A hash of the weights and their configurations."""
        return digest([hash_once(self.file), hash_folder(self.image_encoder)], 64)


def find_adapter(config: AdapterConfig) -> Adapter:
    """Return the adapter of `config`; one of the hub is downloaded.

    Raises:
        UserError: A part of it is not found.
    """
    encoder_files = [f"{config.image_encoder}/*.{ending}" for ending in ("json", "safetensors")]
    id, folder = _find_parts(config, "generator.adapter", [config.file, *encoder_files])
    file, encoder = folder / config.file, folder / config.image_encoder
    if file.suffix != ".safetensors" or not file.is_file():
        raise UserError(f"generator.adapter.file: {config.file} is no .safetensors file in {folder}: name one there")
    if not (encoder / "config.json").is_file():
        raise UserError(f"generator.adapter.image_encoder: {encoder} holds no image encoder: name its folder")
    return Adapter(id, file, encoder)


def _download_pipeline(model: str, config: DiffusersConfig) -> Path:
    if model.startswith((".", "/", "~")):
        raise FileNotFoundError("there is no such folder")
    from diffusers import DiffusionPipeline  # which takes seconds

    folder = DiffusionPipeline.download(model, revision=config.revision, variant=config.variant, use_safetensors=True)
    if try_to_load_from_cache(model, CARD, revision=config.revision) is None:
        with suppress(OSError, ValueError, RuntimeError):  # some have none
            hf_hub_download(model, CARD, revision=config.revision)
    return Path(folder)


def _find_parts(config: LoraConfig | AdapterConfig, key: str, parts: Sequence[str]) -> tuple[str, Path]:
    """The id and the path of `config.model`; of a model of the hub, `parts` and the card are downloaded."""
    try:
        path = Path(config.model).expanduser()
        if path.exists():
            return path.resolve().name, path
        patterns = [*parts, CARD]
        return config.model, Path(snapshot_download(config.model, revision=config.revision, allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{key}: {config.model} is no file, folder or hub id: {one_line(error)}") from None
