"""The name of a study whose recipe was changed by ``--set``: it says how the recipe differs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from genrobust.core import digest, mask_secrets

NO_RESULT = {*((key,) for key in ("name", "title", "question", "device", "track", "execute", "tune")), ("data", "root")}
LONGEST_CHANGE, LONGEST_VARIED = 60, 160  # characters of a change, and bytes of a name
_KEY = re.compile(r"[a-z0-9_-]+(?: [a-z0-9_-]+)*")
_WORD = re.compile(r"[a-z](?:[a-z0-9_.+ -]*[a-z0-9_+-])?")  # without "=", so that a name can be read in one way alone
_MISSING = object()
Key = tuple[str, ...]  # the parts of a dotted key
Values = Mapping[str, Any]


def varied_name(raw: Values, varied_raw: Values, values: Values, varied: Values) -> str:
    """Return the name of the study `varied`: that of its recipe, and ``+key=value`` for each change, in sorted order.

    Long and odd changes are shortened and end in ``~`` and a hash, so that other changes give another name, on file
    systems that ignore case too.

    Args:
        raw: The recipe before ``--set``, as YAML has it, and `varied_raw` after it.
        values: All values of the recipe before ``--set``, or `raw` where it is not complete; `varied` after it.
    """
    changes = _changes(raw, varied_raw, values, varied) if any(_differences(values, varied)) else {}
    name = "+".join([varied["name"], *(_change(key, value) for key, value in sorted(changes.items()))])
    if not changes or len(name.encode()) <= LONGEST_VARIED:
        return name
    cut = name.encode()[: LONGEST_VARIED - 9].decode(errors="ignore").rstrip(". ")
    return f"{cut}~{digest(name, 8)}"


def _changes(raw: Values, varied_raw: Values, values: Values, varied: Values) -> dict[Key, Any]:
    """Return the values that were set, by key, without those that the recipe had already or that it has by default."""
    changes = dict(_differences(raw, varied_raw))
    pairs = {key: (_value_at(values, key), _value_at(varied, key)) for key in changes}
    real = {key for key, (before, after) in pairs.items() if after is _MISSING or before != after}
    return {key: _normalized(changes[key], pairs[key][1]) for key in real or changes}


def _differences(before: Any, after: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the key and the new value of each difference that can change results.

    Mappings are compared by their keys, and lists of mappings of the same length by their places.
    """
    if key in NO_RESULT:
        return
    if isinstance(after, Mapping) and (isinstance(before, Mapping) or (before is None and after)):
        for part in {**(before or {}), **after}:
            yield from _differences((before or {}).get(part), after.get(part), (*key, part))
    elif _are_sections(before) and _are_sections(after) and len(before) == len(after):
        for place, pair in enumerate(zip(before, after, strict=True)):
            yield from _differences(*pair, (*key, str(place)))
    elif before != after:
        yield key, after


def _are_sections(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(section, Mapping) for section in value)


def _value_at(values: Any, key: Key) -> Any:
    for part in key:
        if isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        elif isinstance(values, Mapping) and part in values:
            values = values[part]
        else:
            return _MISSING
    return values


def _normalized(given: Any, value: Any) -> Any:
    """Return the `value` that the recipe has for what was `given`; what was given if that is short for a section."""
    is_short = isinstance(value, list | dict) and not isinstance(given, list | dict)
    return given if is_short or value is _MISSING else value


def _change(key: Key, value: Any) -> str:
    dotted, text = ".".join(key), _plain_text(value)
    if text is not None and all(map(_KEY.fullmatch, key)) and len(dotted) + len(text) < LONGEST_CHANGE:
        return f"{dotted}={text}"
    text = mask_secrets(value if isinstance(value, str) else json.dumps(_without_nulls(value)))
    dotted, text = (re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-") for part in (dotted, text))
    return f"{f'{dotted}={text}'[:LONGEST_CHANGE].rstrip('=-.')}~{digest([key, value], 6)}"


def _plain_text(value: Any) -> str | None:
    """Return `value` as ``--set`` takes it, None where that would not be plain text or another value's text too."""
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) and value not in ("null", "true", "false") else None
    if isinstance(value, list):
        texts = [_plain_text(entry) for entry in value]
        return None if None in texts else f"[{','.join(map(str, texts))}]"
    return None if isinstance(value, Mapping) else json.dumps(value)


def _without_nulls(value: Any) -> Any:
    """Return `value` without what is null in its mappings."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(entry) for entry in value] if isinstance(value, list) else value
