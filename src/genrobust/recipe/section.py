"""The base of all recipe sections, and what their error messages say.

A section is frozen and refuses unknown keys.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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

LONGEST_NAME = 255  # bytes
MOST_CHARACTERS = 60  # of a value in a message
MOST_MISTAKES = 3  # in a message


class Section(BaseModel):
    """A part of a recipe. It is frozen and refuses unknown keys.

    `file_keys` are keys that a recipe file may have here although the section has no such field.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    file_keys: ClassVar[tuple[str, ...]] = ()

    def differs(self, key: str) -> bool:
        """Return whether a key has another value than its default."""
        default = type(self).model_fields[key].get_default(call_default_factory=True)
        return bool(getattr(self, key) != default)


AnySection = TypeVar("AnySection", bound=Section)


def later_key(default: object) -> Any:
    """Declare a key that was added after a release.

    Its default is left out of hashes, so that the folders of earlier studies keep their names.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


class Choice(Section):
    """A section in which the key `chosen_by` names a member of a registry. The member defines the other keys.

    A member is registered as a subclass with its own keys. Creating or validating the section returns an instance of
    this subclass. A key of another member is an error that names this member.

    `without` are keys of the section that a member does not use.
    """

    chosen_by: ClassVar[str]
    registry: ClassVar[Registry[Any]]
    without: ClassVar[frozenset[str]] = frozenset()

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
        """Return the section with `values`. If they choose another member, it inherits the keys that it has.

        Args:
            where: The name of the section in error messages.
            without: Keys that are not inherited.

        Raises:
            ValueError: A value or a key is wrong.
        """
        union = self._union()
        inherited = {**self.model_dump(exclude=set(without)), **values}
        try:
            keys = union.chosen(inherited).used()
        except ValidationError:
            # The validation below reports the mistake.
            keys = type(self).used()
        applicable = {key: value for key, value in inherited.items() if key in keys or key in values}
        return checked(union, applicable, where)  # type: ignore[return-value]

    @classmethod
    def models(cls) -> dict[str, type[Self]]:
        """Return the models to choose among, each by the text that chooses it, such as "kind objectnet"."""
        return {f"{cls.chosen_by} {name}": member for name, member in cls.registry.members().items()}

    @classmethod
    def _member(cls, registry: Registry[Any], key: str, values: Mapping[str, Any]) -> Any:
        """Return the member of `registry` that the value of `key` names."""
        name = values.get(key, cls.model_fields[key].default)
        if not isinstance(name, str):
            cls._refuse(key, f"give a name, one of {', '.join(registry.names())} (got {shown(name)})", name)
        try:
            return registry.get(name)
        except UserError as error:
            cls._refuse(key, str(error), name)

    @classmethod
    def _refuse(cls, key: str, why: str, value: Any) -> NoReturn:
        """Raise a ValidationError for the `value` of `key`."""
        error = PydanticCustomError("value_error", "{error}", {"error": why})
        raise ValidationError.from_exception_data(cls.__name__, [InitErrorDetails(type=error, loc=(key,), input=value)])

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if key not in self.without}

    @classmethod
    def _is_union(cls) -> bool:
        """Return whether this is the section itself, not one of its members."""
        return "chosen_by" in vars(cls)

    @classmethod
    def _union(cls) -> type[Choice]:
        """Return the section of which this is a member."""
        return next(base for base in cls.__mro__ if issubclass(base, Choice) and base._is_union())

    def __new__(cls, **values: Any) -> Self:
        return super().__new__(cls.chosen(values) if cls._is_union() else cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if cls._is_union():
            return core_schema.no_info_plain_validator_function(cls._validate_member)
        return handler(source)

    @classmethod
    def _validate_member(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"give a mapping of keys (got {shown(value)})")
        model = cls.chosen(value)
        for key in value:
            if key not in model.used():
                cls._require_no_owner(key, value[key], model)
        return model.model_validate(value)

    @classmethod
    def _require_no_owner(cls, key: str, value: Any, model: type[Self]) -> None:
        """Raise a ValidationError if `key`, which `model` does not have, belongs to another model."""
        models = cls.models()
        owners = [choice for choice, other in models.items() if key in other.used()]
        if owners:
            mine = next(choice for choice, other in models.items() if other is model)
            cls._refuse(key, f"this key belongs to {', '.join(owners)}, not to {mine}", value)


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections that a value of this type may be. A `Choice` yields all its members."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if issubclass(annotation, Choice) and annotation._is_union():
            yield from dict.fromkeys(annotation.models().values())
        else:
            yield annotation
    for argument in get_args(annotation):
        yield from sections_in(argument)


def _check_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Check that a recipe file can hold `values`."""
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"give texts, finite numbers, lists and mappings alone ({error})") from None
    return values


