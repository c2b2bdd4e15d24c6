"""The base of all recipe sections: frozen, strict about keys, and clear about what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a recipe. Frozen; refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file_keys: ClassVar[tuple[str, ...]] = ()  # keys that a recipe file may have here, and that are no fields


AnySection = TypeVar("AnySection", bound=Section)


def checked(section: type[AnySection], values: dict[str, Any], where: str) -> AnySection:
    """Validate `values` as a `section`.

    Raises:
        ValueError: Everything that is wrong, in one line.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(explain(error, section, where))) from None


def explain(error: ValidationError, root: type[Section], where: str) -> list[str]:
    """One line for each mistake in a `root` section: `where`, the key, what is wrong, and the nearest known key."""
    return [f"{where}: {_explain_one(dict(one), root)}" for one in error.errors()]


def near_or_known(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown `name`: the nearest of the `known` ones, or any of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _explain_one(error: dict[str, Any], root: type[Section]) -> str:
    *parents, last = error["loc"] or [""]
    path = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        section = root
        for key in parents:
            section = _subsection(section, key)
        return f"unknown key {path}; {near_or_known(str(last), [*section.model_fields, *section.file_keys])}"
    message = str(error["msg"]).removeprefix("Value error, ")
    got = "" if error["type"] in {"missing", "value_error"} else f" (got {error['input']!r})"
    return f"{path and f'{path}: '}{message[:1].lower()}{message[1:]}{got}"


def _subsection(section: type[Section], key: str | int) -> type[Section]:
    """The section at `key`; `section` itself for a place in a list, or a name in a mapping."""
    annotation = section.model_fields[key].annotation if key in section.model_fields else None
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), section)
