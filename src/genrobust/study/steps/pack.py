"""The step that packs copies of images for trainings with random crops, on all cores at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import cores
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item
from genrobust.study.steps.images import MixedImages
from genrobust.study.steps.step import Step
from genrobust.train import PackedImages, to_pack

PNG = 4  # times as long as a JPEG to decode
PACKED_BYTES = 120_000  # per image of about 500 px: the photographs and PNGs of benchmarks/loading.py


@dataclass(frozen=True, eq=False, repr=False)
class Pack(Step):
    """Packs the images of one part of a mixture. Each machine keeps its own copies."""

    title = "packing"
    stage = "pack"

    mixed: MixedImages

    @property
    def key(self) -> object:
        return self.mixed.source.identity, self.mixed.part.cells

    @property
    def folder(self) -> Path:
        return self.context.out / "packed"

    @property
    def row(self) -> str:
        return self.mixed.name

    @property
    def alone(self) -> bool:
        # One process uses all cores.
        return True

    def needs(self) -> tuple[Step, ...]:
        return (self.mixed.source,)

    def items(self) -> list[Item]:
        total = left = int(self.mixed.count_classes().sum())
        if self.mixed.source.is_made():
            left = to_pack(self.mixed.open(), self.folder)
        return [Item(key=self.mixed.name, name=f"the copies of {self.mixed.name}", size=left, total=total)]

    def announce(self, items: Sequence[Item]) -> None:
        for item in items:
            self.context.log(f"packing {item.size:,} images ({self.row})")

    def make(self, keys: Sequence[str]) -> None:
        del keys
        with ThreadPoolExecutor(cores()) as pool:
            PackedImages(self.mixed.open(), self.folder, pool)

    def cost(self, item: Item) -> Cost:
        """Return the cost of an image. Generated images are PNGs, which decode slowly."""
        amount = PNG if self.mixed.source.datasets else 1
        return Cost(amount, of="copies", disk=PACKED_BYTES * item.size)
