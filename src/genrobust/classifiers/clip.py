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
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import CLIPModel, CLIPTokenizer

from genrobust.classifiers.clip_files import CONFIG, clip_files
from genrobust.classifiers.clip_format import load_clip_network, read_clip_preparation
from genrobust.classifiers.logits import fed, finite
from genrobust.classifiers.preprocess import prepare
from genrobust.classifiers.timm_config import data_config
from genrobust.core import PUBLISHED_CLIP, ImageSet, UserError, reading, repeatable

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
        """The factor that turns cosines into logits."""
        return float(self.model.logit_scale.detach().exp())


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
    where = torch.device(device)
    with reading(f"the CLIP in {folder}", Exception):  # its configuration may be a stranger's
        model = load_clip_network(folder)
        if not isinstance(model, CLIPModel):
            raise ValueError("it has no text tower")
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        preparation = read_clip_preparation(folder)
    known = data_config(str(folder), {key: preparation[key] for key in ("mean", "std")})
    finite(model.logit_scale.detach().exp(), f"the CLIP in {folder}", "a scale of logits")
    mean, std = (torch.tensor(known[key], device=where).view(3, 1, 1) for key in ("mean", "std"))
    return Clip(folder.resolve().name, model.eval().to(where), tokenizer, mean, std, where)


@repeatable()
@torch.inference_mode()
def clip_embeddings(
    clip: Clip, images: ImageSet, batch_size: int, seen: Callable[[int], None] = lambda count: None
) -> np.ndarray:
    """Return unit embeddings float32 [N, D] of `images` in their order.

    Images are resized by their shorter side (bicubic) and cut at the center, as CLIP's own processor does.

    Args:
        seen: Called with the number of images of each batch.

    Raises:
        UserError: An empty set, or an image that cannot be read.
    """
    embedded = []
    for batch in fed(images, partial(prepare, size=clip.image_size), batch_size, clip.device):
        embedded.append(_embed(clip, batch))
        seen(len(batch))
    return torch.cat(embedded).numpy()


def _embed(clip: Clip, batch: Tensor) -> Tensor:
    pixels = (batch.to(clip.device).float() / 255 - clip.mean) / clip.std
    pooled = clip.model.vision_model(pixel_values=pixels).pooler_output
    return finite(normalize(clip.model.visual_projection(pooled), dim=-1).cpu(), f"the CLIP {clip.name}", "embeddings")


@torch.inference_mode()
def embed_texts(clip: Clip, texts: Sequence[str]) -> np.ndarray:
    """Return unit embeddings float32 [N, D] of `texts`; what is longer than the model reads is cut."""
    embedded = []
    config: Any = clip.model.config.text_config
    longest = int(config.max_position_embeddings)
    for start in range(0, len(texts), TEXTS):
        # padded to one length, so that a text's embedding does not depend on its neighbors
        tokens = clip.tokenizer(
            list(texts[start : start + TEXTS]),
            padding="max_length",
            max_length=longest,
            truncation=True,
            return_tensors="pt",
        ).to(clip.device)
        pooled = clip.model.text_model(**tokens).pooler_output
        found = normalize(clip.model.text_projection(pooled), dim=-1).cpu()
        embedded.append(finite(found, f"the CLIP {clip.name}", "embeddings"))
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
