"""A study of pretrained networks: what shares a training, what is mixed without one, and where networks come from."""

from __future__ import annotations

import shutil

import pytest
from kill_and_resume import contents
from safetensors.torch import load_file, save_file
from small_study import CLASSES, TRAIN, folders_section

from genrobust.classifiers import load_checkpoint, save_checkpoint, weights_hash
from genrobust.core import GenrobustError, UserError
from genrobust.recipe import parse_recipe
from genrobust.store import Artifact
from genrobust.study import Study
from genrobust.study.batch import Batch
from genrobust.study.steps.train import Train

NAMES = ("train", "test", "solid", "emoji")


@pytest.fixture
def data(write_folder):
    return folders_section({name: write_folder(name, name, 6, CLASSES) for name in NAMES})


@pytest.fixture
def recipe(data, clip_folder, timm_folders):
    """Six arms, of which three share the training of `full` and one its start."""
    clip = {"init": f"clip:{clip_folder}"}

    def arm(name, **train):
        return {"name": name, "mixture": "real", "train": train}

    return {
        "name": "tuned",
        "threads": 1,
        "device": "cpu",
        "generator": None,
        "data": data,
        "train": {**TRAIN, "steps": 3, "learning_rate": 1e-3, "ema_decay": 0.0},
        "arms": [
            arm("real"),
            arm("probe", **clip, method="linear-probe"),
            arm("full", **clip, wise_ft=[0.5, 1, 0]),  # in any order
            arm("mixed", **clip, wise_ft=0.5),
            arm("lp-ft", **clip, method="lp-ft"),
            arm("resnet", init=str(timm_folders["resnet"])),
            arm("from real", init="arm:real"),
        ],
        "zero_shot": {"clip": str(clip_folder)},
        "evaluate": {"batch_size": 4, "min_images": 2},
        "robustness": {"baselines": None, "bootstrap": 100},
    }


def test_a_linear_probe_is_the_first_of_all_trainings(recipe, tmp_path):
    plan = Study(parse_recipe(recipe), tmp_path / "runs").plan
    trainings = tuple(step for step in plan.train(plan.runs) if isinstance(step, Train) and step.origin is None)
    names = [item.name for item in Batch(trainings).items()]
    assert names[0] == "probe, seed 0" and len(names) > 2


def test_a_mixture_with_a_random_last_layer_is_warned_of(recipe, tmp_path, clip_folder, timm_folders):
    starts = {"new": str(timm_folders["resnet"]), "clip": f"clip:{clip_folder}"}
    arms = [{"name": "real", "mixture": "real"}]
    for name, init in starts.items():
        for method in ("full", "lp-ft"):
            train = {"init": init, "method": method, "wise_ft": 0.5}
            arms.append({"name": f"{name} {method}", "mixture": "real", "train": train})
    warnings = list(Study(parse_recipe({**recipe, "arms": arms}), tmp_path / "runs").plan.doubts())
    assert [warning.partition(":")[0] for warning in warnings] == ["new full"]
    assert "method: lp-ft" in warnings[0]


def folders_of(study, stage):
    return {row.name: {step.folder for step in row.steps} for row in study.rows() if row.stage == stage}


@pytest.mark.thorough
def test_a_study_is_made_once_and_curves_share_its_trainings(recipe, tmp_path):
    study = Study(parse_recipe(recipe), tmp_path / "out")
    trained, mixed = folders_of(study, "train"), folders_of(study, "interpolate")
    order = list(trained)
    assert order.index("real, seed 0") < order.index("from real, seed 0")
    # The training that two arms share has the name of one of them.
    assert len(trained.keys() & {"full, seed 0", "mixed, seed 0"}) == 1
    alone = {f"{arm}, seed 0" for arm in ("real", "lp-ft", "resnet", "from real", "probe")}
    assert alone < trained.keys() and len(trained) == 6
    assert not any(row.done for row in study.rows()), "though lp-ft works before its first step"
    assert len(mixed["weights between two"]) == 2, (
        "0 and 0.5; 1 is the fine-tuned network itself, and the arm called mixed is at 0.5"
    )
    summary, files = study.run()
    assert summary.pretrained == ("probe", "full", "mixed", "lp-ft", "resnet"), "from real, it has seen nothing else"
    assert all(not row.left for row in Study(parse_recipe(recipe), tmp_path / "out").rows())
    made = contents(tmp_path / "out")
    assert Study(parse_recipe(recipe), tmp_path / "out").run()[0].scores == summary.scores
    assert {k: v for k, v in contents(tmp_path / "out").items() if k.startswith(("checkpoints", "predictions"))} == {
        k: v for k, v in made.items() if k.startswith(("checkpoints", "predictions"))
    }
    (curve,) = study.scores().curves
    assert (curve.arm, curve.summary.arms, curve.summary.reference) == ("full", ("0", "0.5", "1"), "1")
    regained = curve.summary.score("top1", "0.5", minus="0").value
    assert regained == pytest.approx(curve.summary.score("top1", "0.5").value - curve.summary.score("top1", "0").value)
    for point, arm in (("0", "zero-shot CLIP"), ("0.5", "mixed"), ("1", "full")):
        for test in ("test", "solid", "emoji"):
            assert curve.summary.score("top1", point, test).value == summary.score("top1", arm, test).value, point
    assert files.keys() >= {"report.html", "report.md", "results.csv", "results.json"}


