"""The step that shows the images of all sources to a CLIP, for the metrics of image quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from genrobust.classifiers import hash_clip, require_clip
from genrobust.core import SourceQuality, Subset, fair_order, prefix
from genrobust.recipe import QualityConfig
from genrobust.store import fetch_artifacts
from genrobust.study.executors.work import Item
from genrobust.study.steps.embeddings import CLASS_NAMES, FOLDER, Embeddings, EmbeddingStep
from genrobust.study.steps.images import ImageStep
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class Describe(EmbeddingStep):
    """Embeds the images of `sources`, by name, and the names of the classes, with the CLIP of the section quality.

    The embeddings are kept under ``out/embeddings``, so a source is embedded once.
    """

    title = "CLIP"
    stage = "describe"

    sources: Mapping[str, ImageStep]
    config: QualityConfig

    def __post_init__(self) -> None:
        require_clip(self.config.clip, "quality.clip")

    @property
    def key(self) -> object:
        return tuple(self.sources)

    @property
    def folder(self) -> Path:
        return self.context.out / FOLDER

    @property
    def row(self) -> str:
        return "images"

    @property
    def clip_name(self) -> str:
        return self.config.clip

    @cached_property
    def clip(self) -> Path:
        return require_clip(self.config.clip, "quality.clip")

    def needs(self) -> tuple[Step, ...]:
        return tuple(self.sources.values())

    def _are_made(self) -> bool:
        return all(source.is_made() for source in self.sources.values())

    def artifacts(self) -> list[Path]:
        # Their names depend on the images.
        if not self._are_made():
            return []
        return [self.embeddings(key).folder for key in self._keys]

    def fetch(self) -> None:
        fetch_artifacts(self.folder)

    def items(self) -> list[Item]:
        items: list[Item] = []
        if not self._are_made():
            most = self.config.per_class * len(self.context.data.labels)
            for name, source in self.sources.items():
                total = min(most, int(source.class_counts.sum()))
                items.append(Item(name, self.item_name(name), total, row=name, total=total))
            return items
        for key in self._keys:
            total = len(self.context.class_texts if key == CLASS_NAMES else self.shown(key))
            size = 0 if self.embeddings(key).are_made else total
            items.append(Item(key, self.item_name(key), size, row=key, total=total))
        return items

    @property
    def _keys(self) -> list[str]:
        return [*self.sources, CLASS_NAMES]

    def embeddings(self, key: str) -> Embeddings:
        if key == CLASS_NAMES:
            return self.embeddings_of_classes()
        return Embeddings(self.folder, key, {"clip": hash_clip(self.clip), "images": self.shown(key).fingerprint})

    def shown(self, key: str) -> Subset:
        return self._shown[key]

    @cached_property
    def _shown(self) -> dict[str, Subset]:
        """The first images of each source, once all are made."""
        shown: dict[str, Subset] = {}
        for name, source in self.sources.items():
            images = source.open()
            shown[name] = Subset(images, prefix(images, self.config.per_class))
        return shown

    def measure(self) -> tuple[SourceQuality, ...]:
        """Measure the quality of the sources, once all of them are embedded."""
        from genrobust.data import SourceEmbeddings, qualities

        fetch_artifacts(self.folder)
        sources: dict[str, SourceEmbeddings] = {}
        for name, source in self.sources.items():
            first = self.shown(name)
            # They are embedded in the order of their files, and compared in fair samples.
            order = fair_order(first)
            embeddings = self.embeddings(name).load()[order]
            sources[name] = SourceEmbeddings(embeddings, first.labels[order], len(source.open()))
        return qualities(sources, self.embeddings(CLASS_NAMES).load())