def _check_place(value: Any) -> Any:
    if isinstance(value, str) and ("\0" in value or not value.strip()):
        raise ValueError("an empty path: name a folder or a file, or leave the key out")
    if isinstance(value, str | Path):
        names = os.fsencode(value).split(b"/")
        if max(map(len, names)) > LONGEST_NAME:
            raise ValueError(f"a folder or file name of more than {LONGEST_NAME} bytes, which no system allows")
    return located(value) if isinstance(value, str) else value


def short_for(key: str) -> BeforeValidator:
    """Accept a text instead of a section. It is the value of `key`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


PlainValues = Annotated[dict[str, Any], AfterValidator(_check_plain)]  # their keys are checked elsewhere
Place = Annotated[Path, BeforeValidator(_check_place)]  # relative to the recipe file, see `located`


def checked(section: type[AnySection], values: dict[str, Any], where: str) -> AnySection:
    """Validate `values` as a `section`.

    Raises:
        ValueError: The values are wrong. The message is one line with all mistakes.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(explain(error, section, where))) from None


def explain(error: ValidationError, root: type[Section], where: str) -> list[str]:
    """Return one line for each mistake in a `root` section, three lines at most.

    A line is `where`, the key, and the mistake.
    """
    by_key: dict[str, Any] = {}
    for mistake in error.errors(include_url=False):
        by_key.setdefault(_dotted_key(mistake), mistake)
    lines = [f"{where}: {_explain_mistake(mistake, root)}" for mistake in by_key.values()]
    if len(lines) > MOST_MISTAKES:
        first = lines[: MOST_MISTAKES - 1]
        return [*first, f"{where}: and {len(lines) - len(first):,} more mistakes"]
    return lines


