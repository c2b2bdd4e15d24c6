"""What all sections of a recipe share: they are frozen, and refuse an unknown key."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a recipe. Frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
