"""The stage that searches images without labels for the classes of a study, with a CLIP."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.core import fetch_artifacts, resolve_device
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.embeddings import CLASS_NAMES, FOLDER
from genrobust.study.stages.stage import Stage

EMBEDDING_BYTES = 3072  # of an image: 768 numbers, as of the larger CLIPs


class Search(Stage):
    """Embeds the parts of the pool and the names of the classes; then this process lists the nearest images."""

    name = "search"
    title = "searching"

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources.context)
        self.sources = sources

    def jobs(self) -> list[Job]:
        search, jobs = self.sources.search, []
        is_done = search.is_done  # then nobody reads the embeddings any more
        if not is_done:
            fetch_artifacts(self.context.out / FOLDER)
        for part, total in search.totals().items():
            embeddings = search.embeddings(part)
            name, row, unit = f"part {part} of {search.pool.name}", search.pool.name, "images"
            if part == CLASS_NAMES:
                name, row, unit = CLASS_NAMES, CLASS_NAMES, self.context.recipe.data.retrieved.match
            size = 0 if is_done or embeddings.are_made else total
            jobs.append(Job(part, f"the CLIP's view of {name}", size, 1, row, embeddings.folder, total, unit))
        return jobs

    def load(self) -> DoJobs:
        from genrobust.classifiers import load_clip

        search = self.sources.search
        clip = load_clip(search.clip, resolve_device(self.context.recipe.device))

        def embed(parts: Sequence[int | str]) -> None:
            for part in parts:
                search.embed(clip, part)

        return embed

    def do(self, todo: Sequence[Job]) -> None:
        search = self.sources.search
        super().do(todo)
        if not search.is_done:
            search.write()
            self.context.log(search.report())

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image; the names of the classes are few."""
        return Cost(1, of=f"CLIP {self.context.recipe.data.search_clip}", disk=EMBEDDING_BYTES * job.size)
