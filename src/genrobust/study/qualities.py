"""What the sources of a study are like: their images shown to a CLIP once, and the answers kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genrobust.audit import Seen, first_of_each_class, qualities
from genrobust.classifiers import clip_embeddings, embed_ensembles, load_clip
from genrobust.core import (
    ImageSet,
    SourceQuality,
    Subset,
    digest,
    fetch,
    find_clip,
    hash_folder,
    lock,
    make_folder,
    progress_bar,
    remove_leftovers,
    replacing,
    resolve_device,
)
from genrobust.recipe import QualityConfig

CLASS_NAMES = "the class names"
BATCH = 256  # images shown at once; no figure depends on it beyond rounding


class Qualities:
    """What a CLIP sees in `sources`, which include the real training images; `texts` are each class's, in order.

    Embeddings are kept under ``out/embeddings``, so a source is shown to a CLIP once. Raises UserError as `find_clip`
    does.
    """

    def __init__(
        self,
        config: QualityConfig,
        sources: Mapping[str, ImageSet],
        texts: Sequence[Sequence[str]],
        out: Path,
        device: str,
    ) -> None:
        self._clip, self._texts, self._device, self._sources = find_clip(config.clip), texts, device, sources
        counts = dict.fromkeys(range(len(texts)), config.per_class)
        self._first = {n: Subset(images, first_of_each_class(images.labels, counts)) for n, images in sources.items()}
        weights, folder = hash_folder(self._clip), out / "embeddings"
        self._file = {n: folder / f"{digest([weights, first.fingerprint])}.npy" for n, first in self._first.items()}
        self._of_texts = folder / f"{digest([weights, texts])}.npy"

    def totals(self) -> dict[str, int]:
        """How many images of each source the CLIP is shown, and under CLASS_NAMES how many classes it reads."""
        return {**{name: len(first) for name, first in self._first.items()}, CLASS_NAMES: len(self._texts)}

    def missing(self) -> dict[str, int]:
        """Those of `totals` that it has not seen or read yet."""
        self._fetch()
        seen = {name: _kept(self._file[name], first) for name, first in self._first.items()}
        seen[CLASS_NAMES] = _kept(self._of_texts, self._texts)
        return {name: count for name, count in self.totals().items() if seen[name] is None}

    def _fetch(self) -> None:
        fetch(self._of_texts.parent, *(file.name for file in (*self._file.values(), self._of_texts)))

    def embed(self, sources: Sequence[str]) -> None:
        """Show the CLIP these sources, or the classes for CLASS_NAMES; raises UserError as `load_clip` does."""
        clip = load_clip(self._clip, resolve_device(self._device))
        for name in sources:
            if name == CLASS_NAMES:
                _keep(self._of_texts, embed_ensembles(clip, self._texts))
            else:
                with progress_bar(f"CLIP, {name}", len(self._first[name])) as bar:
                    _keep(self._file[name], clip_embeddings(clip, self._first[name], BATCH, bar.advance))

    def measured(self) -> tuple[SourceQuality, ...]:
        """The qualities of the sources, once all of them are embedded."""
        self._fetch()
        classes = np.load(self._of_texts, allow_pickle=False)
        seen = {
            name: Seen(np.load(self._file[name], allow_pickle=False), first.labels, len(self._sources[name]))
            for name, first in self._first.items()
        }
        return qualities(seen, classes)


def _kept(file: Path, of: ImageSet | Sequence[Sequence[str]]) -> np.ndarray | None:
    """The embeddings in `file`; None where it is not there, damaged, or not of as many."""
    try:
        found: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found if len(found) == len(of) else None


def _keep(file: Path, found: np.ndarray) -> None:
    make_folder(file.parent)
    with lock(file.parent, wait=True):
        remove_leftovers(file.parent)
        with replacing(file) as stream:
            np.save(stream, found, allow_pickle=False)
