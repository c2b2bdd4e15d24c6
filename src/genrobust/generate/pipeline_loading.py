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
from genrobust.generate.find_models import Adapter, find_adapter, find_lora, read_index, require_no_kernels
from genrobust.generate.generator_files import INDEX
from genrobust.generate.library_errors import EMPTY_WARNING, explain, muted, refusing_random_weights
from genrobust.generate.mode import Generator, locate, mode_of
from genrobust.generate.patch_autoencoder import PatchAutoencoder
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.pipeline_families import STABLE_DIFFUSION
from genrobust.generate.placement import networks_of, place, trunk_of
from genrobust.recipe import PATCH

LORA_NAME = "recipe"  # of the LoRA in the pipeline
# Pixels per latent of most autoencoders, and the multiple that every size has to be.
USUAL_SCALE = 8

# The recipe's scheduler names: the diffusers class, and its arguments beyond the folder's own configuration.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    # By default DDIM clips at 1, which is right for pixels but not for latents.
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    # Starts from pure noise, for few steps.
    "euler-trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
# The schedulers above can replace these, whose noise schedule they read. Flow matching and EDM have another.
REPLACEABLE = {kind.name for kind in KarrasDiffusionSchedulers if "EDM" not in kind.name} | {"LCMScheduler"}


def load_generator(config: DiffusersConfig, device: torch.device) -> Generator:
    """Load the generator of `config` onto `device`, with its LoRA or adapter and the recipe's scheduler."""
    id, folder = locate(config)
    index = read_index(folder)
    require_no_kernels(folder)
    pipeline = _load_pipeline(folder, config, index)
    if getattr(config, "safety_checker", False) and getattr(pipeline, "safety_checker", None) is None:
        raise UserError(f"generator.safety_checker is on, and {config.model} has none: turn it off, or name another")
    pipeline.set_progress_bar_config(disable=True)
    _set_scheduler(pipeline, config)
    width, height = _image_size(config, pipeline)
    lora = getattr(config, "lora", None)
    if lora is not None:
        _, file = find_lora(lora)
        _add_lora(pipeline, file, lora.scale)
    adapter = getattr(config, "adapter", None)
    if adapter is not None:
        _add_adapter(pipeline, find_adapter(adapter), adapter.scale)
    place(pipeline, config, device)
    return Generator(pipeline, config, id, device, width, height, _id2label(index))


def _id2label(index: dict[str, Any]) -> dict[int, str] | None:
    """Return the class names of a class-conditional generator by number; None if it has no names."""
    names = index.get("id2label")
    if not names:
        return None
    try:
        return {int(number): str(name) for number, name in names.items()}
    except (AttributeError, ValueError):
        raise UserError(f"{INDEX}: id2label must map numbers to names, got {str(names)[:60]}") from None


def _load_pipeline(folder: Path, config: DiffusersConfig, index: dict[str, Any]) -> Any:
    """Load the folder's pipeline without the parts that the mode does not use; raises UserError."""
    extra = _loader_arguments(config, index)
    loader = getattr(diffusers, _loader_name(config, index))
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    with (
        explain(f"cannot load the generator in {folder}", "get it again, or name another"),
        warnings.catch_warnings(),
        refusing_random_weights(),
        # The U-Net of a class model is in the place of a transformer.
        muted("Expected types for", "diffusers.pipelines.pipeline_utils"),
    ):
        # Newer versions of diffusers prefer `dtype`, older ones know only `torch_dtype`.
        warnings.simplefilter("ignore", FutureWarning)
        pipeline = loader.from_pretrained(
            folder,
            torch_dtype=getattr(torch, config.dtype),
            variant=config.variant,
            use_safetensors=True,
            local_files_only=True,
            **extra,
        )
        for name, network in networks_of(pipeline).items():
            if any(weight.is_meta for weight in network.parameters()):
                raise ValueError(f"weights of the {name} are missing")
    return pipeline


def _loader_arguments(config: DiffusersConfig, index: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that depend on the folder's index."""
    # Leave out parts that were left out when the folder was saved, such as the third text encoder of SD3.
    arguments: dict[str, Any] = {name: None for name, part in index.items() if part == [None, None]}
    if "safety_checker" in index and not getattr(config, "safety_checker", False):
        arguments |= {"safety_checker": None, "requires_safety_checker": False}
    if "XL" in index["_class_name"]:
        # Otherwise it depends on whether an optional package is installed.
        arguments["add_watermarker"] = False
    names = _id2label(index)
    if names is not None:
        # In JSON, numbers are texts.
        arguments["id2label"] = names
    return arguments


def _loader_name(config: DiffusersConfig, index: dict[str, Any]) -> str:
    """Return the name of the diffusers class that loads the folder."""
    name = mode_of(config).loader
    kind: str = index["_class_name"]
    is_text_to_image = kind in STABLE_DIFFUSION and "Img2Img" not in kind
    if name == "AutoPipelineForText2Image" and is_text_to_image:
        # AutoPipeline would choose this class, after it imported every pipeline, which takes seconds.
        return kind
    return name


def _set_scheduler(pipeline: Any, config: DiffusersConfig) -> None:
    """Give `pipeline` the recipe's scheduler; raises UserError if it cannot be sampled with it."""
    kind = type(pipeline).__name__
    current = type(pipeline.scheduler).__name__
    name, extra = SCHEDULERS[config.scheduler] if config.scheduler else (current, {})
    if kind.startswith("LatentConsistency") and name != "LCMScheduler":
        raise UserError(f"generator.scheduler: a {kind} is sampled with lcm: set that, or null to keep its own")
    if config.scheduler is not None:
        if current not in REPLACEABLE:
            raise UserError(
                f"generator.scheduler: {config.scheduler} cannot replace the {current} of a {kind}: set it to null"
            )
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **extra)
    trained_steps = pipeline.scheduler.config.num_train_timesteps
    if config.steps > trained_steps:
        raise UserError(
            f"generator.steps is {config.steps}; {config.model} was trained with {trained_steps}: ask for fewer"
        )


