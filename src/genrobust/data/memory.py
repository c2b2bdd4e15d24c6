"""Labeled images in memory, encoded or as pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from genrobust.core import ImageSet, UserError, digest
from genrobust.data.image_files import read_image


class MemoryImages(ImageSet):
    """Images in memory: encoded bytes, which are decoded when read, or RGB uint8 arrays [H, W, 3].

    The fingerprint covers images, labels and keys.
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
        """Take the images over; see `ImageSet` for the other arguments.

        Raises:
            UserError: Lengths differ, or a key comes twice.
        """
        self.name = name
        self.labels = np.asarray(labels, dtype=np.int64)
        self.keys = list(keys)
        self.styles = [""] * len(self.keys) if styles is None else list(styles)
        self.groups = None if groups is None else tuple(groups)
        if not len(images) == len(self.labels) == len(self.keys) == len(self.styles):
            raise UserError(f"{name}: images, labels, keys and styles differ in number")
        if len(set(self.keys)) != len(self.keys):
            raise UserError(f"{name}: two images share a key")
        self._images = images
        self._are_encoded = all(isinstance(image, bytes) for image in images)
        self.fingerprint = digest([_hash_images(images), self.labels.tolist(), self.keys])

    def __len__(self) -> int:
        return len(self.labels)

    def encoded(self, index: int) -> bytes | None:
        image = self._images[index]
        if isinstance(image, bytes) and self._are_encoded:
            return image
        return None

    def image(self, index: int) -> Image.Image:
        image = self._images[index]
        if isinstance(image, np.ndarray):
            return Image.fromarray(image)
        return read_image(image, name=f"{self.keys[index]} of {self.name}")


def _hash_images(images: Sequence[bytes | np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for image in images:
        if isinstance(image, bytes):
            data = image
        else:
            data = repr(image.shape).encode() + image.tobytes()
        hashed.update(hashlib.sha256(data).digest())
    return hashed.hexdigest()
