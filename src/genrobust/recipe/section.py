"""The base of all recipe sections: frozen, strict about keys, and clear about what is wrong."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from genrobust.core import Registry, UserError, did_you_mean, some_of
from genrobust.recipe.paths import located

LONGEST_NAME = 255  # bytes of the name of a file or folder
SHOWN = 60  # characters of a value, in a message
TOLD = 3  # mistakes, in a message


class Section(BaseModel):
    """A part of a recipe. Frozen; refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    file_keys: ClassVar[tuple[str, ...]] = ()  # keys that a recipe file may have here, and that are no fields


def later_key(default: object) -> Any:
    """Declare a key that came later: its default stays out of hashes, so that earlier folders keep their names."""
    return Field(default=default, exclude_if=lambda value: value == default)


AnySection = TypeVar("AnySection", bound=Section)


class Choice(Section):
    """A section in which one key, `chosen_by`, names a member of a registry, and the member has the other keys.

    What is registered is a subclass with the member's own keys. Making or validating the section itself gives an
    instance of that subclass. A key of another member is an error that names this member.
    """

    chosen_by: ClassVar[str]
    registry: ClassVar[Registry[Any]]
    without: ClassVar[frozenset[str]] = frozenset()  # keys of the section that the member does not use

    @classmethod
    def used(cls) -> set[str]:
        """Return the keys of the section."""
        return cls.model_fields.keys() - cls.without

    @classmethod
    def chosen(cls, values: Mapping[str, Any]) -> type[Self]:
        """Return the model for `values`.

        Raises:
            ValidationError: The registry has no such member.
        """
        return cls._member(cls.registry, cls.chosen_by, values)

    def changed(self, values: dict[str, Any], where: str, without: Collection[str] = ()) -> Self:
        """Return the section with the keys `values` instead of its own; another member inherits the keys that it has.

        Args:
            where: What messages call the section.
            without: Keys that are not inherited.

        Raises:
            ValueError: A value or a key is wrong.
        """
        union = next(base for base in type(self).__mro__ if issubclass(base, Choice) and base._is_open())
        inherited = {**self.model_dump(exclude=set(without)), **values}
        try:
            keys = union.chosen(inherited).used()
        except ValidationError:
            keys = type(self).used()  # what is wrong is reported below
        applicable = {key: value for key, value in inherited.items() if key in keys or key in values}
        return checked(union, applicable, where)  # type: ignore[return-value]

    @classmethod
    def models(cls) -> dict[str, type[Self]]:
        """Return the models to choose among, each by what chooses it, such as "kind objectnet"."""
        return {f"{cls.chosen_by} {name}": member for name, member in cls.registry.members().items()}

    @classmethod
    def _member(cls, registry: Registry[Any], key: str, values: Mapping[str, Any]) -> Any:
        """Return what the value of `key` names in `registry`."""
        name = values.get(key, cls.model_fields[key].default)
        if not isinstance(name, str):
            cls._refuse(key, f"give a name, one of {', '.join(registry.names())} (got {shown(name)})", name)
        try:
            return registry.get(name)
        except UserError as error:
            cls._refuse(key, str(error), name)

    @classmethod
    def _refuse(cls, key: str, why: str, value: Any) -> NoReturn:
        error = PydanticCustomError("value_error", "{error}", {"error": why})
        raise ValidationError.from_exception_data(cls.__name__, [InitErrorDetails(type=error, loc=(key,), input=value)])

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if key not in self.without}

    @classmethod
    def _is_open(cls) -> bool:
        return "chosen_by" in vars(cls)

    def __new__(cls, **values: Any) -> Self:
        return super().__new__(cls.chosen(values) if cls._is_open() else cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate_member) if cls._is_open() else handler(source)

    @classmethod
    def _validate_member(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"give a mapping of keys (got {shown(value)})")
        model = cls.chosen(value)
        for key in (key for key in value if key not in model.used()):
            models = cls.models()
            if owners := [choice for choice, other in models.items() if key in other.used()]:
                mine = next(choice for choice, other in models.items() if other is model)
                cls._refuse(key, f"this key belongs to {', '.join(owners)}, not to {mine}", value[key])
        return model.model_validate(value)


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections that a value of this type may be; of a `Choice`, all that it chooses among."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if issubclass(annotation, Choice) and annotation._is_open():
            yield from dict.fromkeys(annotation.models().values())
        else:
            yield annotation
    for argument in get_args(annotation):
        yield from sections_in(argument)


