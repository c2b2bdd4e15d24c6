"""An ImageSet whose images, encoded or as pixels, lie in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from genrobust.core import ImageSet, UserError, digest
from genrobust.data.reading import read_image


class MemoryImages(ImageSet):
    """Images held as encoded bytes (decoded when asked for) or as RGB uint8 arrays [H, W, 3]: an ImageSet.

    The fingerprint covers images, labels and keys.

    Raises:
        UserError: Lengths differ, or a key comes twice.
    """

    def __init__(
        self,
        name: str,
        images: Sequence[bytes | np.ndarray],
        labels: Sequence[int] | np.ndarray,
        keys: Sequence[str],
        styles: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.labels = np.asarray(labels, dtype=np.int64)
        self.keys = list(keys)
        self.styles = list(styles) if styles is not None else [""] * len(self.keys)
        self.groups = None if groups is None else tuple(groups)
        if not len(images) == len(self.labels) == len(self.keys) == len(self.styles):
            raise UserError(f"{name}: images, labels, keys and styles differ in number")
        if len(set(self.keys)) != len(self.keys):
            raise UserError(f"{name}: two images share a key")
        self._images, self._are_encoded = images, all(isinstance(image, bytes) for image in images)
        hashed = hashlib.sha256()
        for image in images:
            data = image if isinstance(image, bytes) else repr(image.shape).encode() + image.tobytes()
            hashed.update(hashlib.sha256(data).digest())
        self.fingerprint = digest([hashed.hexdigest(), self.labels.tolist(), self.keys])

    def __len__(self) -> int:
        return len(self.labels)

    def encoded(self, index: int) -> bytes | None:
        image = self._images[index]
        return image if isinstance(image, bytes) and self._are_encoded else None

    def image(self, index: int) -> Image.Image:
        image = self._images[index]
        if isinstance(image, np.ndarray):
            return Image.fromarray(image)
        return read_image(image, name=f"{self.keys[index]} of {self.name}")
