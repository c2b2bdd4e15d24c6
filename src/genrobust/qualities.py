"""What the sources of a study are like: their images shown to a CLIP once, and the answers kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genrobust.audit.diversity import first_of_each_class
from genrobust.audit.quality import Seen, qualities
from genrobust.clip import Clip, embed_ensembles, embed_images, load_clip
from genrobust.config import QualityConfig
from genrobust.data import ImageSet, SourceQuality, Subset, digest
from genrobust.devices import resolve_device
from genrobust.embedded import find_clip
from genrobust.files import lock, make_folder, remove_leftovers, replacing
from genrobust.hashing import hash_folder
from genrobust.progress import progress_bar

BATCH = 256  # images shown at once; no figure depends on it beyond rounding


def measure_qualities(
    config: QualityConfig, sources: Mapping[str, ImageSet], texts: Sequence[Sequence[str]], out: Path, device: str
) -> tuple[SourceQuality, ...]:
    """The qualities of `sources`, which include the real training images; `texts` are each class's, in order.

    Embeddings are kept under ``out/embeddings``, so a source is shown to a CLIP once. Raises UserError as `find_clip`
    and `load_clip` do, and for images that cannot be read.
    """
    folder = find_clip(config.clip)
    weights = hash_folder(folder)
    clip = load_clip(folder, resolve_device(device))
    seen = {}
    for name, images in sources.items():
        counts = dict.fromkeys(range(len(texts)), config.per_class)
        first = Subset(images, first_of_each_class(images.labels, counts))
        file = out / "embeddings" / f"{digest([weights, first.fingerprint])}.npy"
        seen[name] = Seen(_embedded(clip, first, name, file), first.labels, len(images))
    return qualities(seen, embed_ensembles(clip, texts))


def _embedded(clip: Clip, images: ImageSet, name: str, file: Path) -> np.ndarray:
    """The images' embeddings from `file`, where they are written after the first time."""
    if file.exists():
        try:
            kept: np.ndarray = np.load(file, allow_pickle=False)
        except (OSError, ValueError):
            kept = np.empty(0)  # damaged: shown again
        if len(kept) == len(images):
            return kept
    with progress_bar(f"CLIP, {name}", len(images)) as bar:
        found = embed_images(clip, images, BATCH, bar.advance)
    make_folder(file.parent)
    with lock(file.parent, wait=True):
        remove_leftovers(file.parent)
        with replacing(file) as stream:
            np.save(stream, found, allow_pickle=False)
    return found