def _add_lora(pipeline: Any, file: Path, scale: float) -> None:
    """Merge the LoRA in the safetensors `file`, times `scale`, into the weights of `pipeline`.

    A merged LoRA costs no time when drawing.
    """
    kind = type(pipeline).__name__
    loggers = ("diffusers.loaders.peft", "diffusers.loaders.lora_base")
    with explain(f"generator.lora: {file} cannot be added to the generator, a {kind}", "take one for that"):
        with safe_open(file, framework="pt") as content:
            keys = content.keys()
            expected = sum(key.endswith(("lora_A.weight", "down.weight")) for key in keys)
        # diffusers says this of every LoRA for the UNet alone. Unmatched layers are counted below.
        with muted("No LoRA keys associated", *loggers):
            pipeline.load_lora_weights(
                file.parent, weight_name=file.name, adapter_name=LORA_NAME, use_safetensors=True, local_files_only=True
            )
    matched_layers = {name: _count_lora_layers(network) for name, network in networks_of(pipeline).items()}
    matched = sum(matched_layers.values())
    # There may be more than expected: some files store several layers as one, such as query, key and value.
    if matched < max(1, expected):
        raise UserError(
            f"generator.lora: {file} does not fit the generator, a {kind}: {matched} of its {expected} layers find a "
            "place. It was made for another model: take that one, or another LoRA"
        )
    # Name the parts: by default FLUX leaves out its text encoder.
    parts = [name for name, layers in matched_layers.items() if layers]
    pipeline.fuse_lora(components=parts, lora_scale=scale)
    pipeline.unload_lora_weights()


def _count_lora_layers(network: torch.nn.Module) -> int:
    return sum(LORA_NAME in getattr(module, "lora_A", {}) for module in network.modules())


def _add_adapter(pipeline: Any, adapter: Adapter, scale: float) -> None:
    """Add an IP-Adapter to `pipeline`; raises UserError if that does not work."""
    problem = f"generator.adapter: {adapter.file} cannot be added to the generator, a {type(pipeline).__name__}"
    with (
        explain(problem, "take one for that"),
        refusing_random_weights(),
        # It is loaded below.
        muted("image_encoder is not loaded", "diffusers.loaders.ip_adapter"),
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
            adapter.image_encoder,
            dtype=pipeline.dtype,
            use_safetensors=True,
            local_files_only=True,
            # A configuration could name code on the hub.
            attn_implementation="sdpa",
        )
        side: Any = image_encoder.config.image_size
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
        pipeline.register_modules(image_encoder=image_encoder, feature_extractor=processor)
        pipeline.set_ip_adapter_scale(scale)


def latent_scale(autoencoder: Any) -> int:
    """Return how many pixels per side one latent of `autoencoder` covers."""
    if isinstance(autoencoder, PatchAutoencoder):
        return PATCH
    channels = autoencoder.config.get("block_out_channels")
    if not channels:
        return USUAL_SCALE
    return 2 ** (len(channels) - 1)


def _image_size(config: DiffusersConfig, pipeline: Any) -> tuple[int, int]:
    """Return width and height of the images in pixels: the recipe's, or the size that the generator was trained on."""
    scale = _pixels_per_latent(pipeline)
    width, height = config.size
    if not (width and height):
        own_width, own_height = _trained_size(pipeline, scale, config.model)
        width = width or own_width
        height = height or own_height
    # Some pipelines pack 2 x 2 latents into one, which their image processor knows.
    processor_config = getattr(getattr(pipeline, "image_processor", None), "config", {})
    unit = max(USUAL_SCALE, scale, processor_config.get("vae_scale_factor", USUAL_SCALE))
    for name, value in (("width", width), ("height", height)):
        if value % unit:
            raise UserError(f"generator.{name} is {value} pixels; {config.model} draws multiples of {unit}")
    return width, height


def _pixels_per_latent(pipeline: Any) -> int:
    if hasattr(pipeline, "vae_scale_factor"):
        return int(pipeline.vae_scale_factor)
    autoencoder = getattr(pipeline, "vae", None) or getattr(pipeline, "movq", None)
    return latent_scale(autoencoder) if autoencoder else 1


def _trained_size(pipeline: Any, scale: int, model: str) -> tuple[int, int]:
    """Return the width and height in pixels that the pipeline was trained on; raises UserError if it does not say."""
    if hasattr(pipeline, "get_default_resolution"):
        side = pipeline.get_default_resolution()
        return side, side
    trunk = trunk_of(pipeline)
    latents = None
    if trunk is not None:
        latents = trunk.config.get("sample_size")
    latents = latents or getattr(pipeline, "default_sample_size", None)
    if latents is None:
        raise UserError(f"{model} does not say the size of its images: give generator.width and generator.height")
    rows, columns = (latents, latents) if isinstance(latents, int) else latents
    return columns * scale, rows * scale
