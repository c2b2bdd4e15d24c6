"""Loads diffusers generators, checked against the recipe's mode."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.schedulers import KarrasDiffusionSchedulers
from safetensors import safe_open

from genrobust.core import UserError
from genrobust.generate.calls import EMPTY_WARNING, explain, muted, refusing_random_weights
from genrobust.generate.generator_files import INDEX
from genrobust.generate.locate import Adapter, find_adapter, find_lora, read_index
from genrobust.generate.mode import Generator, locate, mode_of
from genrobust.generate.patch_autoencoder import PatchAutoencoder
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.pipelines import STABLE_DIFFUSION
from genrobust.generate.speed import AUTOENCODERS, networks_of, place, trunk_of
from genrobust.recipe import PATCH

ADAPTER = "recipe"  # the name of a LoRA in the pipeline

# The recipe's scheduler names: the diffusers class, and its arguments beyond the folder's own configuration.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),  # its default clips at 1, which is for pixels, not for latents
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),  # from pure noise, in few steps
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
# What the schedulers above can stand in for: they read its noise schedule. Flow matching and EDM have another.
_REPLACEABLE = {kind.name for kind in KarrasDiffusionSchedulers if "EDM" not in kind.name} | {"LCMScheduler"}


def load_generator(config: DiffusersConfig, device: torch.device) -> Generator:
    """Load the generator of `config` onto `device`, with its LoRA or adapter, and with the recipe's scheduler.

    Raises:
        UserError: No such folder or model, no safetensors, a pipeline for another mode, a damaged file, a
            LoRA or adapter that does not fit, a size that is no multiple of 8 pixels, more steps than it was trained
            with, a scheduler that it cannot take, an offload that it cannot do.
    """
    id, folder = locate(config)
    index = read_index(folder)
    pipeline = _load_pipeline(folder, config, index)
    if getattr(config, "safety_checker", False) and getattr(pipeline, "safety_checker", None) is None:
        raise UserError(f"generator.safety_checker is on, and {config.model} has none: turn it off, or name another")
    pipeline.set_progress_bar_config(disable=True)
    _set_scheduler(pipeline, config)
    width, height = _image_size(config, pipeline)
    if lora := getattr(config, "lora", None):
        _add_lora(pipeline, find_lora(lora)[1], lora.scale)
    if adapter := getattr(config, "adapter", None):
        _add_adapter(pipeline, find_adapter(adapter), adapter.scale)
    place(pipeline, config, device)
    return Generator(pipeline, config, id, device, width, height, _id2label(index))


def _id2label(index: dict[str, Any]) -> dict[int, str] | None:
    """The names that a class-conditional generator gives its classes, by number, where it does."""
    names = index.get("id2label")
    try:
        return {int(number): str(name) for number, name in names.items()} if names else None
    except (AttributeError, ValueError):
        raise UserError(f"{INDEX}: id2label must map numbers to names, got {str(names)[:60]}") from None


def _load_pipeline(folder: Path, config: DiffusersConfig, index: dict[str, Any]) -> Any:
    """The folder's pipeline, without what the mode does not use; raises UserError."""
    # A part that was left out when the folder was saved, such as the third text encoder of SD3, is left out again.
    extra: dict[str, Any] = {name: None for name, part in index.items() if part == [None, None]}
    if "safety_checker" in index and not getattr(config, "safety_checker", False):
        extra |= {"safety_checker": None, "requires_safety_checker": False}
    if "XL" in index["_class_name"]:
        extra["add_watermarker"] = False  # else it depends on what else is installed
    if names := _id2label(index):
        extra["id2label"] = names  # JSON has its numbers as texts
    kind, name = index["_class_name"], mode_of(config).loader
    if name == "AutoPipelineForText2Image" and kind in STABLE_DIFFUSION and "Img2Img" not in kind:
        name = kind  # which that would choose, after seconds of importing every pipeline that there is
    loader = getattr(diffusers, name)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    with (
        explain(f"cannot load the generator in {folder}", "get it again, or name another"),
        warnings.catch_warnings(),
        refusing_random_weights(),
        muted("Expected types for", "diffusers.pipelines.pipeline_utils"),  # a class model's U-Net is no transformer
    ):
        warnings.simplefilter("ignore", FutureWarning)  # newer diffusers say dtype, older know only torch_dtype
        dtype = getattr(torch, config.dtype)  # of all of it, whatever the files are in
        pipeline = loader.from_pretrained(
            folder, torch_dtype=dtype, variant=config.variant, use_safetensors=True, local_files_only=True, **extra
        )
        for name, part in networks_of(pipeline).items():
            if any(weight.is_meta for weight in part.parameters()):
                raise ValueError(f"weights of the {name} are missing")
    return pipeline


