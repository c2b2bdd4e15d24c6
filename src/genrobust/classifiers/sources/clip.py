"""CLIP, with its tokenizer and the preparation of its images, for embeddings and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import CLIPTokenizer

from genrobust.classifiers.networks.logits import Feed, require_finite
from genrobust.classifiers.preprocess import prepare
from genrobust.classifiers.sources.clip_folder import TransformersClip, find_clip_folder
from genrobust.classifiers.sources.timm_config import data_config
from genrobust.core import (
    ImageSet,
    check_not_empty,
    no_progress,
    reading,
    repeatable,
)

TEXTS = 256  # encoded at once


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
    context: int
    tokenizer: CLIPTokenizer
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
    files = find_clip_folder(folder) or TransformersClip(folder)
    files.require_files()
    torch_device = torch.device(device)
    with reading(f"the CLIP in {folder}", Exception):  # its configuration may be a stranger's
        model, encode_images, encode_texts, context = files.load()
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        size: Any = files.vision()[0].image_size
        preparation = files.preparation()
    normalization = data_config(str(folder), {key: preparation[key] for key in ("mean", "std")})
    scale: Any = model.logit_scale
    require_finite(scale.detach().exp(), f"the CLIP in {folder}", "a scale of logits")
    mean, std = (torch.tensor(normalization[key], device=torch_device).view(3, 1, 1) for key in ("mean", "std"))
    model.eval().to(torch_device)
    name = folder.resolve().name
    return Clip(name, model, encode_images, encode_texts, context, tokenizer, int(size), mean, std, torch_device)


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
    by_class = np.split(embedded, np.cumsum([len(of_class) for of_class in texts])[:-1])
    means = np.stack([part.mean(axis=0) for part in by_class])
    return means / np.linalg.norm(means, axis=1, keepdims=True)
