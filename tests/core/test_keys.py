"""Ids of classes, and the names of files: no two texts share one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from genrobust.core import DEVICES, file_name, slug
from genrobust.store import hash_folder

TEXTS = st.text(st.sampled_from("aAbB-_ ./\\1é\0\u0301\ud800")) | st.text()


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("sketch", "sketch"),
        ("n01440764", "n01440764"),
        ("Golden Retriever", "golden-retriever"),
        ("a_b", "a_b"),
        ("--a--", "a"),
        ("a" * 200, "a" * 200),
        ("鍵", "class-4dbb4c"),
        ("clé", "cl-f78084"),
    ],
)
def test_ids_are_those_of_earlier_versions(text: str, id: str) -> None:
    assert slug(text) == id


@pytest.mark.parametrize(
    "texts",
    [
        ("sketch", "Sketch", "SKETCH", "sketch ", " sketch", "sketch.", "sketch-", "-sketch", "skétch", "ske\u0301tch"),
        ("a b", "a-b", "a_b", "a.b", "a/b", "a\\b", "a:b", "a\tb", "a  b"),
        ("..", ".", "...", "/", "../..", "-", " "),
        ("con", "CON", "con-", "nul", "nul.txt"),
        ("é", "e\u0301", "鍵", "键", "\ud800", "\ud801"),
        ("a" * 200, "a" * 201, "a" * 5000, "A" * 5000),
    ],
)
def test_texts_that_look_alike_have_files_of_their_own(texts: tuple[str, ...]) -> None:
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(names)


@given(TEXTS.filter(bool))
def test_any_text_names_one_file_in_the_folder_itself(text: str) -> None:
    name = file_name(text)
    assert name == name.lower() and name.isascii() and len(name) < 220
    assert not set(name) & set('/\\:*?"<>| \0') and name[0] not in ".-" and name[-1] not in ". "
    assert name.partition(".")[0] not in DEVICES


@given(st.text(st.sampled_from("abcxyz0189_"), min_size=1))
def test_a_plain_text_names_its_own_file(text: str) -> None:
    assert slug(text) == text
    assert text in DEVICES or file_name(text) == text


def test_a_file_that_was_replaced_by_one_of_its_date_is_read_again(tmp_path: Path) -> None:
    """As copies are that keep the dates of files."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"old")
    os.utime(file, (1e9, 1e9))
    first = hash_folder(tmp_path)
    file.write_bytes(b"newer")
    os.utime(file, (1e9, 1e9))
    assert hash_folder(tmp_path) != first
