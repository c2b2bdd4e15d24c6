"""The stage that searches images without labels for the classes of a study, with a CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrobust.core import resolve_device
from genrobust.study.embeddings import CLASS_NAMES
from genrobust.study.jobs import DoJobs, Job
from genrobust.study.rates import measured
from genrobust.study.sources import Sources
from genrobust.study.stage import Stage

EMBEDDING_BYTES = 3072  # of an image: 768 numbers, as of the larger CLIPs


class Search(Stage):
    """Embeds the parts of the pool and the names of the classes; then this process lists the nearest images."""

    name = "search"
    title = "searching"

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources.context)
        self.sources = sources

    def __reduce__(self) -> tuple[object, ...]:
        return Search, (self.sources,)

    def jobs(self) -> list[Job]:
        search = self.sources.search
        missing, jobs = search.missing(), []
        for part, total in search.totals().items():
            name = part if part == CLASS_NAMES else f"part {part} of {search.pool.name}"
            row = CLASS_NAMES if part == CLASS_NAMES else search.pool.name
            size, rate_key = missing.get(part, 0), self._rate_key(part)
            unit, folder = search.unit(part), search.embeddings(part).folder
            jobs.append(Job(part, f"the CLIP's view of {name}", size, rate_key, 1, row, folder, total, unit))
        return jobs

    def load(self) -> DoJobs:
        from genrobust.classifiers import load_clip

        search = self.sources.search
        clip = load_clip(search.clip, resolve_device(self.context.recipe.device))

        def embed(parts: Sequence[int | str]) -> None:
            totals = search.totals()
            for part in parts:
                with measured(self.context.out, self.name, self._rate_key(part), totals[part]):
                    search.embed(clip, part)

        return embed

    def do(self, todo: Sequence[Job]) -> None:
        search = self.sources.search
        super().do(todo)
        if not search.is_done:
            search.write()
            self.context.log(search.report())

    def trial(self, job: Job, folder: Path) -> None:
        """Embed the first images of the pool, or the names of the classes, elsewhere."""
        Search(Sources(self.context.elsewhere(folder))).load()([job.key])

    def disk(self, jobs: Sequence[Job]) -> float:
        return EMBEDDING_BYTES * sum(job.size for job in jobs)

    def _rate_key(self, part: int | str) -> str:
        return f"{self.sources.search.unit(part)}, CLIP {self.context.recipe.data.search_clip}, {self.context.worker}"
