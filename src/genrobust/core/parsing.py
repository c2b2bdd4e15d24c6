"""YAML 1.2 and JSON as plain values. A key that occurs twice is an error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from genrobust.core.errors import UserError

# The most values in a document, anchors written out: with anchors, a file of a few lines could fill the memory.
MOST_VALUES = 1_000_000
_TAG = "tag:yaml.org,2002:"
# PyYAML reads these as YAML 1.1 does: 010 is 8, 1:30 is 90, and no is false.
_OTHER_IN_YAML_1_1 = ("bool", "int", "float", "timestamp")
# Not ruamel.yaml: of YAML 1.2, too, it reads dates and 010 as something else than texts, and takes four times as long.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """Loads plain values as YAML 1.2 does, except that 010, 1:30 and dates are texts, such as names of folders."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in the base)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG) not in _OTHER_IN_YAML_1_1]
        for first, resolvers in _Safe.yaml_implicit_resolvers.items()
    }


_INT = r"[-+]?(0|[1-9][\d_]*|0x[\da-fA-F]+)$"
_EXPONENT = r"[eE][-+]?\d{1,3}"
_FLOAT = rf"([-+]?((\d[\d_]*\.\d*|\.\d+)({_EXPONENT})?|\d+{_EXPONENT}|\.(inf|Inf|INF))|\.(nan|NaN|NAN))$"
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(_INT, re.ASCII), list("+-0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(_FLOAT, re.ASCII), list("+-.0123456789"))


def parse_yaml(text: str | bytes, source: str) -> Any:
    """Parse a YAML document. Every key is the text that is written, such as ``no`` or ``007``."""
    try:
        loader = _Loader(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, iter(range(MOST_VALUES)))
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{source} is not valid YAML{where}: {problem}") from None
    except RecursionError:
        raise UserError(f"{source} is not valid YAML: it is nested too deeply") from None
    except UnicodeDecodeError:
        raise UserError(f"{source} is no text in UTF-8: save it in that encoding") from None
    # A number has too many digits.
    except ValueError as error:
        raise UserError(f"{source} is not valid YAML: {error}") from None


def _check(node: yaml.Node, left: Iterator[int]) -> None:
    """Make the keys of a document texts, before its values are built.

    Args:
        left: Has an item for each value that the document may still have, anchors written out.

    Raises:
        MarkedYAMLError: A key occurs twice or is no text, or there are too many values.
    """
    if next(left, None) is None:
        raise _mistake(node, f"anchors repeat more than {MOST_VALUES:,} values: write out what is meant")
    if isinstance(node, yaml.MappingNode):
        _make_keys_texts(node)
        for _, child in node.value:
            _check(child, left)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check(child, left)


def _make_keys_texts(node: yaml.MappingNode) -> None:
    """Tag the keys of a mapping as texts, except for merge keys."""
    written = set[str]()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _mistake(key, "a key is a text, and this is a list or a mapping: put what begins with {{ in quotes")
        if key.value in written:
            raise _mistake(key, f"the key {key.value!a} occurs twice: remove one of them")
        written.add(key.value)
        if key.tag != f"{_TAG}merge":
            key.tag = f"{_TAG}str"


def _mistake(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON document.

    Raises:
        ValueError: The text is not JSON, or has a key twice, NaN or Infinity.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key occurs twice: {max(names, key=names.count)!a}")
    return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
