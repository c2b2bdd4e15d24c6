"""YAML as plain values: no tag, no repeated key, no bomb of aliases; a key is the text that is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from genrobust.core.errors import UserError

LARGEST_YAML = 4_000_000  # bytes: the names of 20,000 classes take half a million
DEEPEST = 40  # levels of lists and mappings: a recipe has six
MOST = 200_000  # values, where those of an alias count each time
LONGEST = 40  # characters of a number, and of what a message repeats
_PREFIX = "tag:yaml.org,2002:"
_TEXTS = ("str", "timestamp", "merge", "value")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")  # for YAML 1.1, and decimal for people
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str | bytes, source: str) -> Any:
    """Parse a YAML document into dictionaries, lists, texts, numbers, booleans and None.

    Numbers, booleans and null are those of YAML 1.1. Dates, times of day and everything in quotes are texts, and so is
    every key, as it is written. Aliases give copies.

    Args:
        source: What `text` is, for messages.

    Raises:
        UserError: The text is no YAML or not UTF-8, or holds several documents, a tag, a key twice, a number that is
            not finite, or more than the limits of this module. The message names the line.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        size = len(text.encode())
    except UnicodeError:
        raise UserError(f"{source} is no text in UTF-8: save it in that encoding") from None
    if size > LARGEST_YAML:
        raise UserError(f"{source} has {size:,} bytes; YAML of up to {LARGEST_YAML:,} is read")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _value(loader, node, iter(range(MOST)), 0)
    except _Refused as error:
        raise UserError(f"{source}, {error}") from None
    except yaml.YAMLError as error:
        mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        if mark and text[mark.index : mark.index + 1] == "\t":
            why = "a tab stands where YAML takes spaces alone: replace it with spaces"
        raise UserError(f"{source} is not valid YAML{place}: {why or str(error).splitlines()[0]}") from None
    except RecursionError:
        raise UserError(f"{source} is not valid YAML: it is nested too deeply") from None


class _Refused(Exception):
    """YAML that is valid, and not read."""

    def __init__(self, why: str, node: yaml.Node) -> None:
        super().__init__(f"line {node.start_mark.line + 1}: {why}")


def _value(loader: Any, node: yaml.Node, left: Iterator[int], depth: int) -> Any:
    """Return the value of `node`, where aliases are visited again; `left` ends after as many values as are allowed."""
    if next(left, None) is None:
        raise _Refused(f"it has more than {MOST:,} values, where those of an alias count each time", node)
    if depth > DEEPEST:
        raise _Refused(f"it is nested deeper than {DEEPEST} levels", node)
    kind = node.tag.removeprefix(_PREFIX)
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(loader, node, left, depth + 1)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_value(loader, inner, left, depth + 1) for inner in node.value]
    if not isinstance(node, yaml.ScalarNode) or kind not in (*_TEXTS, "null", "bool", "int", "float"):
        raise _Refused(f"the tag {node.tag.replace(_PREFIX, '!!')[:LONGEST]!a} is not read: remove it", node)
    text: str = node.value
    if kind in _TEXTS or (kind == "int" and ":" in text):  # a time of day is a number for YAML 1.1
        return text
    if kind == "int" and _OCTAL.fullmatch(text):
        raise _Refused(f"{text[:LONGEST]} begins with 0: put it in quotes if it is a text", node)
    if kind in ("int", "float") and len(text) > LONGEST:
        raise _Refused(f"a number of {len(text):,} digits: at most {LONGEST} are read", node)
    try:
        value = getattr(loader, f"construct_yaml_{kind}")(node)
    except (ValueError, LookupError):  # of a tag that does not fit, as in !!int x
        raise _Refused(f"{text[:LONGEST]!a} is no {kind}", node) from None
    if kind == "float" and not math.isfinite(value):
        raise _Refused(f"{text} is no number: give a finite one, or put a text in quotes", node)
    return value


def _mapping(loader: Any, node: yaml.MappingNode, left: Iterator[int], depth: int) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    merged: dict[str, Any] | None = None
    for key, inner in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused("a key is a text, not a list or a mapping", key)
        if key.value in mapping:
            raise _Refused(f"the key {key.value[:LONGEST]!a} occurs twice: remove one of them", key)
        mapping[key.value] = value = _value(loader, inner, left, depth)
        if key.tag == f"{_PREFIX}merge":
            merged = merged or {}
            for other in value if isinstance(value, list) else [value]:
                if not isinstance(other, dict):
                    raise _Refused("<< takes a mapping, such as *name, or a list of them", key)
                merged = other | merged
    if merged is not None:
        del mapping["<<"]
    return (merged or {}) | mapping
