"""The stage that makes packed copies of images that trainings cut random crops from, with all cores at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from genrobust.core import cores
from genrobust.recipe import MixturePart
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.images import Images
from genrobust.study.stages.stage import Stage
from genrobust.train import PackedImages, to_pack

PNG = 4  # JPEGs, in time
PACKED_BYTES = 120_000  # of an image of about 500 px: the photographs and PNGs of benchmarks/loading.py


class Pack(Stage):
    """Packs the images of `parts` of mixtures, in this process; each machine keeps its own copies."""

    name = "pack"
    title = "packing"

    def __init__(self, images: Images, parts: Sequence[MixturePart], needs: Sequence[Stage] = ()) -> None:
        super().__init__(images.context, needs)
        self.images, self.parts = images, parts
        self.folder = self.context.out / "packed"

    def jobs(self) -> list[Job]:
        jobs = []
        for part in self.parts:
            total = left = int(self.images.known_counts(part).sum())
            if self.images.is_made(part.source):
                images = self.images.open_part(part)
                total, left = len(images), to_pack(images, self.folder)
            name = part.source if part.cells == "all" else f"{part.source}, {part.cells} cells"
            jobs.append(Job(part, f"the copies of {name}", left, row=name, folder=self.folder, total=total))
        return jobs

    def announce(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.context.log(f"packing {job.size:,} images ({job.row})")

    def load(self) -> DoJobs:
        def pack(parts: Sequence[MixturePart]) -> None:
            with ThreadPoolExecutor(cores()) as pool:
                for part in parts:
                    PackedImages(self.images.open_part(part), self.folder, pool)

        return pack

    @property
    def alone(self) -> bool:
        return True  # which uses all cores

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image: a PNG takes much longer to decode than a JPEG."""
        return Cost(PNG if self.images.of(job.key.source).datasets else 1, of="copies", disk=PACKED_BYTES * job.size)
