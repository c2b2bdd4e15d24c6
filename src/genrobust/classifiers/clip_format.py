"""The two formats of a CLIP on disk, transformers' and open_clip's, both read as transformers' networks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import transformers
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from genrobust.classifiers.architectures import bounded
from genrobust.classifiers.clip_files import CONFIG, KINDS, OPEN_CLIP, OPEN_CLIP_WEIGHTS, clip_files, clip_weights
from genrobust.core import parse_json

ClipConfig = CLIPConfig | CLIPVisionConfig
ClipNetwork = CLIPModel | CLIPVisionModelWithProjection
Size = Annotated[int, Field(ge=1, le=100_000, strict=True)]

# The names of open_clip's tensors, after "visual." or in the text tower, as transformers has them.
_NAMES = {
    r"^class_embedding$": "embeddings.class_embedding",
    r"^conv1\.": "embeddings.patch_embedding.",
    r"^token_embedding\.": "embeddings.token_embedding.",
    r"^positional_embedding$": "embeddings.position_embedding.weight",
    r"^ln_pre\.": "pre_layrnorm.",
    r"^ln_post\.": "post_layernorm.",
    r"^ln_final\.": "final_layer_norm.",
    r"^transformer\.resblocks\.": "encoder.layers.",
    r"\.ln_([12])\.": r".layer_norm\1.",
    r"\.attn\.": ".self_attn.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
}
_PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Vision(_Strict):
    """A tower of images: open_clip's plain vision transformer, of which `patch_dropout` is off outside training."""

    image_size: Size
    layers: Size
    width: Size
    patch_size: Size
    head_width: Size = 64
    mlp_ratio: Annotated[float, Field(gt=0, le=100)] = 4.0
    patch_dropout: float = 0.0


class Text(_Strict):
    """A tower of texts: open_clip's own transformer."""

    context_length: Size
    vocab_size: Size
    width: Size
    heads: Size
    layers: Size
    mlp_ratio: Annotated[float, Field(gt=0, le=100)] = 4.0


class Towers(_Strict):
    """The part of `OPEN_CLIP` that describes the network."""

    embed_dim: Size
    vision_cfg: Vision
    text_cfg: Text
    quick_gelu: bool = False
    custom_text: bool = False


class Preprocess(BaseModel):
    """The preparation of images that `OPEN_CLIP` describes; the defaults are open_clip's."""

    mean: list[float] = [0.48145466, 0.4578275, 0.40821073]
    std: list[float] = [0.26862954, 0.26130258, 0.27577711]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"


def read_clip_config(folder: Path) -> ClipConfig:
    """Return the configuration of the CLIP in `folder`; one of images alone has no text tower.

    Raises:
        ValueError: The configuration is not that of a CLIP.
        Exception: transformers cannot read it, and raises an error of its own.
    """
    if clip_files(folder) != (OPEN_CLIP,):
        raw: dict[str, Any] = parse_json((folder / CONFIG).read_bytes())
        kind = CLIPVisionConfig if raw.get("model_type") == KINDS[1] else CLIPConfig
        return kind.from_dict(raw)  # type: ignore[no-any-return]  # transformers is not typed
    raw = parse_json((folder / OPEN_CLIP).read_bytes())
    towers = Towers.model_validate(raw.get("model_cfg"))
    vision, text = towers.vision_cfg, towers.text_cfg
    act = {"hidden_act": "quick_gelu" if towers.quick_gelu else "gelu", "projection_dim": towers.embed_dim}
    last = text.vocab_size - 1  # open_clip reads a text at its largest token, which is the end's
    return CLIPConfig(
        projection_dim=towers.embed_dim,
        vision_config={
            **act,
            "hidden_size": vision.width,
            "intermediate_size": int(vision.width * vision.mlp_ratio),
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.width // vision.head_width,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
        },
        text_config={
            **act,
            "hidden_size": text.width,
            "intermediate_size": int(text.width * text.mlp_ratio),
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.context_length,
            "vocab_size": text.vocab_size,
            "bos_token_id": last - 1,
            "eos_token_id": last,
            "pad_token_id": last,
        },
    )


