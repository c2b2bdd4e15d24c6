"""Paths in a recipe file start at its folder, those of the command line at the current one."""

from pathlib import Path

import pytest
import yaml

from genrobust.recipe import load_recipe, recipe_yaml

RECIPE = """
name: own
data:
  source: folders
  train: data/train
  test: /somewhere/test
  shifts: {a: ../a, b: {path: data/b}, c: "hf://datasets/OWNER/NAME/c"}
  retrieved: data/found
generator: {model: net}
generate: {prompts: {strategy: list, file: prompts.txt}}
datasets: {other: {generate: {prompts: {file: prompts.txt}}, generator: {model: net}}}
train: {init: "clip:net"}
arms:
  - {name: real, mixture: real}
  - {name: other, mixture: other, train: {init: "other.yaml:arm"}}
  - {name: timm, mixture: real, train: {init: resnet18.a1_in1k}}
  - {name: plain, mixture: real}
sweep:
  - {over: {net: [net]}, arm: {name: "swept {net}", mixture: real, train: {init: "clip:{net}"}}}
tune: {over: {train.init: [net, timm/resnet18.a1_in1k]}}
quick: {data.train: data/few, arms.3.train.init: net}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("sub/net", "net"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("sub/prompts.txt", "sub/other.yaml"):
        (tmp_path / file).touch()
    (tmp_path / "sub/own.yaml").write_text(RECIPE)
    return Path("sub/own.yaml")


def named(recipe):
    data, (dataset,) = recipe.data, recipe.datasets
    generator, generate = recipe.generation(dataset)
    inits = [recipe.train_of(arm).init for arm in recipe.arms]
    shifts = [str(shift.path) for shift in data.shifts.values()]
    images = [data.train.path, data.test.path, data.retrieved.path.path]
    prompts = [recipe.generate.prompts.file, generate.prompts.file]
    return [*map(str, [*images, *prompts]), *shifts, recipe.generator.model, generator.model, *inits]


def test_paths_of_a_file_start_at_its_folder(study):
    assert named(load_recipe(str(study))) == [
        *("sub/data/train", "/somewhere/test", "sub/data/found", "sub/prompts.txt", "sub/prompts.txt"),
        *("a", "sub/data/b", "hf:/datasets/OWNER/NAME/c", "sub/net", "sub/net"),
        *("clip:sub/net", "sub/other.yaml:arm", "resnet18.a1_in1k", "clip:sub/net", "clip:sub/net"),
    ]
    quick = load_recipe(str(study), quick=True)
    assert (str(quick.data.train.path), quick.train_of(quick.arms[3]).init) == ("sub/data/few", "sub/net")
    assert quick.tune.over["train.init"] == ["sub/net", "timm/resnet18.a1_in1k"]


def test_a_file_of_classes_starts_there_too_and_classes_are_no_paths(study):
    given = ["sub/kinds.txt", ["net", "data"], "net", "all"]
    Path("sub/kinds.txt").touch()
    for value, found in zip(["kinds.txt", *given[1:]], [given[0], ("net", "data"), *given[2:]], strict=True):
        study.write_text(yaml.safe_dump(yaml.safe_load(RECIPE) | {"sweep": [], "data": {"classes": value}}))
        recipe = load_recipe(str(study))
        assert recipe.data.classes == found
        study.write_text(recipe_yaml(recipe, Path("sub")))
        assert load_recipe(str(study)).data.classes == found


def test_paths_of_the_command_line_start_at_the_current_folder(study):
    sets = ["data.train=more", "data.shifts={a: b}", "generator.model=net", "arms.1.train.init=net"]
    sets += ["datasets.other.generate.prompts.file=p.txt", "sweep.0.arm.train.init=clip:net"]
    found = named(load_recipe(str(study), sets))
    assert found[0] == "more" and found[4:8] == ["p.txt", "b", "net", "sub/net"]
    assert found[-4] == "net" and found[-1] == "clip:net"


def test_a_recipe_in_the_current_folder_and_an_installed_one_keep_their_paths(study, monkeypatch):
    from_above = recipe_yaml(load_recipe(str(study)))
    monkeypatch.chdir("sub")
    assert named(load_recipe("own.yaml"))[:3] == ["data/train", "/somewhere/test", "data/found"]
    assert from_above.replace("sub/", "").replace("path: a\n", "path: ../a\n") == recipe_yaml(load_recipe("own.yaml"))
    assert load_recipe("pacs", ["data.root=PACS"]).data.root == load_recipe("pacs").data.root == Path("PACS")


def test_a_written_recipe_names_the_same_files_wherever_it_lies(study):
    recipe = load_recipe(str(study))
    Path("runs/tuned").mkdir(parents=True)
    Path("runs/tuned/own.yaml").write_text(recipe_yaml(recipe, Path("runs/tuned")))
    assert named(load_recipe("runs/tuned/own.yaml")) == named(recipe)
