"""Augmentation policies: recipes name them, and training applies them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from genrobust.core import Registry
from genrobust.recipe.section import Choice, short_for

if TYPE_CHECKING:  # torch takes seconds, and recipes are read without it
    from torch import Tensor

Color = tuple[int, int, int]
Policy = Callable[["Tensor"], "Tensor"]  # of one image, uint8 [3, H, W], to another of that shape
AUGMENTATIONS: Registry[type[Augmentation]] = Registry(
    "augmentation", "genrobust.augmentations", "genrobust.train.augmentations"
)


class Augmentation(Choice):
    """A policy that changes training images one by one, with keys of its own. A text in its place means `name`."""

    chosen_by = "name"
    registry = AUGMENTATIONS
    changes: ClassVar[bool] = True  # whether it changes any image
    crops: ClassVar[bool] = True  # whether images are cropped and mirrored as well

    name: str = "standard"

    @abstractmethod
    def policy(self, fill: Color) -> Policy | None:
        """Return the function that changes an image; None changes none.

        Args:
            fill: The color of what lies beyond a turned or moved image.
        """

    @model_serializer(mode="wrap")
    def _shorten(self, handler: SerializerFunctionWrapHandler) -> Any:
        values = handler(self)
        return values if self.own_values else self.name

    @property
    def own_values(self) -> dict[str, Any]:
        """The values of the policy's own keys that differ from their defaults."""
        fields = type(self).model_fields
        return {key: value for key, value in self if key != "name" and value != fields[key].default}

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key} {value}" for key, value in self.own_values.items())])


AugmentationName = Annotated[Augmentation, short_for("name")]
