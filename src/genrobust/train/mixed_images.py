"""The images of several sources as one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from genrobust.core import ImageSet, UserError, prefix


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a mixture.

    Attributes:
        name: As in the recipe: "real", "generated".
        images: The set to take images from.
        weight: Its share of every batch, relative to the other sources. Either all sources have one or none has;
            without weights, all images are drawn equally often.
        per_class: Take the first so many images of each class (see `prefix`).
        fraction: Take the first share of each class.
        balance: Draw each combination of these columns equally often: "class", "style".
    """

    name: str
    images: ImageSet
    weight: float | None = None
    per_class: int | None = None
    fraction: float | None = None
    balance: tuple[str, ...] = ()


class MixedImages:
    """The chosen images of several sources as one list: image i is image `index_in[i]` of source `source_of[i]`."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Raises UserError if a source has no images."""
        for source in sources:
            if len(source.images) == 0:
                raise UserError(f"the source {source.name} of the mixture has no images")
        self.sources = tuple(sources)
        self.chosen = [prefix(source.images, source.per_class, source.fraction) for source in sources]
        self.source_of = np.repeat(np.arange(len(sources)), [len(chosen) for chosen in self.chosen])
        self.index_in = np.concatenate(self.chosen)

    def __len__(self) -> int:
        return len(self.index_in)

    def image(self, index: int) -> Image.Image:
        return self.sources[self.source_of[index]].images.image(int(self.index_in[index]))

    def labels(self) -> np.ndarray:
        """Return the labels of all images, int64 [N]."""
        pairs = zip(self.sources, self.chosen, strict=True)
        return np.concatenate([source.images.labels[chosen] for source, chosen in pairs])

    def counts(self) -> dict[str, int]:
        """Return the number of images by source name."""
        return {source.name: len(chosen) for source, chosen in zip(self.sources, self.chosen, strict=True)}
