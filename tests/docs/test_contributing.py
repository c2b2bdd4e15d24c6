"""The examples for packages that add to genrobust do what the page says, and its folders exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import DOCS

import genrobust
from genrobust.data.reader import ShiftReader
from genrobust.robustness.answers import Answers

PAGE = (DOCS / "contributing.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->.*?^```python\n(.*?)^```$", PAGE, flags=re.M | re.S))


def run(kind: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(EXAMPLES[kind], scope)
    return scope


def test_the_figure_is_zero_for_certain_and_correct_answers_and_two_for_certain_wrong_ones() -> None:
    right = np.eye(3, dtype=bool)[[0, 1, 2, 0]]
    logits = np.where(right, 100.0, 0.0).astype(np.float32)
    logits[3] = [0, 100, 0]
    assert run("figure")["Brier"]("brier").of_images(Answers(logits, right)).tolist() == pytest.approx([0, 0, 0, 2])


def test_the_augmentation_inverts_half_of_the_images() -> None:
    policy = run("augmentation")["inverted"]((255, 255, 255))
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    torch.manual_seed(0)
    assert {int(policy(image).max()) for _ in range(20)} == {0, 255}


def test_the_reader_is_one() -> None:
    assert isinstance(run("reader")["night"], ShiftReader)


def test_the_folders_of_what_can_be_added_exist() -> None:
    folders = set(re.findall(r"^\| .*? \| `([\w/]+)/NAME\.py`", PAGE, flags=re.M))
    assert len(folders) >= 6
    missing = {folder for folder in folders if not (Path(genrobust.__file__).parent / folder).is_dir()}
    assert missing == set()
