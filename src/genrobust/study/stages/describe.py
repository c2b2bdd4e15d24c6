"""The stage that shows the sources of a study to a CLIP, for the figures of what their images are like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from genrobust.core import SourceQuality
from genrobust.recipe import QualityConfig
from genrobust.study.estimates.rates import Cost
from genrobust.study.estimates.speed import clip_cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage

if TYPE_CHECKING:
    from genrobust.study.results.image_quality import Qualities


class Describe(Stage):
    """Embeds the images of the sources `names`, and the names of the classes, with the CLIP of the section quality."""

    name = "describe"
    title = "CLIP"

    def __init__(
        self, sources: Sources, names: Sequence[str], config: QualityConfig, needs: Sequence[Stage] = ()
    ) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.names, self.config = sources, names, config

    def __reduce__(self) -> tuple[object, ...]:
        return Describe, (self.sources, self.names, self.config)

    def jobs(self) -> list[Job]:
        if not all(self.sources.is_made(name) for name in self.names):
            count = self.config.per_class * len(self.context.data.labels)
            return [self._job(name, min(count, int(self.sources.class_counts(name).sum()))) for name in self.names]
        totals = self.qualities.totals()
        missing = self.qualities.missing()
        return [self._job(key, total, missing.get(key, 0)) for key, total in totals.items()]

    def _job(self, key: str, total: int, size: int | None = None) -> Job:
        size = total if size is None else size
        return Job(key, f"the CLIP's view of {key}", size, row=key, total=total)

    @cached_property
    def qualities(self) -> Qualities:
        """The qualities of the sources, which are made."""
        from genrobust.study.results.image_quality import Qualities

        images = {name: self.sources.images(name) for name in self.names}
        texts, out, recipe = self.sources.class_texts(), self.context.out, self.context.recipe
        return Qualities(self.config, images, texts, out, recipe.device, recipe.evaluate.batch_size)

    def load(self) -> DoJobs:
        return self.qualities.embed

    def cost(self, job: Job) -> Cost:
        return clip_cost(self.config.clip)

    def found(self) -> tuple[SourceQuality, ...]:
        """Return the qualities of the sources, once all of them are embedded."""
        return self.qualities.measured()