def test_weights_are_mixed_again_where_the_fine_tuned_ones_were_trained_again(recipe, tmp_path):
    """Their folder is named after the plan of generated images, which may have been made again, and differ."""
    arms = [recipe["arms"][0], {"name": "mixed", "mixture": "real", "train": {"init": "arm:real", "wise_ft": 0.5}}]
    recipe |= {"arms": arms, "zero_shot": None}

    def mixed():
        study = Study(parse_recipe(recipe), tmp_path)
        (run,) = study.runs("mixed")
        return study.train([run])[0], study.plan.classifier(run).tuned.folder

    folder, tuned = mixed()
    first, (model, info) = weights_hash(folder), load_checkpoint(tuned)
    assert mixed()[0] == folder and weights_hash(folder) == first
    model.mean += 0.1
    info.training["run"] = "on other images"
    save_checkpoint(tuned, model, info, load_file(tuned / "initial.safetensors"), Artifact(tuned).manifest())
    assert mixed() == (folder, tuned) and weights_hash(folder) != first


def test_the_weights_name_the_folder_and_not_where_they_lie(recipe, tmp_path, clip_folder):
    def folders(**train):
        arms = [recipe["arms"][0], {"name": "full", "mixture": "real", "train": train}]
        made = Study(parse_recipe(recipe | {"arms": arms}), tmp_path)
        return [next(iter(of)) for of in folders_of(made, "train").values()]

    copy = shutil.copytree(clip_folder, tmp_path / "elsewhere")
    scratch, first = folders(init=str(clip_folder))
    assert folders(init=f"clip:{copy}") == [scratch, first]
    weights = load_file(copy / "model.safetensors")
    save_file({k: v + 1e-3 for k, v in weights.items()}, copy / "model.safetensors", {"format": "pt"})
    other = folders(init=str(copy))
    assert other[0] == scratch and other[1] != first


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"init": "pictograms:real"}, "train.init"),
        ({"init": "clip:nowhere"}, "train.init"),
        ({"init": "clip:CLIP", "image_size": 64}, "train.image_size"),
        ({"init": "clip:CLIP", "method": "linear-probe", "wise_ft": 0.5}, "wise_ft"),
    ],
    ids=str,
)
def test_mistakes_name_the_key(recipe, tmp_path, clip_folder, train, said):
    train["init"] = train["init"].replace("CLIP", str(clip_folder))
    with pytest.raises(UserError) as error:
        arms = [{"name": "real", "mixture": "real", "train": train}]
        Study(parse_recipe(recipe | {"arms": arms, "zero_shot": None}), tmp_path / "out").rows()
    assert said in str(error.value)


def test_a_network_that_cannot_be_made_stops_a_study_before_its_first_training(recipe, tmp_path, timm_folders):
    folder = shutil.copytree(timm_folders["resnet"], tmp_path / "resnet")
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"conv1.0.weight": weights["conv1.0.weight"][:3].clone()}, folder / "model.safetensors")
    arms = [recipe["arms"][0], {"name": "tuned", "mixture": "real", "train": {"init": str(folder)}}]
    study = Study(parse_recipe(recipe | {"arms": arms, "zero_shot": None}), tmp_path / "out")
    for begin in (study.run, lambda: study.train(study.runs())):
        with pytest.raises(GenrobustError, match="cannot load the weights"):
            begin()
    assert not list(tmp_path.glob("out/checkpoints/*/*.safetensors"))
