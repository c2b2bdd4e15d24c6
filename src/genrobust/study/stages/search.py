"""The stage that searches images without labels for the classes of a study, with a CLIP."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.core import Subset, fetch_artifacts, resolve_device
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.embeddings import CLASS_NAMES, FOLDER
from genrobust.study.sources.search import PoolSearch
from genrobust.study.stages.stage import Stage


class Search(Stage):
    """Embeds the parts of the pool and the names of the classes; then this process lists the nearest images."""

    name = "search"
    title = "searching"

    def __init__(self, search: PoolSearch) -> None:
        super().__init__(search.context)
        self.search = search

    def jobs(self) -> list[Job]:
        search, jobs = self.search, []
        is_done = search.is_made  # then nobody reads the embeddings any more
        if not is_done:
            fetch_artifacts(self.context.out / FOLDER)
        for part, items in search.parts.items():
            embeddings, total = search.embeddings(part), len(items)
            name, row, unit = f"part {part} of {search.pool.name}", search.pool.name, "images"
            if part == CLASS_NAMES:
                name, row, unit = CLASS_NAMES, CLASS_NAMES, "classes"
            size = 0 if is_done or embeddings.are_made else total
            jobs.append(Job(part, f"the CLIP's view of {name}", size, 1, row, embeddings.folder, total, unit))
        return jobs

    def load(self) -> DoJobs:
        from genrobust.classifiers import load_clip

        search, recipe = self.search, self.context.recipe
        clip = load_clip(search.clip, resolve_device(recipe.device))

        def embed(parts: Sequence[int | str]) -> None:
            for part in parts:
                of = self.context.class_texts if part == CLASS_NAMES else Subset(search.pool, search.parts[part])
                search.embeddings(part).make(clip, of, recipe.evaluate.batch_size)

        return embed

    def do(self, todo: Sequence[Job]) -> None:
        super().do(todo)
        if not self.search.is_made:
            self.search.write()

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image; the names of the classes are few, and take another time each."""
        return Cost(int(job.key != CLASS_NAMES), of=f"CLIP {self.context.recipe.data.search_clip}")
