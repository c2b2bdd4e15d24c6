"""Where images come from: a `kind` of storage with its own keys, or a path alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)

from genrobust.core import Registry
from genrobust.recipe.section import Choice

PACKAGE = "genrobust.data.readers"
READERS: Registry[type[ImagesConfig]] = Registry("reader", "genrobust.readers", PACKAGE)


class ImagesConfig(Choice):
    """A set of images: its `kind`, and in most cases its `path`. A path alone means `kind: folders`."""

    chosen_by = "kind"
    registry = READERS

    kind: str = "folders"


def _accept_path(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Take a path alone for the key `path`. Its errors then name the key of the set, as the user wrote it."""
    if value is not None and not isinstance(value, str | Path):
        return validate(value)
    try:
        return validate({"path": value})
    except ValidationError as error:
        message = str(error.errors()[0]["msg"])
        raise ValueError(message.removeprefix("Value error, ")) from None


def _shorten(images: ImagesConfig, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    """Dump a set that is named by its path alone as this path."""
    values = dump(images)
    is_default_kind = images.kind == ImagesConfig.model_fields["kind"].default
    if is_default_kind and set(values) == {"kind", "path"}:
        return values["path"]
    return values


NamedImages = Annotated[ImagesConfig, WrapValidator(_accept_path)]
# The same, but a recipe writes a path alone if this is enough.
Images = Annotated[NamedImages, WrapSerializer(_shorten)]