def near_or_known(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest of the `known` names for an unknown `name`, or list the known ones."""
    known = list(known)
    return did_you_mean(name, known, f"known here: {some_of(known)}")


def shown(value: Any) -> str:
    """Return `value` for a message: on one line, and cut if it is long."""
    if isinstance(value, str) and not value.isprintable():
        text = ascii(value)
    else:
        text = repr(value)
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[: MOST_CHARACTERS - 4]} ..."


def _explain_mistake(error: dict[str, Any], root: type[Section]) -> str:
    path = _dotted_key(error)
    if error["type"] == "extra_forbidden":
        return f"unknown key {path}; {_suggest_key(error['loc'], root)}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list, as in [0, 1]")
    message = re.sub(r"a valid dictionary.*", "a mapping, as in {key: value}", message)
    message = message[:1].lower() + message[1:]
    if path:
        message = f"{path}: {message}"
    if error["type"] not in {"missing", "value_error"}:
        message += f" (got {shown(error['input'])})"
    if error["type"] == "string_type":
        message += ": put a text that looks like something else in quotes"
    return message


def _suggest_key(loc: Sequence[str | int], root: type[Section]) -> str:
    """Suggest a key for the unknown key at `loc` in a `root` section: a near one there, or one of another section."""
    *parents, word = loc
    here: list[type[Section]] = [root]
    for key in parents:
        here = _sections_at(here, key)
    # The word itself is a known key if it is one of `file_keys` and no file is read.
    known = {text: key for text, key in _spellings(here).items() if key != word}
    key, colon, value = str(word).partition(":")
    if colon and key in known.values():
        return f"write a space after the colon: {{{key}: {value}}}"
    near = get_close_matches(str(word).lower(), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {known[near[0]]}?"
    elsewhere = _keys_elsewhere(root, here)
    near = get_close_matches(str(word).lower(), elsewhere, n=1, cutoff=0.8)
    if near:
        return f"did you mean {elsewhere[near[0]]}?"
    return f"known here: {some_of(dict.fromkeys(known.values()))}"


def _keys_elsewhere(root: type[Section], here: Collection[type[Section]]) -> dict[str, str]:
    """Return the keys of the sections directly below `root`, except the sections `here`, by their spellings."""
    found: dict[str, str] = {}
    # The section train has most keys, so its keys go last and win over keys of the same name.
    for section_key in (*reversed(root.model_fields), "train"):
        others = [other for other in _sections_at([root], section_key) if other not in (root, *here)]
        for text, key in _spellings(others).items():
            found[text] = f"{section_key}.{key}"
    return found


def _spellings(sections: Iterable[type[Section]]) -> dict[str, str]:
    """Return the keys of `sections`, by themselves and by their initials, such as lr."""
    keys = [key for section in sections for key in (*section.model_fields, *section.file_keys)]
    initials = {}
    for key in reversed(keys):
        if "_" in key:
            initials["".join(part[0] for part in key.split("_"))] = key
    return {key: key for key in keys} | initials


def _dotted_key(error: Any) -> str:
    """Return the key of a mistake, without marks of pydantic such as ``[key]`` and ``dict[...]``."""
    places = [str(part) for part in error["loc"]]
    parts = [part[:MOST_CHARACTERS] for part in places if "[" not in part]
    # The last place of an unknown key is this key, as the user wrote it.
    if error["type"] == "extra_forbidden" and "[" in places[-1]:
        parts.append(places[-1][:MOST_CHARACTERS])
    return ".".join(part if part.isprintable() else ascii(part) for part in parts)


def _sections_at(sections: list[type[Section]], key: str | int) -> list[type[Section]]:
    """Return the sections that may be at `key` of `sections`.

    They stay the same for an index of a list, or a name in a mapping.
    """
    found: dict[type[Section], None] = {}
    for section in sections:
        if key in section.model_fields:
            found |= dict.fromkeys(sections_in(section.model_fields[str(key)].annotation))
    return list(found) or sections


def merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `other`. Mappings that both have are merged in turn."""
    result = {**base, **other}
    for key, value in other.items():
        own = base.get(key)
        if isinstance(value, dict) and isinstance(own, dict):
            result[key] = merged(own, value)
    return result


def set_value(raw: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the dotted `key` of a raw recipe. A number in the key is an index of a list.

    Args:
        where: The start of error messages, such as the option as the user typed it.

    Raises:
        UserError: The recipe has no place for such a key.
    """
    *parents, last = key.split(".")
    node: Any = raw
    for part in parents:
        place = _place_in(node, part, key, where)
        inner = node.get(place) if isinstance(node, dict) else node[place]
        # A copy, because an alias of YAML may share the value with other keys.
        node[place] = {} if inner is None else copy.copy(inner)
        node = node[place]
    node[_place_in(node, last, key, where)] = value


def _place_in(node: Any, part: str, key: str, where: str) -> str | int:
    """Return the key of a mapping, or the index of a list, that the `part` of a dotted `key` means in `node`."""
    if isinstance(node, dict):
        # A name of the user's own may have brackets, but then it is there.
        if not part or (part not in node and re.search(r"\[\d+\]$", part)):
            raise UserError(f"{where}: write one dot before each key and index: {_with_dots(key)}")
        return part
    if not isinstance(node, list):
        raise UserError(f"{where}: the recipe has no {shown(part)} here, but the value {shown(node)}")
    if re.fullmatch(r"[0-9]{1,9}", part) and int(part) < len(node):
        return int(part)
    if not node:
        raise UserError(f"{where}: the recipe has no {shown(part)} here: the list is empty")
    raise UserError(f"{where}: the recipe has no {shown(part)} here: write an index from 0 to {len(node) - 1}")


def _with_dots(key: str) -> str:
    """Return `key` with one dot between its parts: "arms[0].name" and "arms..0.name" become "arms.0.name"."""
    parts = re.sub(r"\[(\d+)\]", r".\1", key).split(".")
    return ".".join(filter(None, parts)) or "train.steps"
