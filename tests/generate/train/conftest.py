"""A tiny base, and undisturbed trainings of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_training import KINDS, run
from tiny import stable_diffusion


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator; its UNet, but no other part, in half precision on disk."""
    folder = tmp_path_factory.mktemp("base")
    pipeline = stable_diffusion()
    pipeline.unet.half()
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Undisturbed trainings, by kind."""
    return {kind: run(base, tmp_path_factory.mktemp("trained") / kind, kind) for kind in KINDS}
