"""YAML and JSON as plain values; a key that occurs twice is an error."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import yaml

from genrobust.core.errors import UserError

_TAG = "tag:yaml.org,2002:"
_NOT_AS_YAML_1_1 = ("int", "float", "timestamp")
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """Loads plain values. Only what is plainly a number is one: 1e-3 is, as in YAML 1.2; 010, 1:30 and dates are texts.

    YAML 1.1 reads 010 as 8 and 1:30 as 90.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in the base)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG) not in _NOT_AS_YAML_1_1]
        for first, resolvers in _Safe.yaml_implicit_resolvers.items()
    }


for _kind, _pattern in (
    ("int", r"[-+]?(0|[1-9][\d_]*|0x[\da-fA-F]+)$"),
    (
        "float",
        r"([-+]?((\d[\d_]*\.\d*|\.\d+)([eE][-+]?\d{1,3})?|\d+[eE][-+]?\d{1,3}|\.(inf|Inf|INF))|\.(nan|NaN|NAN))$",
    ),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern, re.ASCII), list("+-.0123456789"))


def parse_yaml(text: str | bytes, source: str) -> Any:
    """Parse a YAML document; every key is the text that is written, such as ``no`` or ``007``.

    Args:
        source: What `text` is, for messages.

    Raises:
        UserError: The text is no YAML or not UTF-8, or holds a tag that runs code or a key twice.
    """
    try:
        loader = _Loader(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
        node = loader.get_single_node()
        _check_keys(node, set())
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise UserError(f"{source} is not valid YAML{where}: {problem or str(error).splitlines()[0]}") from None
    except RecursionError:
        raise UserError(f"{source} is not valid YAML: it is nested too deeply") from None
    except UnicodeDecodeError:
        raise UserError(f"{source} is no text in UTF-8: save it in that encoding") from None
    except ValueError as error:  # a number of too many digits
        raise UserError(f"{source} is not valid YAML: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON document.

    Raises:
        ValueError: It is no JSON, or holds a key twice, NaN or Infinity.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _check_keys(node: yaml.Node | None, seen: set[int]) -> None:
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    written = set[str]()
    for child in node.value:
        if isinstance(node, yaml.MappingNode):
            key, child = child
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key is a text, and this is a list or a mapping: put what begins with {{ in quotes"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.value in written:
                problem = f"the key {key.value!a} occurs twice: remove one of them"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
            written.add(key.value)
        _check_keys(child, seen)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key occurs twice: {max(names, key=names.count)!a}")
    return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
