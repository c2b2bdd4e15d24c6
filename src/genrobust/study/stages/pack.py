"""The stage that makes packed copies of images that trainings cut random crops from, with all cores at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from genrobust.core import cores
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.images import Images
from genrobust.study.stages.stage import Stage
from genrobust.train import PackedImages, to_pack

PNG = 4  # JPEGs, in time
PACKED_BYTES = 120_000  # of an image of about 500 px: the photographs and PNGs of benchmarks/loading.py


class Pack(Stage):
    """Packs the images of some of the `names` of sources, in this process; each machine keeps its own copies."""

    name = "pack"
    title = "packing"

    def __init__(self, images: Images, names: Sequence[str], needs: Sequence[Stage] = ()) -> None:
        super().__init__(images.context, needs)
        self.images, self.names = images, names
        self.folder = self.context.out / "packed"

    def jobs(self) -> list[Job]:
        jobs = []
        for name in self.names:
            total = int(self.images.of(name).class_counts.sum())
            left = total
            if self.images.is_made(name):
                total, left = len(self.images.open(name)), to_pack(self.images.open(name), self.folder)
            jobs.append(Job(name, f"the copies of {name}", left, row=name, folder=self.folder, total=total))
        return jobs

    def announce(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.context.log(f"packing {job.size:,} images ({job.key})")

    def load(self) -> DoJobs:
        def pack(names: Sequence[str]) -> None:
            with ThreadPoolExecutor(cores()) as pool:
                for name in names:
                    PackedImages(self.images.open(name), self.folder, pool)

        return pack

    @property
    def alone(self) -> bool:
        return True  # which uses all cores

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image: a PNG takes much longer to decode than a JPEG."""
        return Cost(PNG if self.images.of(job.key).datasets else 1, of="copies", disk=PACKED_BYTES * job.size)
