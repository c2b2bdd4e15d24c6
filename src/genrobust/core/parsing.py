"""YAML 1.2 and JSON as plain values. A key that occurs twice is an error."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import yaml

from genrobust.core.errors import UserError

# How many values anchors may add to a document. More make a file of a few lines fill the memory.
REPEATED = 100_000
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
        _Check().check(node)
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


class _Check:
    """The check of a document before its values are built. An anchor makes one node the child of several."""

    def __init__(self) -> None:
        # Values in each node, anchors written out. None while the node is checked.
        self._sizes: dict[int, int | None] = {}
        self._repeated = 0

    def check(self, node: yaml.Node) -> int:
        """Make the keys of `node` texts, and return how many values it has, anchors written out.

        Raises:
            MarkedYAMLError: A key occurs twice or is no text, or an anchor contains itself or repeats too much.
        """
        if not isinstance(node, yaml.CollectionNode):
            return 1
        if id(node) in self._sizes:
            return self._repeat(node)
        self._sizes[id(node)] = None
        children = node.value
        if isinstance(node, yaml.MappingNode):
            _make_keys_texts(node)
            children = [child for _, child in node.value]
        size = 1 + sum(map(self.check, children))
        self._sizes[id(node)] = size
        return size

    def _repeat(self, node: yaml.Node) -> int:
        size = self._sizes[id(node)]
        if size is None:
            raise _mistake(node, "an anchor contains itself: write out what is meant")
        self._repeated += size
        if self._repeated > REPEATED:
            raise _mistake(node, f"anchors repeat more than {REPEATED:,} values: write out what is meant")
        return size


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
