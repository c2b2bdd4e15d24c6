"""Commands as a user types them, in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from genrobust.cli import app


@pytest.fixture
def genrobust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nthreads: 1\ngenerate: {per_class: 2}\n"
        "train: {architecture: test_resnet, image_size: 32, batch_size: 8, precision: float32}\narms:\n"
        "  - {name: real, mixture: real}\n  - {name: '[odd]', mixture: generated}\n"
    )
    return path
