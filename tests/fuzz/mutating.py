"""Inputs for fuzz targets, drawn by hypothesis so that failures shrink and come again: changed bytes, changed JSON."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterator
from typing import Any

from hostile_files import sealed
from hypothesis import strategies as st

NUMBERS = [0, 1, 255, 256, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]  # where programs count wrongly
WORDS = [*["a", "nan", "1e999", "null", "../", "/"], "", '"', "9" * 400, "\0", "\n", "\x1b[31m", "\ufeff", "[" * 500]
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([*NUMBERS, -1, 10**40, 0.5, 1e308, float("nan"), float("inf")]),
    st.sampled_from(WORDS),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["", "a", "name"]), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed_bytes(draw: st.DrawFn, seed: bytes) -> bytes:
    """`seed` with some changes: bits flipped, parts cut, repeated, or replaced by numbers or words."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        # two draws: hypothesis prefers the small ones of a large range, which are all in the file's header
        at = len(content) * draw(st.integers(0, 255)) // 256 + draw(st.integers(0, len(content) // 256))
        length = draw(st.sampled_from([1, 2, 4, 8, 16, 64, 512]))
        how = draw(st.sampled_from(["flip", "cut", "end", "repeat", "number", "word"]))
        if how == "flip" and at < len(content):
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del content[at : at + length]
        elif how == "end":
            del content[at:]
        elif how == "repeat":
            content[at:at] = content[at : at + length] * draw(st.sampled_from([1, 2, 50]))
        elif how == "number":
            layout = draw(st.sampled_from(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"]))
            size = struct.calcsize(layout)
            content[at : at + size] = struct.pack(layout, draw(st.sampled_from(NUMBERS)) % 256**size)
        else:
            content[at : at + length] = draw(st.sampled_from(WORDS)).encode()
    return bytes(content)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def changed_json(draw: st.DrawFn, seed: bytes) -> bytes:
    """The JSON `seed` with values replaced, removed, added or repeated; sealed again where it was sealed."""
    value = json.loads(seed)
    had_seal = isinstance(value, dict) and value.pop("sha256", None) is not None
    for _ in range(draw(st.integers(1, 2))):
        *parents, last = draw(st.sampled_from([path for path in places(value) if path] or [(None,)]))
        node = value
        for key in parents:
            node = node[key]
        how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "add", "whole"]))
        if how == "whole" or last is None:
            value = draw(VALUES)
            break
        if how == "remove":
            del node[last]
        elif how == "replace":
            node[last] = draw(VALUES)
        elif isinstance(node, dict):
            node[draw(st.sampled_from(["", "x", "name", "__class__", str(last).upper()]))] = draw(VALUES)
        else:
            node.insert(0, copy.deepcopy(node[last]))
    if had_seal and isinstance(value, dict):
        try:
            return sealed(value)
        except ValueError:  # not a number, which no sealed JSON holds
            pass
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
