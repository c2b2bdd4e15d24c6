"""The step that shows the images of all sources to a CLIP, for the metrics of image quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from genrobust.classifiers import hash_clip, require_clip
from genrobust.core import SourceQuality, Subset, digest, fair_order, prefix, resolve_device
from genrobust.recipe import QualityConfig
from genrobust.store import fetch_artifacts
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item, MakeItems
from genrobust.study.steps.embeddings import CLASS_NAMES, FOLDER, Embeddings
from genrobust.study.steps.images import ImageStep
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class Describe(Step):
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

    @cached_property
    def _clip(self) -> Path:
        return require_clip(self.config.clip, "quality.clip")

    def needs(self) -> tuple[Step, ...]:
        return tuple(self.sources.values())

    def _are_made(self) -> bool:
        return all(source.is_made() for source in self.sources.values())

    def artifacts(self) -> list[Path]:
        # Their names depend on the images.
        return [self._embeddings(key).folder for key in self._embedded] if self._are_made() else []

    def fetch(self) -> None:
        fetch_artifacts(self.folder)

    def items(self) -> list[Item]:
        if self._are_made():
            return [self._item(key, len(shown), self._embeddings(key)) for key, shown in self._embedded.items()]
        most = self.config.per_class * len(self.context.data.labels)
        return [
            self._item(name, min(most, int(source.class_counts.sum())), None) for name, source in self.sources.items()
        ]

    def _item(self, key: str, total: int, embeddings: Embeddings | None) -> Item:
        is_made = embeddings is not None and embeddings.are_made
        return Item(key=key, name=f"the CLIP's view of {key}", size=0 if is_made else total, row=key, total=total)

    @cached_property
    def _embedded(self) -> dict[str, Subset | list[list[str]]]:
        """The input of the CLIP, once all sources are made: their first images, and the texts of the classes."""
        shown: dict[str, Subset | list[list[str]]] = {}
        for name, source in self.sources.items():
            images = source.open()
            shown[name] = Subset(images, prefix(images, self.config.per_class))
        shown[CLASS_NAMES] = self.context.class_texts
        return shown

    def _embeddings(self, key: str) -> Embeddings:
        shown = self._embedded[key]
        clip = hash_clip(self._clip)
        if isinstance(shown, Subset):
            return Embeddings(self.folder, key, {"clip": clip, "images": shown.fingerprint})
        return Embeddings(self.folder, "class names", {"clip": clip, "texts": digest(shown)})

    def load(self) -> MakeItems:
        from genrobust.classifiers import load_clip

        recipe = self.context.recipe
        clip = load_clip(self._clip, resolve_device(recipe.device))

        def embed(keys: Sequence[str]) -> None:
            for key in keys:
                self._embeddings(key).make(clip, self._embedded[key], recipe.evaluate.batch_size)

        return embed

    def cost(self, item: Item) -> Cost:
        """Return the cost of an image. The names of the classes are few, so they cost nothing."""
        return Cost(int(item.key != CLASS_NAMES), of=f"CLIP {self.config.clip}")

    def measure(self) -> tuple[SourceQuality, ...]:
        """Measure the quality of the sources, once all of them are embedded."""
        from genrobust.data import SourceEmbeddings, qualities

        fetch_artifacts(self.folder)
        sources: dict[str, SourceEmbeddings] = {}
        for name, source in self.sources.items():
            first = self._embedded[name]
            assert isinstance(first, Subset)
            # They are embedded in the order of their files, and compared in fair samples.
            order = fair_order(first)
            embeddings = self._embeddings(name).load()[order]
            sources[name] = SourceEmbeddings(embeddings, first.labels[order], len(source.open()))
        return qualities(sources, self._embeddings(CLASS_NAMES).load())