def _check_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values`, which a recipe can hold: texts, finite numbers, lists and mappings."""
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"give texts, finite numbers, lists and mappings alone ({error})") from None
    return values


def _check_place(value: Any) -> Any:
    if isinstance(value, str) and ("\0" in value or not value.strip()):
        raise ValueError("an empty path: name a folder or a file, or leave the key out")
    if isinstance(value, str | Path) and max(map(len, os.fsencode(value).split(b"/"))) > LONGEST_NAME:
        raise ValueError(f"a folder or file name of more than {LONGEST_NAME} bytes, which no system allows")
    return located(value) if isinstance(value, str) else value


def short_for(key: str) -> BeforeValidator:
    """Take a text in the place of a section for the value of its `key`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


PlainValues = Annotated[dict[str, Any], AfterValidator(_check_plain)]  # of keys that are checked elsewhere
Place = Annotated[Path, BeforeValidator(_check_place)]  # in a recipe file relative to it; see `located`


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
    """Return a line for each mistake in a `root` section, up to three: `where`, the key, what is wrong."""
    by_key: dict[str, Any] = {}
    for mistake in error.errors(include_url=False):
        by_key.setdefault(_dotted_key(mistake), mistake)
    lines = [f"{where}: {_explain_mistake(mistake, root)}" for mistake in by_key.values()]
    if len(lines) > TOLD:
        lines[TOLD - 1 :] = [f"{where}: and {len(lines) + 1 - TOLD:,} more mistakes"]
    return lines


def near_or_known(name: str, known: Iterable[str]) -> str:
    """Suggest what to write instead of an unknown `name`: the nearest of the `known` ones, or any of them."""
    known = list(known)
    return did_you_mean(name, known, f"known here: {some_of(known)}")


def shown(value: Any) -> str:
    """A value in a message: on one line, and not too long."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def _explain_mistake(error: dict[str, Any], root: type[Section]) -> str:
    *parents, last = error["loc"] or [""]
    path = _dotted_key(error)
    if error["type"] == "extra_forbidden":
        sections: list[type[Section]] = [root]
        for key in parents:
            sections = _sections_at(sections, key)
        return f"unknown key {path}; {_suggest_key(str(last), sections, root)}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list, as in [0, 1]")
    message = re.sub(r"a valid dictionary.*", "a mapping, as in {key: value}", message)
    got = "" if error["type"] in {"missing", "value_error"} else f" (got {shown(error['input'])})"
    if error["type"] == "string_type":
        got += ": put a text that looks like something else in quotes"
    return f"{path and f'{path}: '}{message[:1].lower()}{message[1:]}{got}"


def _suggest_key(word: str, sections: list[type[Section]], root: type[Section]) -> str:
    """Suggest a key of the `sections`, which share a place, or of another of `root`, for a `word` that is none."""
    elsewhere: dict[str, str] = {}
    for name in ("train", *root.model_fields):  # train has most settings
        others = [other for other in _sections_at([root], name) if other not in (root, *sections)]
        elsewhere = {text: f"{name}.{key}" for text, key in _words(others).items()} | elsewhere
    here = {text: key for text, key in _words(sections).items() if key != word}  # such as quick, where no file is read
    for words, cutoff in ((here, 0.6), (elsewhere, 0.8)):
        if near := get_close_matches(word.lower(), words, n=1, cutoff=cutoff):
            return f"did you mean {words[near[0]]}?"
    return f"known here: {some_of(dict.fromkeys(here.values()))}"


def _words(sections: Iterable[type[Section]]) -> dict[str, str]:
    """Return the keys of `sections`, by themselves and by their initials, such as lr."""
    keys = [key for section in sections for key in (*section.model_fields, *section.file_keys)]
    initials = {"".join(part[0] for part in key.split("_")): key for key in reversed(keys) if "_" in key}
    return {key: key for key in keys} | initials


def _dotted_key(error: Any) -> str:
    """The key of a mistake, without the marks of pydantic: ``[key]``, and ``dict[...]`` for one of several types."""
    parts = [str(part)[:SHOWN] for part in error["loc"] if "[" not in str(part)]
    return ".".join(part if part.isprintable() else ascii(part) for part in parts)


def _sections_at(sections: list[type[Section]], key: str | int) -> list[type[Section]]:
    """The sections at `key` of the `sections`; these themselves for a place in a list, or a name in a mapping."""
    fields = [section.model_fields[key] for section in sections if key in section.model_fields]
    return list(dict.fromkeys(inner for field in fields for inner in sections_in(field.annotation))) or sections


def merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `other`; mappings that both hold are merged in turn."""
    both = {k: merged(base[k], v) for k, v in other.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **other, **both}


def set_value(raw: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the dotted `key` of a raw recipe, which errors call `where`; a number in it is an index of a list."""
    *parents, last = key.split(".")
    node: Any = raw
    for part in parents:
        at = _index(node, part, where)
        inner = node.get(at) if isinstance(node, dict) else node[at]
        node[at] = node = {} if inner is None else copy.copy(inner)  # a copy: other keys may share it by an alias
    node[_index(node, last, where)] = value


def _index(node: Any, part: str, where: str) -> str | int:
    if isinstance(node, dict):
        return part
    if isinstance(node, list) and re.fullmatch(r"[0-9]{1,9}", part) and int(part) < len(node):
        return int(part)
    raise UserError(f"{where}: the recipe has no {shown(part)} here")
