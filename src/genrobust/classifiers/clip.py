"""CLIP: a folder of transformers' CLIPModel, its tokenizer and its image processor, asked for embeddings and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from genrobust.classifiers.models import batches
from genrobust.core import ImageSet, UserError

_CONFIG, _PROCESSOR, _TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer_config.json"
TEXTS = 256  # encoded at once


@dataclass(frozen=True, slots=True)
class Clip:
    """A CLIP in evaluation mode on `device`. `mean` and `std` are those of its image processor, float32 [3, 1, 1]."""

    name: str
    model: CLIPModel
    tokenizer: CLIPTokenizer
    mean: Tensor
    std: Tensor
    device: torch.device

    @property
    def image_size(self) -> int:
        config: Any = self.model.config.vision_config
        return int(config.image_size)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with to become logits."""
        return float(self.model.logit_scale.detach().exp())


def load_clip(folder: Path, device: torch.device | str = "cpu") -> Clip:
    """The CLIP in `folder`, as transformers' ``save_pretrained`` of model, tokenizer and image processor leaves it.

    Nothing is fetched or unpickled: weights are safetensors. Raises UserError that names what is missing or damaged.
    """
    for name in (_CONFIG, _PROCESSOR, _TOKENIZER):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} is no CLIP folder: {name} is missing; save a CLIPModel, its CLIPTokenizer and its "
                "CLIPImageProcessor there with save_pretrained"
            )
    transformers.utils.logging.disable_progress_bar()  # it counts tensors; the work's own bar counts images
    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"cannot read the CLIP in {folder}: {error}") from error
    mean, std = (
        torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (processor.image_mean, processor.image_std)
    )
    where = torch.device(device)
    return Clip(folder.resolve().name, model.eval().to(where), tokenizer, mean.to(where), std.to(where), where)


@torch.inference_mode()
def clip_embeddings(
    clip: Clip,
    images: ImageSet,
    batch_size: int,
    seen: Callable[[int], None] = lambda count: None,
    crop_pct: float = 1,
    flip: bool = False,
) -> np.ndarray:
    """Unit embeddings float32 [N, D] of `images` in their order; `seen` is told the number of images of each batch.

    Images are resized by their shorter side (bicubic) and cut at the centre, as CLIP's own processor does; `crop_pct`
    is as in `preparing.prepare`. With `flip`, each is the mean of those of an image and its mirror, and shorter than 1.
    Raises UserError for an empty set and for an image that cannot be read.
    """
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: there is nothing to embed")
    found = []
    for batch in batches(images, clip.image_size, batch_size, crop_pct):
        views = [batch, batch.flip(3)] if flip else [batch]
        found.append(torch.stack([_embed(clip, view) for view in views]).mean(dim=0))
        seen(len(batch))
    return torch.cat(found).numpy()


def _embed(clip: Clip, batch: Tensor) -> Tensor:
    pixels = (batch.to(clip.device).float() / 255 - clip.mean) / clip.std
    pooled = clip.model.vision_model(pixel_values=pixels).pooler_output
    return normalize(clip.model.visual_projection(pooled), dim=-1).cpu()


@torch.inference_mode()
def embed_texts(clip: Clip, texts: Sequence[str]) -> np.ndarray:
    """Unit embeddings float32 [N, D] of `texts`; what is longer than the model reads is cut."""
    found = []
    config: Any = clip.model.config.text_config
    longest = int(config.max_position_embeddings)
    for start in range(0, len(texts), TEXTS):
        # padded to one length, so that a text's embedding does not depend on its neighbours
        tokens = clip.tokenizer(
            list(texts[start : start + TEXTS]),
            padding="max_length",
            max_length=longest,
            truncation=True,
            return_tensors="pt",
        ).to(clip.device)
        pooled = clip.model.text_model(**tokens).pooler_output
        found.append(normalize(clip.model.text_projection(pooled), dim=-1).cpu())
    return torch.cat(found).numpy()


def embed_classes(clip: Clip, templates: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Unit embeddings float32 [K, D] of classes: the mean of each class's texts, one a template with ``{}``.

    The zero-shot classifier of Radford et al. 2021.
    """
    return embed_ensembles(clip, [[template.replace("{}", name, 1) for template in templates] for name in names])


def embed_ensembles(clip: Clip, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """Unit embeddings float32 [K, D] of classes: the mean of the texts of each, one or more."""
    embedded = embed_texts(clip, [text for of_class in texts for text in of_class])
    ends = np.cumsum([len(of_class) for of_class in texts])[:-1]
    means = np.stack([part.mean(axis=0) for part in np.split(embedded, ends)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)
