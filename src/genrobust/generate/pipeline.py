"""Text-to-image generators: found by name, folder or hub id, loaded through diffusers, known by their weights' hash."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors import SafetensorError

from genrobust.config import GeneratorConfig
from genrobust.errors import UserError

EMBEDDED = "pictograms"
INDEX = "model_index.json"
KIND = "StableDiffusionPipeline"
PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}

# The recipe's scheduler names: the diffusers class, and what it is told beyond the folder's own configuration.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),  # its default clips at 1, which is for pixels, not for latents
    "euler": ("EulerDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}


@dataclass(frozen=True, slots=True)
class Generator:
    """A loaded generator. `id` is its name without a path; images come out as [height, width] in pixels."""

    pipeline: Any  # a StableDiffusionPipeline, which gets its attributes at run time
    config: GeneratorConfig
    id: str
    weights_sha256: str
    device: torch.device
    width: int
    height: int

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """[C, h, w] of the noise that one image starts from."""
        scale = self.pipeline.vae_scale_factor
        return self.pipeline.unet.config.in_channels, self.height // scale, self.width // scale


def embedded_generator() -> Path:
    """The folder of the generator that comes with the package."""
    return Path(str(resources.files("genrobust") / "assets" / "generator"))


def identity(config: GeneratorConfig) -> dict[str, Any]:
    """What decides a generator's images, as flat JSON: two equal identities draw the same. Loads no weights.

    Raises UserError as `load_generator` does where the generator cannot be found.
    """
    id, folder = locate(config)
    settings = config.model_dump(mode="json", exclude={"model", "alternatives", "revision", "variant"})
    return {"generator": id, "weights_sha256": _hash_folder(folder), **settings}


def load_generator(config: GeneratorConfig, device: torch.device) -> Generator:
    """Load the generator of `config` onto `device`, with its scheduler replaced as the recipe says.

    Raises UserError, with what to do: no such folder or model, weights that are pickles, another kind of pipeline, a
    damaged file, a size that is no multiple of 8 pixels, more steps than it was trained with.
    """
    id, folder = locate(config)
    pipeline = _load(folder, config)
    if config.safety_checker and pipeline.safety_checker is None:
        raise UserError(f"generator.safety_checker is on, and {config.model} has none: turn it off, or name another")
    pipeline.set_progress_bar_config(disable=True)
    if config.scheduler is not None:
        name, extra = SCHEDULERS[config.scheduler]
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **extra)
    width, height = _size(config, pipeline)
    trained = pipeline.scheduler.config.num_train_timesteps
    if config.steps > trained:
        raise UserError(f"generator.steps is {config.steps}; {config.model} was trained with {trained}: ask for fewer")
    return Generator(pipeline.to(device), config, id, _hash_folder(folder), device, width, height)


def locate(config: GeneratorConfig) -> tuple[str, Path]:
    """The id and the folder of the first of `config.model` and its alternatives that is to be had.

    A hub model is downloaded, safetensors alone. Raises UserError that says of each why it is not to be had; a folder
    that is there but not usable is an error at once, since another generator in its place would surprise.
    """
    reasons = []
    for model in (config.model, *config.alternatives):
        folder = embedded_generator() if model == EMBEDDED else Path(model).expanduser()
        id = model if model == EMBEDDED else folder.resolve().name
        if not folder.exists():
            try:
                id, folder = model, _download(model, config)
            except (OSError, ValueError) as error:
                reasons.append(f"  {model}: {_first_line(error)}")
                continue
        _check(folder)
        return id, folder
    tried = "\n".join(reasons)
    raise UserError(f"no generator is to be had; name a diffusers folder or a hub id under generator.model:\n{tried}")


def weights_hash(config: GeneratorConfig) -> str:
    """SHA-256, in hex, over the files that the generator is made of: weights, configurations, tokenizer.

    Raises UserError as `locate` does. Read once a process for files that do not change.
    """
    return _hash_folder(locate(config)[1])


def _hash_folder(folder: Path) -> str:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in {".safetensors", ".json", ".txt"}]
    return _hash_files(folder, tuple((p, p.stat().st_mtime_ns) for p in files))


@lru_cache
def _hash_files(folder: Path, files: tuple[tuple[Path, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _ in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def _download(model: str, config: GeneratorConfig) -> Path:
    if model == EMBEDDED:
        raise FileNotFoundError(f"the package comes without it: {embedded_generator()} is not there")
    if model.startswith((".", "/", "~")):
        raise FileNotFoundError("there is no such folder")
    return Path(
        DiffusionPipeline.download(model, revision=config.revision, variant=config.variant, use_safetensors=True)
    )


def _load(folder: Path, config: GeneratorConfig) -> Any:
    """The folder's pipeline, all of it in the recipe's dtype whatever the files are in; raises UserError."""
    off: dict[str, Any] = {} if config.safety_checker else {"safety_checker": None, "requires_safety_checker": False}
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer diffusers say dtype, older know only this
            return StableDiffusionPipeline.from_pretrained(
                folder,
                torch_dtype=getattr(torch, config.dtype),
                variant=config.variant,
                use_safetensors=True,
                local_files_only=True,
                **off,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"cannot load the generator in {folder}: {error}: get it again, or name another") from error


def _check(folder: Path) -> None:
    """Refuse what is no folder of `KIND` with safetensors weights; raises UserError."""
    if folder.is_file():
        raise UserError(
            f"{folder} is a file; a generator is a diffusers folder: convert it with "
            "StableDiffusionPipeline.from_single_file(...).save_pretrained(...)"
        )
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} is no diffusers folder: it has no {INDEX}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {folder / INDEX}: {error}: get the generator again") from error
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind != KIND:
        raise UserError(f"{folder} holds a {kind}; genrobust generates with a {KIND}: name one of that kind")
    for part in sorted(folder / name for name in index if (folder / name).is_dir()):
        suffixes = {p.suffix for p in part.iterdir()}
        if suffixes & PICKLES and ".safetensors" not in suffixes:
            raise UserError(
                f"{part} holds its weights as a pickle, which can run any code when it is read, and genrobust reads "
                "none: take a copy with safetensors, or convert it where you trust it"
            )


def _size(config: GeneratorConfig, pipeline: Any) -> tuple[int, int]:
    """Width and height of the images in pixels: the recipe's, or else what the UNet was trained on."""
    sample = pipeline.unet.config.sample_size
    own_height, own_width = (sample, sample) if isinstance(sample, int) else sample
    width = config.width or own_width * pipeline.vae_scale_factor
    height = config.height or own_height * pipeline.vae_scale_factor
    unit = max(8, pipeline.vae_scale_factor)  # 8 is what diffusers insists on
    for name, value in (("width", width), ("height", height)):
        if value % unit:
            raise UserError(f"generator.{name} is {value} pixels; {config.model} draws multiples of {unit}")
    return width, height


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
