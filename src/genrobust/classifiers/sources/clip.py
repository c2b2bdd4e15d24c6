"""Load CLIPs that transformers saved, and embed images and texts with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from genrobust.classifiers.image_preparation import prepare
from genrobust.classifiers.networks.logits import Feed, require_finite
from genrobust.classifiers.sources.model_folders import clip_interpolation
from genrobust.classifiers.sources.timm_config import data_config
from genrobust.core import ImageSet, check_not_empty, reading, repeatable
from genrobust.store import no_progress

TEXTS = 256  # encoded at once
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clip:
    """A CLIP in evaluation mode on `device`.

    Its image processor resizes by `interpolation`, and normalizes with `mean` and `std`, float32 [3, 1, 1].
    """

    name: str
    model: Any  # CLIPModel, whose attributes torch types as tensors or modules
    tokenizer: CLIPTokenizer
    mean: Tensor
    std: Tensor
    interpolation: str
    device: torch.device

    @property
    def image_size(self) -> int:
        """The side of its images in pixels."""
        return int(self.model.config.vision_config.image_size)

    @property
    def logit_scale(self) -> float:
        """The factor that turns cosines into logits."""
        return float(self.model.logit_scale.detach().exp())


def load_clip(folder: Path, device: torch.device | str = "cpu") -> Clip:
    """Load the CLIP in `folder` that transformers' ``save_pretrained`` wrote, with its tokenizer.

    Nothing is fetched or unpickled: weights are safetensors.
    """
    torch_device = torch.device(device)
    means, deviations, interpolation = read_preparation(folder)
    # transformers raises errors of any type for a foreign configuration.
    with reading(f"the CLIP in {folder}", Exception):
        model = load_network(folder).eval().to(torch_device)  # type: ignore[arg-type]  # transformers' annotations
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    require_finite(model.logit_scale.detach().exp(), f"the CLIP in {folder}", "a scale of logits")
    mean = torch.tensor(means, device=torch_device).view(3, 1, 1)
    std = torch.tensor(deviations, device=torch_device).view(3, 1, 1)
    return Clip(folder.resolve().name, model, tokenizer, mean, std, interpolation, torch_device)


def read_preparation(folder: Path) -> tuple[Any, Any, str]:
    """Return the means, the standard deviations and the interpolation (by Pillow's name) of the CLIP in `folder`."""
    interpolation = clip_interpolation(folder)
    with reading(f"the CLIP in {folder}", Exception):
        processor: Any = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    normalization = data_config(str(folder), {"mean": processor.image_mean, "std": processor.image_std})
    return normalization["mean"], normalization["std"], interpolation


def load_network(folder: Path) -> CLIPModel:
    """Load the weights of the CLIP in `folder`, in float32.

    Raises:
        ValueError: A tensor is missing, superfluous or of another shape.
    """
    transformers.utils.logging.disable_progress_bar()
    model, loading_info = CLIPModel.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        # A configuration could name code on the hub.
        attn_implementation="sdpa",
        # Checked below, with a message that names a tensor.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    # transformers draws missing tensors at random.
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        # A mismatched key comes with the two shapes.
        names = [key[0] if isinstance(key, tuple) else key for key in loading_info[problem]]
        wrong = [name for name in names if not name.endswith("position_ids")]
        if wrong:
            raise ValueError(f"its weights do not fit config.json: {problem.replace('_', ' ')} such as {min(wrong)}")
    return model  # type: ignore[no-any-return]  # transformers is not typed


@repeatable()
@torch.inference_mode()
def clip_embeddings(
    clip: Clip, images: ImageSet, batch_size: int, advance: Callable[[int], None] = no_progress
) -> np.ndarray:
    """Return unit embeddings float32 [N, D] of `images`, resized and cropped as by CLIP's own processor."""
    check_not_empty(images)
    transform = partial(prepare, size=clip.image_size, interpolation=clip.interpolation)
    embedded = []
    for batch in Feed(batch_size, clip.device).batches(images, transform):
        embedded.append(_embed(clip, batch))
        advance(len(batch))
    return torch.cat(embedded).numpy()


def _embed(clip: Clip, batch: Tensor) -> Tensor:
    pixels = (batch.to(clip.device).float() / 255 - clip.mean) / clip.std
    return _unit(clip, clip.model.visual_projection(clip.model.vision_model(pixel_values=pixels).pooler_output))


def _unit(clip: Clip, embeddings: Tensor) -> Tensor:
    """Scale embeddings [B, D] to unit length, on the CPU."""
    return require_finite(normalize(embeddings, dim=-1).cpu(), f"the CLIP {clip.name}", "embeddings")


@torch.inference_mode()
def embed_texts(clip: Clip, texts: Sequence[str]) -> np.ndarray:
    """Return unit embeddings float32 [N, D] of `texts`. Warn about texts that are longer than the model reads."""
    length = int(clip.model.config.text_config.max_position_embeddings)
    tokenized = clip.tokenizer(list(texts), max_length=length + 1, truncation=True)["input_ids"]
    cut = [text for text, ids in zip(texts, tokenized, strict=True) if len(ids) > length]
    if cut:
        log.warning(
            f"the CLIP {clip.name} reads {length} tokens of a text: {len(cut):,} of {len(texts):,} are cut, such as "
            f"{cut[0]!r}. Texts that differ only after that are the same to it"
        )
    embedded = []
    for start in range(0, len(texts), TEXTS):
        # Pad to one length, so that the embedding of a text does not depend on its neighbors.
        tokens = clip.tokenizer(
            list(texts[start : start + TEXTS]),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).to(clip.device)
        embedded.append(_unit(clip, clip.model.text_projection(clip.model.text_model(**tokens).pooler_output)))
    return torch.cat(embedded).numpy()


def embed_ensembles(clip: Clip, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """Return unit embeddings float32 [K, D] of classes, each the mean over its texts (Radford et al., 2021)."""
    flat = [text for class_texts in texts for text in class_texts]
    ends = np.cumsum([len(class_texts) for class_texts in texts])
    by_class = np.split(embed_texts(clip, flat), ends[:-1])
    means = np.stack([part.mean(axis=0) for part in by_class])
    return means / np.linalg.norm(means, axis=1, keepdims=True)
