"""An ImageSet whose images are corrupted copies of another set's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from genrobust.core import ImageSet, Subset, digest, hashed_seed

# Part of the fingerprint. Raise it if the corruptions make other images.
VERSION = 1


class CorruptedImages(Subset):
    """The images of another set under each corruption at each severity."""

    def __init__(
        self,
        name: str,
        images: ImageSet,
        corruptions: Sequence[str],
        severities: Sequence[int],
        side: int | None = None,
    ) -> None:
        self._ways = [(corruption, severity) for corruption in corruptions for severity in severities]
        self._originals = images
        self._side = side
        super().__init__(images, np.tile(np.arange(len(images)), len(self._ways)), name)
        self.pictures = self._original_keys = self.keys
        self.styles = [corruption for corruption, _ in self._ways for _ in range(len(images))]
        ways = [f"{corruption}-{severity}" for corruption, severity in self._ways for _ in range(len(images))]
        self.keys = [f"{way}/{key}" for way, key in zip(ways, self._original_keys, strict=True)]
        protocol = f"corrupted by {', '.join(corruptions)} at severity {', '.join(map(str, severities))}"
        if side is not None:
            protocol += f" after resizing the shorter side to {side} px"
        self.protocol = f"{self.protocol}; {protocol}" if self.protocol else protocol
        self.as_stored = self.packaged = False
        self.fingerprint = digest([images.fingerprint, self._ways, side, VERSION])

    def image(self, index: int) -> Image.Image:
        # Import late: it loads SciPy, which listing the images does not need.
        from genrobust.data.corrupting import corrupt

        image = super().image(index)
        if self._side is not None:
            factor = self._side / min(image.size)
            size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
            image = image.resize(size, Image.Resampling.BICUBIC)
        corruption, severity = self._ways[index // len(self._originals)]
        return corrupt(image, corruption, severity, hashed_seed("corruption", corruption, self._original_keys[index]))

    def reduced(self, index: int, side: int) -> Image.Image:
        return self.image(index)

    def encoded(self, index: int) -> None:
        return None

    def known_contents(self) -> None:
        return None
