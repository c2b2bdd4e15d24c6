"""CLIP, with its tokenizer and the preparation of its images, for embeddings and scores."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from genrobust.classifiers.sources.clip_files import CONFIG, KINDS, OPEN_CLIP, clip_files, clip_weights
from genrobust.classifiers.networks.logits import Feed, require_finite
from genrobust.classifiers.preprocess import prepare
from genrobust.classifiers.sources.timm_config import data_config
from genrobust.core import (
    PUBLISHED_CLIP,
    ImageSet,
    MissingPackage,
    UserError,
    check_not_empty,
    no_progress,
    parse_json,
    reading,
    repeatable,
)

TEXTS = 256  # encoded at once
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # open_clip's defaults
# What open_clip's plain transformers are described by. Other keys name other networks, on the hub too.
_MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"}
_VISION = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A CLIP in evaluation mode on `device`, which transformers or open_clip has loaded.

    Attributes:
        model: The network.
        encode_images: Turns prepared images, float32 [B, 3, H, W], into embeddings [B, D] of any length.
        encode_texts: Turns tokens [B, `context`] into embeddings [B, D] of any length.
        mean, std: Of its image processor, float32 [3, 1, 1].
    """

    name: str
    model: nn.Module
    encode_images: Callable[[Tensor], Tensor]
    encode_texts: Callable[[Any], Tensor]
    tokenizer: CLIPTokenizer
    context: int
    image_size: int
    mean: Tensor
    std: Tensor
    device: torch.device

    @property
    def logit_scale(self) -> float:
        """The factor that turns cosines into logits."""
        scale: Any = self.model.logit_scale  # torch types every attribute as a tensor or a module
        return float(scale.detach().exp())


class ZeroShot(nn.Module):
    """The zero-shot classifier of Radford et al. 2021: uint8 images [B, 3, H, W] to logits [B, K].

    `texts` are one or more for each of the K classes.
    """

    def __init__(self, clip: Clip, texts: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self._clip, self._classes = clip, torch.from_numpy(embed_ensembles(clip, texts))

    def forward(self, images: Tensor) -> Tensor:
        return self._clip.logit_scale * _embed(self._clip, images) @ self._classes.T


def load_clip(folder: Path, device: torch.device | str = "cpu") -> Clip:
    """Load the CLIP in `folder` that transformers' ``save_pretrained`` wrote, or open_clip, with its tokenizer.

    Nothing is fetched or unpickled: weights are safetensors.

    Raises:
        MissingPackage: It is in open_clip's format, and open_clip is not installed.
        UserError: A file is missing or damaged, there is no text tower, or the scale of the logits is not finite;
            the message names it.
    """
    for name in (*(clip_files(folder) or (CONFIG, "preprocessor_config.json")), "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} is no CLIP folder: {name if folder.is_dir() else 'the folder'} is missing; fetch one, "
                f"for example with hf download {PUBLISHED_CLIP} --local-dir {shlex.quote(str(folder))}, or save a "
                "CLIPModel, its CLIPTokenizer and its CLIPImageProcessor there with save_pretrained"
            )
    torch_device = torch.device(device)
    with reading(f"the CLIP in {folder}", Exception):  # its configuration may be a stranger's
        load = _load_open_clip if clip_files(folder) == (OPEN_CLIP,) else _load_transformers
        model, encode_images, encode_texts, context = load(folder)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        vision, preparation = read_clip_vision(folder)[0], read_clip_preparation(folder)
    normalization = data_config(str(folder), {key: preparation[key] for key in ("mean", "std")})
    scale: Any = model.logit_scale
    require_finite(scale.detach().exp(), f"the CLIP in {folder}", "a scale of logits")
    mean, std = (torch.tensor(normalization[key], device=torch_device).view(3, 1, 1) for key in ("mean", "std"))
    model.eval().to(torch_device)
    size: Any = vision.image_size
    name = folder.resolve().name
    return Clip(name, model, encode_images, encode_texts, tokenizer, context, int(size), mean, std, torch_device)


Loaded = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Any], Tensor], int]


