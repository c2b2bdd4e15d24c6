"""The stage that shows the sources of a study to a CLIP, for the metrics of what their images are like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from genrobust.classifiers import hash_clip, require_clip
from genrobust.core import (
    SourceQuality,
    Subset,
    digest,
    fair_order,
    fetch_artifacts,
    prefix,
    resolve_device,
)
from genrobust.recipe import QualityConfig
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.embeddings import CLASS_NAMES, FOLDER, Embeddings
from genrobust.study.sources.images import Images
from genrobust.study.stages.stage import Stage


class Describe(Stage):
    """Embeds the images of the sources `names`, and the names of the classes, with the CLIP of the section quality.

    The embeddings are kept under ``out/embeddings``, so a source is embedded once.
    """

    name = "describe"
    title = "CLIP"

    def __init__(
        self, images: Images, names: Sequence[str], config: QualityConfig, needs: Sequence[Stage] = ()
    ) -> None:
        super().__init__(images.context, needs)
        self.images, self.names, self.config = images, names, config
        self._clip = require_clip(config.clip, "quality.clip")  # now: it is needed last
        self._room = self.context.out / FOLDER

    def jobs(self) -> list[Job]:
        if not all(self.images.is_made(name) for name in self.names):
            count = self.config.per_class * len(self.context.data.labels)
            return [self._job(name, min(count, int(self.images.of(name).class_counts.sum()))) for name in self.names]
        fetch_artifacts(self._room)
        return [self._job(key, len(of), self._embeddings(key)) for key, of in self._embedded.items()]

    def _job(self, key: str, total: int, made: Embeddings | None = None) -> Job:
        """A job; where its embeddings will lie is known once its images are made."""
        left = 0 if made is not None and made.are_made else total
        folder = None if made is None else made.folder
        return Job(key, f"the CLIP's view of {key}", left, row=key, folder=folder, total=total)

    @cached_property
    def _embedded(self) -> dict[str, Subset | list[list[str]]]:
        """What is embedded, once all sources are made: the first images of each, and the texts of the classes."""
        images = {name: self.images.open(name) for name in self.names}
        first = {name: Subset(of, prefix(of, self.config.per_class)) for name, of in images.items()}
        return {**first, CLASS_NAMES: self.context.class_texts}

    def _embeddings(self, key: str) -> Embeddings:
        of, clip = self._embedded[key], hash_clip(self._clip)
        if isinstance(of, Subset):
            return Embeddings(self._room, key, {"clip": clip, "images": of.fingerprint})
        return Embeddings(self._room, "class names", {"clip": clip, "texts": digest(of)})

    def load(self) -> DoJobs:
        from genrobust.classifiers import load_clip

        recipe = self.context.recipe
        clip = load_clip(self._clip, resolve_device(recipe.device))

        def embed(names: Sequence[str]) -> None:
            for name in names:
                self._embeddings(name).make(clip, self._embedded[name], recipe.evaluate.batch_size)

        return embed

    def cost(self, job: Job) -> Cost:
        return Cost(int(job.key != CLASS_NAMES), of=f"CLIP {self.config.clip}")  # names are few

    def found(self) -> tuple[SourceQuality, ...]:
        """Return the qualities of the sources, once all of them are embedded."""
        from genrobust.data import SourceEmbeddings, qualities

        fetch_artifacts(self._room)
        embeddings = {}
        for name, first in self._embedded.items():
            if isinstance(first, Subset):
                order = fair_order(first)  # they are embedded as they are stored, and compared in samples of the first
                of_first, count = self._embeddings(name).load()[order], len(self.images.open(name))
                embeddings[name] = SourceEmbeddings(of_first, first.labels[order], count)
        return qualities(embeddings, self._embeddings(CLASS_NAMES).load())
