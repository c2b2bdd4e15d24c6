"""Augmentation policies, which a recipe names and training applies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from genrobust.core import Registry
from genrobust.recipe.section import Choice, short_for

# Importing torch takes seconds, and a recipe is loaded without it.
if TYPE_CHECKING:
    from torch import Tensor

Color = tuple[int, int, int]
Policy = Callable[["Tensor"], "Tensor"]  # from an image, uint8 [3, H, W], to another of the same shape
AUGMENTATIONS: Registry[type[Augmentation]] = Registry(
    "augmentation", "genrobust.augmentations", "genrobust.train.augmentations"
)


class Augmentation(Choice):
    """A policy that changes training images one by one. It may have keys of its own. A text alone is its `name`."""

    chosen_by = "name"
    registry = AUGMENTATIONS
    changes: ClassVar[bool] = True  # whether it changes any image
    crops: ClassVar[bool] = True  # whether images are cropped and mirrored too

    name: str = "standard"

    @abstractmethod
    def policy(self, fill: Color) -> Policy | None:
        """Return the function that changes an image, or None if the policy changes none.

        Args:
            fill: The color of the area outside a turned or moved image.
        """

    @model_serializer(mode="wrap")
    def _shorten(self, handler: SerializerFunctionWrapHandler) -> Any:
        values = handler(self)
        return values if self.own_values else self.name

    @property
    def own_values(self) -> dict[str, Any]:
        """The values of the policy's own keys that differ from their defaults."""
        return {key: value for key, value in self if key != "name" and self.differs(key)}

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key} {value}" for key, value in self.own_values.items())])


AugmentationName = Annotated[Augmentation, short_for("name")]