def _load_open_clip(folder: Path) -> Loaded:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise MissingPackage("open_clip_torch", "clip", f"the CLIP in {folder}, in open_clip's format,") from error
    read_open_clip(folder)
    model: Any = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
    return model, model.encode_image, lambda tokens: model.encode_text(tokens.input_ids), model.context_length


def _load_transformers(folder: Path) -> Loaded:
    model = load_clip_network(folder)
    if not isinstance(model, CLIPModel):
        raise ValueError("it has no text tower")
    text: Any = model.config.text_config

    def encode_images(pixels: Tensor) -> Tensor:
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

    def encode_texts(tokens: Any) -> Tensor:
        return model.text_projection(model.text_model(**tokens).pooler_output)

    return model, encode_images, encode_texts, int(text.max_position_embeddings)


def load_clip_network(folder: Path) -> CLIPModel | CLIPVisionModelWithProjection:
    """Load a CLIP in transformers' format in float32, of which no tensor may be missing: it would be drawn at random.

    Raises:
        ValueError: The weights are missing or do not fit the configuration.
        Exception: transformers cannot read them, and raises an error of its own.
    """
    check_clip_weights(folder)
    transformers.utils.logging.disable_progress_bar()  # which counts tensors
    has_text = read_clip_vision(folder)[1] is not None
    arguments: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
    arguments["attn_implementation"] = "sdpa"  # a configuration could name code on the hub
    arguments["ignore_mismatched_sizes"] = True  # they are named below, where transformers would name a report
    kind: Any = CLIPModel if has_text else CLIPVisionModelWithProjection  # whose result follows from its arguments
    model, loading_info = kind.from_pretrained(folder, **arguments, output_loading_info=True)
    unused = () if has_text else ("visual_projection.weight",)  # a tower may be saved without it
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        names = (str(key[0] if isinstance(key, tuple) else key) for key in loading_info[problem])
        keys = sorted(name for name in names if not name.endswith("position_ids") and name not in unused)
        if keys:
            raise ValueError(f"its weights do not fit its config.json: {problem.replace('_', ' ')} such as {keys[0]}")
    return model  # type: ignore[no-any-return]  # transformers is not typed


def check_clip_weights(folder: Path) -> None:
    """Raise ValueError where `folder` holds no safetensors of its CLIP."""
    if not any(path for pattern in clip_weights(folder) for path in folder.glob(pattern)):
        raise ValueError("its weights are missing: save them as safetensors, since nothing is unpickled")


def read_open_clip(folder: Path) -> dict[str, Any]:
    """Return the configuration of the CLIP in `folder`, of plain transformers, as open_clip saved it.

    Raises:
        ValueError: It has another network, whose parts may come from elsewhere and bring code.
    """
    config: dict[str, Any] = parse_json((folder / OPEN_CLIP).read_bytes())
    model = config["model_cfg"]
    for part, known in ((model, _MODEL), (model["vision_cfg"], _VISION), (model["text_cfg"], _TEXT)):
        if other := sorted(set(part) - known):
            raise ValueError(f"its {OPEN_CLIP} names {other[0]}: genrobust reads plain transformers alone")
    check_clip_weights(folder)
    return config


def read_clip_vision(folder: Path) -> tuple[CLIPVisionConfig, int | None]:
    """Return the configuration of the image tower, and the width of the embeddings, None without a text tower.

    Raises:
        ValueError: The configuration is not that of a CLIP.
        Exception: transformers cannot read it, and raises an error of its own.
    """
    if clip_files(folder) != (OPEN_CLIP,):
        raw: dict[str, Any] = parse_json((folder / CONFIG).read_bytes())
        if raw.get("model_type") == KINDS[1]:
            return CLIPVisionConfig.from_dict(raw), None
        clip_config: Any = transformers.CLIPConfig.from_dict(raw)
        return clip_config.vision_config, clip_config.projection_dim
    model = read_open_clip(folder)["model_cfg"]
    vision = model["vision_cfg"]
    config = CLIPVisionConfig(
        hidden_act="quick_gelu" if model.get("quick_gelu") else "gelu",
        hidden_size=vision["width"],
        intermediate_size=int(vision["width"] * vision.get("mlp_ratio", 4.0)),
        num_hidden_layers=vision["layers"],
        num_attention_heads=vision["width"] // vision.get("head_width", 64),
        image_size=vision["image_size"],
        patch_size=vision["patch_size"],
    )
    return config, model["embed_dim"]


