"""The stage that makes packed copies of images that trainings cut random crops from, with all cores at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from genrobust.core import cores
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage
from genrobust.train import PackedImages, to_pack

PNG = 4  # JPEGs, in time
PACKED_BYTES = 120_000  # of an image of about 500 px: the photographs and PNGs of benchmarks/loading.py


class Pack(Stage):
    """Packs the images of some of the `names` of sources, in this process; each machine keeps its own copies."""

    name = "pack"
    title = "packing"

    def __init__(self, sources: Sources, names: Sequence[str], needs: Sequence[Stage] = ()) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.names = sources, names
        self.folder = self.context.out / "packed"

    def jobs(self) -> list[Job]:
        jobs = []
        for name in self.names:
            total = int(self.sources.class_counts(name).sum())
            left = total
            if self.sources.is_made(name):
                total, left = len(self.sources.images(name)), to_pack(self.sources.images(name), self.folder)
            jobs.append(Job(name, f"the copies of {name}", left, row=name, folder=self.folder, total=total))
        return jobs

    def load(self) -> DoJobs:
        left = {job.key: job for job in self.jobs()}

        def pack(names: Sequence[str]) -> None:
            for name in names:
                job = left[name]
                self.context.log(f"packing {job.size:,} images ({name})")
                with ThreadPoolExecutor(cores()) as pool:
                    PackedImages(self.sources.images(name), self.folder, pool)

        return pack

    @property
    def alone(self) -> bool:
        return True  # which uses all cores

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image: a PNG takes much longer to decode than a JPEG."""
        return Cost(PNG if self.sources.reads(job.key) else 1, of="copies", disk=PACKED_BYTES * job.size)
