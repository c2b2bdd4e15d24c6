"""The qualities of a study's sources: embeddings of a CLIP, computed once and kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from genrobust.classifiers import hash_clip
from genrobust.core import (
    ImageSet,
    SourceQuality,
    Subset,
    digest,
    fair_order,
    fetch_artifacts,
    find_clip,
    prefix,
    progress_bar,
    resolve_device,
)
from genrobust.recipe import QualityConfig
from genrobust.study.stages.embeddings import CLASS_NAMES, FOLDER, Embeddings


class Qualities:
    """The CLIP embeddings of `sources`, which include the real training images, and of `texts`, each class's in order.

    They are kept under ``out/embeddings``, so a source is embedded once; `batch_size` images at once change figures by
    rounding alone.
    """

    def __init__(
        self,
        config: QualityConfig,
        sources: Mapping[str, ImageSet],
        texts: Sequence[Sequence[str]],
        out: Path,
        device: str,
        batch_size: int,
    ) -> None:
        self._clip, self._texts, self._sources = find_clip(config.clip), texts, sources
        self._device, self._batch_size = device, batch_size
        self._first = {n: Subset(images, prefix(images, config.per_class)) for n, images in sources.items()}
        clip, self._room = hash_clip(self._clip), out / FOLDER
        self._embeddings = {
            name: Embeddings(self._room, name, {"clip": clip, "images": first.fingerprint})
            for name, first in self._first.items()
        }
        self._embeddings[CLASS_NAMES] = Embeddings(self._room, "class names", {"clip": clip, "texts": digest(texts)})

    def totals(self) -> dict[str, int]:
        """Count the images of each source that are embedded, and under CLASS_NAMES the classes."""
        return {**{name: len(first) for name, first in self._first.items()}, CLASS_NAMES: len(self._texts)}

    def missing(self) -> dict[str, int]:
        """Return those of `totals` that have no embeddings yet."""
        fetch_artifacts(self._room)
        return {name: count for name, count in self.totals().items() if not self._embeddings[name].are_made}

    def embed(self, sources: Sequence[str]) -> None:
        """Embed these sources, and the classes for CLASS_NAMES.

        Raises:
            UserError: A file of the CLIP is missing or damaged, or an image cannot be read.
        """
        from genrobust.classifiers import clip_embeddings, embed_ensembles, load_clip

        clip = load_clip(self._clip, resolve_device(self._device))
        for name in sources:
            if name == CLASS_NAMES:
                self._embeddings[name].save(embed_ensembles(clip, self._texts))
                continue
            with progress_bar(f"CLIP, {name}", len(self._first[name])) as bar:
                embeddings = clip_embeddings(clip, self._first[name], self._batch_size, bar.advance)
            self._embeddings[name].save(embeddings)

    def measured(self) -> tuple[SourceQuality, ...]:
        """Measure the sources, once all of them are embedded."""
        from genrobust.audit import SourceEmbeddings, qualities

        fetch_artifacts(self._room)
        embeddings = {}
        for name, first in self._first.items():
            order = fair_order(first)  # they are embedded as they are stored, and compared in samples of the first
            embeddings[name] = SourceEmbeddings(
                self._embeddings[name].load()[order], first.labels[order], len(self._sources[name])
            )
        return qualities(embeddings, self._embeddings[CLASS_NAMES].load())