def read_clip_preparation(folder: Path) -> dict[str, Any]:
    """Return `mean`, `std`, `interpolation` and `crop_mode` of the CLIP in `folder`, the last as `Blueprint` has it.

    Raises:
        Exception: transformers cannot read it, and raises an error of its own.
    """
    if clip_files(folder) == (OPEN_CLIP,):
        preparation: dict[str, Any] = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
        preparation |= read_open_clip(folder).get("preprocess_cfg") or {}
        modes = {"shortest": "center", "longest": "border", "squash": "squash"}
        preparation["crop_mode"] = modes[preparation["resize_mode"]]
        return {key: preparation[key] for key in ("mean", "std", "interpolation", "crop_mode")}
    processor: Any = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    names = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
    interpolation = names.get(int(processor.resample), "another")
    by_sides = processor.do_resize and not processor.size.get("shortest_edge")
    mode = {"crop_mode": "squash" if by_sides else "center"}
    return {"mean": processor.image_mean, "std": processor.image_std, "interpolation": interpolation, **mode}


@repeatable()
@torch.inference_mode()
def clip_embeddings(
    clip: Clip, images: ImageSet, batch_size: int, advance: Callable[[int], None] = no_progress
) -> np.ndarray:
    """Return unit embeddings float32 [N, D] of `images` in their order.

    Images are resized by their shorter side (bicubic) and cut at the center, as CLIP's own processor does.

    Args:
        advance: Called with the number of images of each batch.

    Raises:
        UserError: An empty set, or an image that cannot be read.
    """
    check_not_empty(images)
    embedded = []
    for batch in Feed(batch_size, clip.device).batches(images, partial(prepare, size=clip.image_size)):
        embedded.append(_embed(clip, batch))
        advance(len(batch))
    return torch.cat(embedded).numpy()


def _embed(clip: Clip, batch: Tensor) -> Tensor:
    pixels = (batch.to(clip.device).float() / 255 - clip.mean) / clip.std
    return require_finite(normalize(clip.encode_images(pixels), dim=-1).cpu(), f"the CLIP {clip.name}", "embeddings")


@torch.inference_mode()
def embed_texts(clip: Clip, texts: Sequence[str]) -> np.ndarray:
    """Return unit embeddings float32 [N, D] of `texts`; what is longer than the model reads is cut."""
    embedded = []
    for start in range(0, len(texts), TEXTS):
        # padded to one length, so that a text's embedding does not depend on its neighbors
        tokens = clip.tokenizer(
            list(texts[start : start + TEXTS]),
            padding="max_length",
            max_length=clip.context,
            truncation=True,
            return_tensors="pt",
        ).to(clip.device)
        embeddings = normalize(clip.encode_texts(tokens), dim=-1).cpu()
        embedded.append(require_finite(embeddings, f"the CLIP {clip.name}", "embeddings"))
    return torch.cat(embedded).numpy()


def embed_classes(clip: Clip, templates: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return unit embeddings float32 [K, D] of classes: the mean of each class's texts, one a template with ``{}``.

    The zero-shot classifier of Radford et al. 2021.
    """
    return embed_ensembles(clip, [[template.replace("{}", name, 1) for template in templates] for name in names])


def embed_ensembles(clip: Clip, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """Return unit embeddings float32 [K, D] of classes: the mean of the texts of each, one or more."""
    embedded = embed_texts(clip, [text for of_class in texts for text in of_class])
    return unit_means(split_by_class(embedded, texts))


def split_by_class(embedded: np.ndarray, texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Split the embeddings of all `texts`, [N, D], by class: an array [T, D] for each."""
    return np.split(embedded, np.cumsum([len(of_class) for of_class in texts])[:-1])


def unit_means(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the means of K arrays [T, D] of embeddings, scaled to length one: [K, D]."""
    means = np.stack([part.mean(axis=0) for part in parts])
    return means / np.linalg.norm(means, axis=1, keepdims=True)