def _set_scheduler(pipeline: Any, config: DiffusersConfig) -> None:
    """Give `pipeline` the recipe's scheduler; raises UserError where the pipeline cannot be sampled with it."""
    kind, current = type(pipeline).__name__, type(pipeline.scheduler).__name__
    name, extra = SCHEDULERS[config.scheduler] if config.scheduler else (current, {})
    if kind.startswith("LatentConsistency") and name != "LCMScheduler":
        raise UserError(f"generator.scheduler: a {kind} is sampled with lcm: set that, or null to keep its own")
    if config.scheduler is not None:
        if current not in _REPLACEABLE:
            raise UserError(
                f"generator.scheduler: {config.scheduler} cannot replace the {current} of a {kind}: set it to null"
            )
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **extra)
    trained = pipeline.scheduler.config.num_train_timesteps
    if config.steps > trained:
        raise UserError(f"generator.steps is {config.steps}; {config.model} was trained with {trained}: ask for fewer")


def _add_lora(pipeline: Any, file: Path, scale: float) -> None:
    """Merge the LoRA in the safetensors `file`, `scale` times, into the weights of `pipeline`.

    Merged, it costs nothing while drawing. Raises UserError where the pipeline takes none, the file cannot be read or
    holds none, and where any of its layers finds no layer of the same shape: part of a LoRA is another LoRA.
    """
    kind = type(pipeline).__name__
    loggers = ("diffusers.loaders.peft", "diffusers.loaders.lora_base")
    with explain(f"generator.lora: {file} cannot be added to the generator, a {kind}", "take one for that"):
        with safe_open(file, framework="pt") as content:
            expected = sum(key.endswith(("lora_A.weight", "down.weight")) for key in content.keys())  # noqa: SIM118
        # Said of every LoRA for the UNet alone; what found no layer is counted below.
        with muted("No LoRA keys associated", *loggers):
            pipeline.load_lora_weights(
                file.parent, weight_name=file.name, adapter_name=ADAPTER, use_safetensors=True, local_files_only=True
            )
    loaded = {
        name: sum(ADAPTER in getattr(module, "lora_A", {}) for module in network.modules())
        for name, network in networks_of(pipeline).items()
    }
    matched = sum(loaded.values())
    if matched < max(1, expected):  # more where the file holds several layers as one, such as query, key and value
        raise UserError(
            f"generator.lora: {file} does not fit the generator, a {kind}: {matched} of its {expected} layers find a "
            "place. It was made for another model: take that one, or another LoRA"
        )
    parts = [name for name, layers in loaded.items() if layers]  # by default FLUX leaves out its text encoder
    pipeline.fuse_lora(components=parts, lora_scale=scale)
    pipeline.unload_lora_weights()


def _add_adapter(pipeline: Any, adapter: Adapter, scale: float) -> None:
    """Add an IP-Adapter to `pipeline`; raises UserError where that does not work."""
    problem = f"generator.adapter: {adapter.file} cannot be added to the generator, a {type(pipeline).__name__}"
    with (
        explain(problem, "take one for that"),
        refusing_random_weights(),
        muted("image_encoder is not loaded", "diffusers.loaders.ip_adapter"),  # it is, below
        muted(*EMPTY_WARNING),
    ):
        pipeline.load_ip_adapter(
            adapter.file.parent,
            subfolder="",
            weight_name=adapter.file.name,
            image_encoder_folder=None,
            local_files_only=True,
        )
        image_encoder = transformers.CLIPVisionModelWithProjection.from_pretrained(
            adapter.image_encoder, dtype=pipeline.dtype, use_safetensors=True, local_files_only=True
        )
        side: Any = image_encoder.config.image_size
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
        pipeline.register_modules(image_encoder=image_encoder, feature_extractor=processor)
        pipeline.set_ip_adapter_scale(scale)


def latent_scale(autoencoder: Any) -> int:
    """Return how many pixels a side one latent of `autoencoder` covers."""
    if isinstance(autoencoder, PatchAutoencoder):
        return PATCH
    channels = autoencoder.config.get("block_out_channels")
    return 2 ** (len(channels) - 1) if channels else 8


def _image_size(config: DiffusersConfig, pipeline: Any) -> tuple[int, int]:
    """Width and height of the images in pixels: the recipe's, or else what the generator was trained on."""
    autoencoder = next((part for name in AUTOENCODERS if (part := getattr(pipeline, name, None)) is not None), None)
    scale = getattr(pipeline, "vae_scale_factor", 1 if autoencoder is None else latent_scale(autoencoder))
    trunk = trunk_of(pipeline)
    sample = (trunk and trunk.config.get("sample_size")) or getattr(pipeline, "default_sample_size", None)
    own_scale = scale
    if hasattr(pipeline, "get_default_resolution"):  # in pixels, whatever its autoencoder
        sample, own_scale = pipeline.get_default_resolution(), 1
    asked_width, asked_height = config.size
    if sample is None and not (asked_width and asked_height):
        raise UserError(
            f"{config.model} does not say the size of its images: give generator.width and generator.height"
        )
    sides = sample or 0
    own_height, own_width = (sides, sides) if isinstance(sides, int) else sides
    width, height = asked_width or own_width * own_scale, asked_height or own_height * own_scale
    # 8 is what diffusers insists on; some pack 2 x 2 latents into one, which their image processor knows.
    packed = getattr(getattr(pipeline, "image_processor", None), "config", {}).get("vae_scale_factor", 8)
    unit = max(8, scale, packed)
    for name, value in (("width", width), ("height", height)):
        if value % unit:
            raise UserError(f"generator.{name} is {value} pixels; {config.model} draws multiples of {unit}")
    return width, height
