"""The dataset of `made`, and the command export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made import IDS, PER_CLASS, sample, write_dataset
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.images import Sample, StudyData


@pytest.fixture(scope="session")
def samples(pictogram_data: StudyData) -> list[Sample]:
    return [sample(pictogram_data, label, number) for number in range(PER_CLASS) for label in range(len(IDS))]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    """Eight images of each of IDS, in two shards."""
    return write_dataset(tmp_path_factory.mktemp("made") / "icons", samples)


@pytest.fixture
def run(dataset: Path, tmp_path: Path) -> Callable[..., Result]:
    """Runs genrobust export on the dataset, into ``tmp_path / "out"``."""

    def run(*words: object, source: Path = dataset) -> Result:
        return CliRunner().invoke(app, ["export", str(source), "--out", str(tmp_path / "out"), *map(str, words)])

    return run


@pytest.fixture
def export(run: Callable[..., Result], tmp_path: Path) -> Callable[..., Path]:
    """Exports as `run` does; the folder, beside which nothing is left."""

    def export(*words: object, **source: Path) -> Path:
        done = run(*words, **source)
        assert done.exit_code == 0, done.output
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
        return tmp_path / "out"

    return export