def read_clip_preparation(folder: Path) -> dict[str, Any]:
    """Return `mean`, `std`, `interpolation` and `crop_mode` of the CLIP in `folder`, the last as `Blueprint` has it.

    Raises:
        ValueError: The configuration is not that of a CLIP.
        Exception: transformers cannot read it, and raises an error of its own.
    """
    if clip_files(folder) == (OPEN_CLIP,):
        found: dict[str, Any] = parse_json((folder / OPEN_CLIP).read_bytes())
        read = Preprocess.model_validate(found.get("preprocess_cfg") or {}).model_dump()
        modes = {"shortest": "center", "longest": "border", "squash": "squash"}
        return {**read, "crop_mode": modes[read.pop("resize_mode")]}
    processor: Any = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    names = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
    interpolation = names.get(int(processor.resample), "another")
    by_sides = processor.do_resize and not processor.size.get("shortest_edge")
    mode = {"crop_mode": "squash" if by_sides else "center"}
    return {"mean": processor.image_mean, "std": processor.image_std, "interpolation": interpolation, **mode}


def load_clip_network(folder: Path) -> ClipNetwork:
    """Load the CLIP in `folder` in float32, of which no tensor may be missing: transformers would draw it at random.

    Nothing is fetched or unpickled.

    Raises:
        ValueError: The weights are missing or do not fit the configuration, or that is not one of a CLIP.
        Exception: transformers cannot read them, and raises an error of its own.
    """
    if not any(path for pattern in clip_weights(folder) for path in folder.glob(pattern)):
        raise ValueError("its weights are missing: save them as safetensors, since nothing is unpickled")
    with bounded():
        if clip_files(folder) == (OPEN_CLIP,):
            return _load_open_clip(folder)
        return _load_transformers(folder)


def _load_transformers(folder: Path) -> ClipNetwork:
    with _without_progress_bar():
        has_text = isinstance(read_clip_config(folder), CLIPConfig)
        how: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
        how["attn_implementation"] = "sdpa"  # a configuration could name code on the hub
        kind = CLIPModel if has_text else CLIPVisionModelWithProjection
        try:
            loaded: Any = kind.from_pretrained(folder, **how, output_loading_info=True)
        except RuntimeError as error:
            if "mismatched" in str(error):  # which points to a table in the log
                raise ValueError("its weights have other shapes than its config.json says") from error
            raise
    model: ClipNetwork = loaded[0]
    found: dict[str, Any] = loaded[1]
    unused = () if has_text else ("visual_projection.weight",)  # a tower may be saved without it
    for which in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        keys = sorted(str(key) for key in found[which] if not str(key).endswith("position_ids") and key not in unused)
        if keys:
            raise ValueError(f"its weights do not fit its config.json: {which.replace('_', ' ')} such as {keys[0]}")
    return model


def _load_open_clip(folder: Path) -> CLIPModel:
    config: Any = read_clip_config(folder)
    model = CLIPModel(config)
    try:
        model.load_state_dict(as_transformers(load_file(folder / OPEN_CLIP_WEIGHTS)))
    except RuntimeError as error:
        raise ValueError(f"its weights do not fit its {OPEN_CLIP}: {' '.join(str(error).split())[:200]}") from error
    return model


def as_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of open_clip's CLIP under the names, and in the shapes, of transformers' CLIPModel."""
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name, tensor = key.removeprefix("text."), value.float()
        if name == "logit_scale":
            found[name] = tensor
        elif name in _PROJECTIONS:
            found[_PROJECTIONS[name]] = tensor.T
        elif name == "attn_mask":  # which follows from the length of texts
            continue
        else:
            tower = "vision_model" if name.startswith("visual.") else "text_model"
            name = name.removeprefix("visual.")
            for pattern, theirs in _NAMES.items():
                name = re.sub(pattern, theirs, name)
            found |= dict(_unpacked(f"{tower}.{name}", tensor))
    return found


def _unpacked(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """One tensor for each of query, key and value, where these are packed."""
    before, packed, kind = name.partition(".in_proj_")
    if not packed:
        yield name, tensor
        return
    for part, which in zip(tensor.chunk(3), "qkv", strict=True):
        yield f"{before}.{which}_proj.{kind}", part


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Hide transformers' bar, which counts tensors, and leave it to others as it was."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
