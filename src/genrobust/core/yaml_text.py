"""YAML as plain values: no tag, no repeated key, no bomb of aliases; a key is the text that is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml

from genrobust.core.errors import UserError

LARGEST_YAML = 4_000_000  # bytes: the names of 20,000 classes take half a million
DEEPEST = 40  # levels of lists and mappings: a recipe has six
MOST = 200_000  # values, where those of an alias count each time
LONGEST_NUMBER = 40  # characters
LONGEST_SHOWN = 80  # characters of a text, in a message
TEXT = ("!", "tag:yaml.org,2002:str")  # the tags that are read: what they mark is a text
WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None}
WORDS |= dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(("false", "no", "off"), False)
WORDS |= {spelled: value for word, value in WORDS.items() for spelled in (word.capitalize(), word.upper())}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]*[0-9a-fA-F]|0b[01_]*[01])")
_ZEROS = re.compile(r"[-+]?0[0-9_]*[0-9]")  # octal for YAML 1.1, decimal for people
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def parse_yaml(text: str | bytes, what: str) -> Any:
    """Parse a YAML document into dictionaries, lists, texts, numbers, booleans and None.

    Numbers, booleans and null are those of YAML 1.1. Dates, times of day and everything in quotes are texts, and so is
    every key, as it is written. Aliases give copies.

    Args:
        what: What `text` is, for messages.

    Raises:
        UserError: The text is no YAML or not UTF-8, or holds several documents, a tag, a key twice, a number that is
            not finite, or more than the limits of this module. The message names the line.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        size = len(text.encode())
    except UnicodeError:
        raise UserError(f"{what} is no text in UTF-8: save it in that encoding") from None
    if size > LARGEST_YAML:
        raise UserError(f"{what} has {size:,} bytes; YAML of up to {LARGEST_YAML:,} is read")
    try:
        return _Parser(yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))).document()
    except _Refused as error:
        raise UserError(f"{what}, line {error.line}: {error.key and f'{error.key}: '}{error}") from None
    except yaml.YAMLError as error:
        mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f" (line {mark.line + 1})" if mark else ""
        raise UserError(f"{what} is not valid YAML{place}: {why or str(error).splitlines()[0]}") from None


class _Refused(Exception):
    """YAML that is valid, and not read: why, in which line, and below which key."""

    key = ""

    def __init__(self, why: str, event: Any) -> None:
        super().__init__(why)
        self.line = event.start_mark.line + 1


class _Parser:
    """Builds values from events: nothing is made before its size and depth are known."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._count = 0
        self._anchors: dict[str, tuple[Any, int]] = {}  # with the number of values in each

    def document(self) -> Any:
        value = None
        for number, event in enumerate(e for e in self._events if isinstance(e, yaml.DocumentStartEvent)):
            if number:
                raise _Refused("a second document begins; only one is read: remove the line ---", event)
            value = self._value(next(self._events), 0)
        return value

    def _value(self, event: Any, depth: int) -> Any:
        before = self._count
        self._grow(1, event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _Refused(f"the alias *{str(event.anchor)[:LONGEST_SHOWN]} refers to no anchor before it", event)
            value, size = self._anchors[event.anchor]
            self._grow(size, event)
            return deepcopy(value)
        if depth == DEEPEST:
            raise _Refused(f"it is nested deeper than {DEEPEST} levels", event)
        if event.tag not in (None, *TEXT) or (event.tag and not isinstance(event, yaml.ScalarEvent)):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:LONGEST_SHOWN]
            raise _Refused(f"the tag {tag!r} is not read: remove it", event)
        if isinstance(event, yaml.SequenceStartEvent):
            value = [self._value(inner, depth + 1) for inner in self._until(yaml.SequenceEndEvent)]
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(depth + 1)
        else:
            value = event.value if event.tag or event.style else _plain(event.value, event)
        if event.anchor:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        merges = False
        for key in self._until(yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise _Refused("a key is a text, not a list, a mapping or an alias", key)
            try:
                value = self._value(next(self._events), depth)
            except _Refused as error:
                shown = key.value[:LONGEST_SHOWN] if key.value.isprintable() else ascii(key.value[:LONGEST_SHOWN])
                error.key = f"{shown}.{error.key}"[:LONGEST_SHOWN].rstrip(".")
                raise
            if key.value in found:
                raise _Refused(f"the key {key.value[:LONGEST_SHOWN]!r} occurs twice: remove one of them", key)
            found[key.value] = value
            if key.value == "<<" and not key.style:
                merges = True
                for other in value if isinstance(value, list) else [value]:
                    if not isinstance(other, dict):
                        raise _Refused("<< takes a mapping, such as *name, or a list of them", key)
                    merged = other | merged
        if merges:
            del found["<<"]
        return merged | found

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _grow(self, size: int, event: Any) -> None:
        self._count += size
        if self._count > MOST:
            raise _Refused(f"it has more than {MOST:,} values, where those of an alias count each time", event)


def _plain(text: str, event: Any) -> Any:
    """The value of a scalar without quotes."""
    if text in WORDS:
        return WORDS[text]
    if _ZEROS.fullmatch(text):
        raise _Refused(f"{text[:LONGEST_NUMBER]} begins with 0: put it in quotes if it is a text", event)
    kind = int if _INTEGER.fullmatch(text) else float if _FLOAT.fullmatch(text) else None
    if kind is None:
        if _NOT_FINITE.fullmatch(text):
            raise _Refused(f"{text} is no number: give a finite one, or put a text in quotes", event)
        return text
    if len(text) > LONGEST_NUMBER:
        raise _Refused(f"a number of {len(text):,} digits: at most {LONGEST_NUMBER} are read", event)
    value = float(text.replace("_", "")) if kind is float else int(text.replace("_", ""), 0)
    if not math.isfinite(value):
        raise _Refused(f"{text} is too large for a number", event)
    return value
