"""Another package adds an engine, and what is said of one that does not fit."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from drawn import CPU, generate, pixels
from typer.testing import CliRunner

from genrobust.cli import app
from genrobust.core.errors import UserError
from genrobust.generate.engine import ENGINES, engine_of, identity, weights_bytes
from genrobust.recipe.generate import GenerateConfig, GeneratorConfig

PAGE = (Path(__file__).parents[2] / "docs" / "generators.md").read_text(encoding="utf-8")
(SQUARES,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)  # the page's own example
POINTS = {"squares": "squares:Squares", "function": "squares:np", "absent": "squares:Absent"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package `squares`, as pip installs it."""
    (tmp_path / "squares.py").write_text(SQUARES)
    about = tmp_path / "squares-3.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: squares\nVersion: 3.1\n")
    lines = [f"{name} = {value}" for name, value in POINTS.items()]
    (about / "entry_points.txt").write_text("\n".join(["[genrobust.engines]", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ENGINES, "_plugins", None)  # it was asked before the package was there
    yield tmp_path
    sys.modules.pop("squares", None)


def section(engine="squares", **more):
    return GeneratorConfig(engine=engine, model="red", **more)


def test_an_engine_of_another_package_draws_a_dataset(installed, tmp_path, plan, labels):
    asked = GenerateConfig(per_class=4, shard_size=6)
    dataset = generate(plan(section(), 4), section(), asked, labels, tmp_path / "out")
    colors = pixels(dataset).min(axis=(1, 2)).argmax(axis=1)
    assert colors.tolist() == dataset.labels.tolist() == [0, 1, 2] * 4
    row = dataset.metadata().to_pylist()[0]
    assert (row["generator"], row["mode"], row["device"], row["steps"]) == ("red", "labels", "cpu", None)
    assert (dataset.manifest["engine"], dataset.manifest["squares_version"]) == ("squares", 1)
    assert weights_bytes(section()) == 0


def test_a_study_draws_with_it(installed, write_folder):
    classes = {"airplane": "airplane", "bell": "bell"}
    folders = {name: str(write_folder(name, name, 2, classes)) for name in ("train", "test")}
    recipe = {
        "name": "small",
        "data": {"source": "folders", "val": folders["test"], **folders},
        "generator": {"engine": "squares", "model": "blue"},
        "generate": {"per_class": 3},
        "arms": [{"name": "real", "mixture": "real"}],
    }
    path = installed / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    command = ["generate", str(path), "--out", str(installed / "runs"), "--set", "threads=1", "--set", "device=cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert len(list(Path(installed / "runs").rglob("*.tar"))) == 1


def test_the_default_engine_is_in_no_name(generator):
    assert "engine" not in identity(generator)
    assert identity(GeneratorConfig(**{**generator.model_dump(), "engine": "diffusers"})) == identity(generator)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (section("square"), "no generator.engine 'square' .*perhaps squares.*; known: diffusers, squares, "),
        (section("function"), "generator.engine 'function': .* is no subclass of genrobust.Engine"),
        (section("absent"), "generator.engine 'absent': cannot load squares:Absent of the package squares"),
        (section(mode="class"), "generator.mode: the engine squares draws in labels"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused(installed, config, message):
    with pytest.raises(UserError, match=message):
        engine_of(config)


def test_an_engine_of_a_name_that_is_taken_is_refused(installed, monkeypatch):
    monkeypatch.setattr(ENGINES, "_plugins", None)
    with (installed / "squares-3.1.dist-info" / "entry_points.txt").open("a") as file:
        file.write("\ndiffusers = squares:Squares\n")
    with pytest.raises(UserError, match="'diffusers': genrobust and squares"):
        engine_of(GeneratorConfig())


def test_an_engine_for_images_needs_some(installed, labels):
    with pytest.raises(UserError, match="pass the training images"):
        engine_of(section())(section(mode="images"), labels, None, CPU)
