"""The dataset of `made`, and the command export."""

import pytest
from made import IDS, PER_CLASS, sample, write_dataset
from typer.testing import CliRunner

from genrobust.cli import app


@pytest.fixture(scope="session")
def samples(pictogram_data):
    return [sample(pictogram_data, label, number) for number in range(PER_CLASS) for label in range(len(IDS))]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, samples):
    """Eight images of each of IDS, in two shards."""
    return write_dataset(tmp_path_factory.mktemp("made") / "icons", samples)


@pytest.fixture
def run(dataset, tmp_path):
    """Runs genrobust export on the dataset, into ``tmp_path / "out"``."""

    def run(*words, source=dataset):
        return CliRunner().invoke(app, ["export", str(source), "--out", str(tmp_path / "out"), *map(str, words)])

    return run


@pytest.fixture
def export(run, tmp_path):
    """Exports as `run` does; the folder, beside which nothing is left."""

    def export(*words, **source):
        done = run(*words, **source)
        assert done.exit_code == 0, done.output
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
        return tmp_path / "out"

    return export
