"""A sealed JSON comes back as it was written, or not at all."""

import json
import random

import pytest

from genrobust.core.sealing import sealed, unsealed

VALUE = {"name": "größe", "shards": 3, "rates": {"train": 1.5, "9": 0.1}, "steps": (1, 2), "none": None, "on": True}


def test_a_value_comes_back() -> None:
    assert unsealed(sealed(VALUE)) == {**VALUE, "steps": [1, 2]}
    assert sealed(VALUE) == sealed(VALUE)


def test_no_flipped_bit_changes_the_value() -> None:
    text, flips = sealed(VALUE), random.Random(0)
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= 1 << flips.randrange(8)
        try:
            found = unsealed(bytes(changed))
        except ValueError:
            continue
        assert found == unsealed(text)  # such as a blank that became another kind of blank


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[1, 2]",
        b"\xff\xfe",
        b"{}",
        json.dumps(VALUE).encode(),
        sealed({"a": 1}).replace(b"{", b'{"a": 2,', 1),
        b'{"a": NaN, "sha256": ""}',
        b"[" * 100_000,
    ],
    ids=["nothing", "a list", "no text", "no seal", "not sealed", "a key twice", "not a number", "deep"],
)
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        unsealed(text)


@pytest.mark.parametrize("value", [{"rate": float("nan")}, {"rate": float("inf")}, {"sha256": ""}])
def test_what_could_not_be_read_again_is_not_written(value: dict) -> None:
    with pytest.raises(ValueError):
        sealed(value)
