"""The stage that shows the sources of a study to a CLIP, for the metrics of what their images are like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from genrobust.classifiers import hash_clip
from genrobust.core import (
    SourceQuality,
    Subset,
    digest,
    fair_order,
    fetch_artifacts,
    find_clip,
    prefix,
    resolve_device,
)
from genrobust.recipe import QualityConfig
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.embeddings import CLASS_NAMES, FOLDER, Embeddings
from genrobust.study.stages.stage import Stage


class Describe(Stage):
    """Embeds the images of the sources `names`, and the names of the classes, with the CLIP of the section quality.

    The embeddings are kept under ``out/embeddings``, so a source is embedded once.
    """

    name = "describe"
    title = "CLIP"

    def __init__(
        self, sources: Sources, names: Sequence[str], config: QualityConfig, needs: Sequence[Stage] = ()
    ) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.names, self.config = sources, names, config
        self._room = self.context.out / FOLDER

    def jobs(self) -> list[Job]:
        if not all(self.sources.is_made(name) for name in self.names):
            count = self.config.per_class * len(self.context.data.labels)
            return [self._job(name, min(count, int(self.sources.class_counts(name).sum()))) for name in self.names]
        fetch_artifacts(self._room)
        totals = {**{name: len(images) for name, images in self._first.items()}, CLASS_NAMES: len(self._texts)}
        return [self._job(key, total, self._embeddings[key].are_made) for key, total in totals.items()]

    def _job(self, key: str, total: int, is_done: bool = False) -> Job:
        return Job(key, f"the CLIP's view of {key}", 0 if is_done else total, row=key, total=total)

    @cached_property
    def _texts(self) -> list[list[str]]:
        return self.sources.class_texts()

    @cached_property
    def _first(self) -> dict[str, Subset]:
        """The images of each source that are embedded, once all sources are made."""
        images = {name: self.sources.images(name) for name in self.names}
        return {name: Subset(of, prefix(of, self.config.per_class)) for name, of in images.items()}

    @cached_property
    def _embeddings(self) -> dict[str, Embeddings]:
        clip = hash_clip(find_clip(self.config.clip))
        of_images = {
            name: Embeddings(self._room, name, {"clip": clip, "images": first.fingerprint})
            for name, first in self._first.items()
        }
        texts = {"clip": clip, "texts": digest(self._texts)}
        return {**of_images, CLASS_NAMES: Embeddings(self._room, "class names", texts)}

    def load(self) -> DoJobs:
        from genrobust.classifiers import load_clip

        recipe = self.context.recipe
        clip = load_clip(find_clip(self.config.clip), resolve_device(recipe.device))

        def embed(names: Sequence[str]) -> None:
            for name in names:
                if name == CLASS_NAMES:
                    self._embeddings[name].make_of_texts(clip, self._texts)
                else:
                    batch_size = recipe.evaluate.batch_size  # which changes results by rounding alone
                    self._embeddings[name].make_of_images(clip, self._first[name], batch_size, f"CLIP, {name}")

        return embed

    def cost(self, job: Job) -> Cost:
        return Cost(1, of=f"CLIP {self.config.clip}")

    def found(self) -> tuple[SourceQuality, ...]:
        """Return the qualities of the sources, once all of them are embedded."""
        from genrobust.data import SourceEmbeddings, qualities

        fetch_artifacts(self._room)
        embeddings = {}
        for name, first in self._first.items():
            order = fair_order(first)  # they are embedded as they are stored, and compared in samples of the first
            embeddings[name] = SourceEmbeddings(
                self._embeddings[name].load()[order], first.labels[order], len(self.sources.images(name))
            )
        return qualities(embeddings, self._embeddings[CLASS_NAMES].load())
