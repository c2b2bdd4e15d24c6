"""`genrobust run imagenet100` all the way on a CPU: official layouts in miniature, and a tiny Stable Diffusion."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from diffusers import PNDMScheduler
from PIL import Image
from small_study import genrobust
from tiny import saved, stable_diffusion

from genrobust.classifiers import read_checkpoint_info
from genrobust.data import ShardDataset
from genrobust.data.imagenet_classes import prompt_names
from genrobust.generate.prompt_templates import templates_of
from genrobust.recipe import load_recipe
from genrobust.study.results import baselines

# Goldfish and great white shark, which ImageNet-R has; barber chair, rocking chair and loafer, which ObjectNet has.
COLORS = {
    "n01443537": (230, 120, 20),
    "n01484850": (60, 110, 200),
    "n02791124": (150, 20, 20),
    "n03680355": (70, 40, 20),
    "n04099969": (30, 150, 60),
}
IN_R = ("n01443537", "n01484850")
FOLDERS = {"chair": "Chair", "dress_shoe_men": "Dress shoe (men)"}
CLASSES = {"Chair": "barber chair; folding chair; rocking chair, rocker", "Dress shoe (men)": "Loafer"}
FOLDER_OF = {"v2": "v2", "sketch": "sketch", "r": "imagenet-r", "objectnet": "objectnet-1.0"}
SHIFTS = (*FOLDER_OF, "objectnet one-to-many")
ARMS = ("real", "generated", "real+generated", "real+generated at equal steps", "real+modern at equal steps")


def save(path, wnid, seed):
    """A grainy photograph of the class's color, upright or across."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shape = (80, 100, 3) if seed % 2 else (110, 70, 3)
    pixels = np.clip(rng.normal(COLORS[wnid], 60, shape), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path, "JPEG")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """ImageNet and the shifted sets of the recipes, as they unpack, of five classes."""
    root = tmp_path_factory.mktemp("data")
    (root / "classes.txt").write_text("\n".join(COLORS))
    for number, wnid in enumerate(COLORS):
        for i in range(8):
            save(root / "imagenet" / "train" / wnid / f"{wnid}_{i}.JPEG", wnid, i)
        for i in range(3):
            save(root / "imagenet" / "val" / wnid / f"ILSVRC2012_val_{number}{i}.JPEG", wnid, 10 + i)
            save(root / "v2" / wnid / f"{i}.jpeg", wnid, 20 + i)
            save(root / "sketch" / wnid / f"sketch_{i}.JPEG", wnid, 30 + i)
            if wnid in IN_R:
                save(root / "imagenet-r" / wnid / f"art_{i}.jpg", wnid, 40 + i)
    for i in range(3):
        save(root / "imagenet-a" / "n04099969" / f"{i}.jpg", "n04099969", 60 + i)
    for folder, wnid in (("chair", "n04099969"), ("dress_shoe_men", "n03680355")):
        for i in range(3):
            save(root / "objectnet-1.0" / "images" / folder / f"{i}.png", wnid, 50 + i)
    (root / "objectnet-1.0" / "mappings").mkdir()
    (root / "objectnet-1.0" / "mappings" / "folder_to_objectnet_label.json").write_text(json.dumps(FOLDERS))
    (root / "objectnet-1.0" / "mappings" / "objectnet_to_imagenet_1k.json").write_text(json.dumps(CLASSES))
    return root


@pytest.fixture(scope="module")
def stable_diffusion_15(tmp_path_factory):
    """A tiny one with the scheduler that its pipeline comes with."""
    pipeline = stable_diffusion()
    pipeline.register_modules(scheduler=PNDMScheduler(skip_prk_steps=True))
    return saved(pipeline, tmp_path_factory.mktemp("generator"))


PRACTICAL = {
    "datasets.modern.generator": "{{steps: 2, guidance_scale: 0, model: {}}}",
    "train.start_size": 32,
    "train.warmup_steps": 2,
    "arms.3.train.steps": 6,
    "arms.4.train.steps": 6,
}
PAPER = {"train.learning_rate": 0.05}


def words(data, generator, other_map, more=PRACTICAL):
    """The options that shrink a recipe to seconds; what they leave alone is the study's."""
    train = {"architecture": "test_resnet", "image_size": 48, "epochs": 3, "batch_size": 8}
    train |= {"precision": "float32", "validate_every": 10, "save_every": 10}
    small = {
        "seeds": "[0]",
        "data.root": data / "imagenet",
        "data.classes": data / "classes.txt",
        **{f"data.shifts.{name}.path": data / folder for name, folder in FOLDER_OF.items()},
        f"data.shifts.{other_map}.path": data / "objectnet-1.0",
        "generator": f"{{model: {generator}, scheduler: null, steps: 4, guidance_scale: 7.5}}",
        "generate.per_class": 3,
        "generate.shard_size": 6,
        **{f"train.{key}": value for key, value in train.items()},
        **{key: str(value).format(generator) for key, value in more.items()},
        "evaluate.image_size": 64,
        "evaluate.min_images": 1,
        "robustness.bootstrap": 100,
        "threads": 1,
    }
    return [word for key, value in small.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def made(data, stable_diffusion_15, tmp_path_factory):
    """The folder of the finished study."""
    out = tmp_path_factory.mktemp("runs")
    command = ["run", "imagenet100", "--device", "cpu", "--out", str(out), "--set", "robustness.grid=3"]
    command += ["--set", "name=imagenet100"]
    assert "imagenet100" in genrobust(*command, *words(data, stable_diffusion_15, "objectnet one-to-many")).output
    return out


@pytest.fixture(scope="module")
def results(made):
    return json.loads((made / "imagenet100" / "results.json").read_text())


@pytest.mark.thorough
def test_every_arm_is_scored_on_every_set_by_the_papers_protocol(results):
    summary = results["summary"]
    assert tuple(summary["arms"]) == ARMS
    assert set(summary["protocols"]) == {"test", *SHIFTS}
    for words in summary["protocols"].values():
        assert "64 px: shorter side resized to 73 px" in words  # 64 / 0.875, rounded down
        assert "averaged over the image and its mirror" in words
    assert "first ImageNet class is right" in summary["protocols"]["objectnet"]
    assert "any of a label's" in summary["protocols"]["objectnet one-to-many"]
    assert tuple(summary["shifts"]) == SHIFTS[:4] and list(summary["left_out"]) == ["objectnet one-to-many"]


@pytest.mark.thorough
def test_a_subset_is_scored_over_its_own_classes(results):
    summary = results["summary"]
    top1 = {row["test_set"]: row for row in summary["scores"] if (row["metric"], row["arm"]) == ("top1", "real")}
    classes = {name: top1[name]["classes"] for name in summary["paired"]}
    # of the chairs, folding chair is no class here, and barber chair is the first
    assert classes == {"test": 5, "v2": 5, "sketch": 5, "r": 2, "objectnet": 2, "objectnet one-to-many": 3}
    assert [top1[summary["paired"][name]]["n"] for name in ("r", "objectnet one-to-many")] == [6, 9]


@pytest.mark.thorough
def test_arms_train_on_what_they_say_for_as_long_as_they_say(results):
    arms = {arm["name"]: arm for arm in results["arms"]}
    assert [arms[name]["parts"] for name in ARMS] == [
        {"real": 35},  # 8 of each class, of which one chooses checkpoints
        {"generated": 15},
        {"real": 35, "generated": 15},
        {"real": 35, "generated": 15},
        {"real": 35, "modern": 15},
    ]
    assert [arms[name]["steps"] for name in ARMS] == [14, 6, 19, 6, 6]  # 3 x 35 / 8, 3 x 15 / 8, 3 x 50 / 8, rounded up


@pytest.mark.thorough
def test_the_images_are_those_of_clips_templates_and_names(made):
    datasets = [ShardDataset(folder) for folder in sorted((made / "generated").iterdir())]
    assert len(datasets) == 2
    names = prompt_names("openai")
    templates = templates_of(load_recipe("imagenet100").generate.prompts)
    assert len(templates) == 80
    for images in datasets:
        assert len(images) == 15
        table = images.metadata().to_pylist()
        for row in table:
            assert row["prompt"] in {t.fill(names[row["class_id"]]) for t in templates}
        assert len({row["prompt"] for row in table}) == 15


def test_missing_data_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("show", "run"):
        genrobust(command, "imagenet100", code=2, said="there is no imagenet")


@pytest.mark.thorough
def test_all_of_imagenet_is_held_against_published_lines(made, data, stable_diffusion_15, monkeypatch):
    monkeypatch.setattr(baselines, "LINE_CLASSES", len(COLORS))  # stands for the 1,000 that no test has images of
    trained = sorted((made / "checkpoints").iterdir())
    command = ["run", "imagenet1k", "--device", "cpu", "--out", str(made), "--set", "name=imagenet1k"]
    genrobust(
        *command,
        *words(
            data, stable_diffusion_15, "objectnet paper's map", PRACTICAL | {"data.shifts.a.path": data / "imagenet-a"}
        ),
    )
    assert sorted((made / "checkpoints").iterdir()) == trained  # the arms are those of imagenet100
    results = json.loads((made / "imagenet1k" / "results.json").read_text())
    lines = results["summary"]["lines"]
    assert {name: line["n"] for name, line in lines.items()} == {"v2": 85, "sketch": 85, "r": 80, "objectnet": 85}
    ers = [row for row in results["summary"]["scores"] if row["metric"] == "er"]
    assert {er["test_set"] for er in ers} == {*lines}  # an arm that knows next to nothing extrapolates the lines
    assert all("the line's error and scatter" in er["method"] for er in ers)
    assert any("ImageNet testbed (Taori et al., 2020)" in note for note in results["notes"])
    assert any("No baseline line for objectnet paper's map" in note for note in results["notes"])
    assert {*results["summary"]["left_out"]} == {"objectnet paper's map", "a"}


@pytest.mark.thorough
def test_the_papers_settings_run_all_the_way(data, stable_diffusion_15, tmp_path):
    """All training images train, nothing is chosen, and another test size takes the same classifiers."""
    command = ["run", "imagenet100-paper", "--device", "cpu", "--out", str(tmp_path), "--set", "robustness.grid=3"]
    command += words(data, stable_diffusion_15, "objectnet one-to-many", PAPER)
    genrobust(*command, "--set", "name=whole")
    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    parts = [{"real": 40}, {"generated": 15}, {"real": 40, "generated": 15}]
    assert [arm["parts"] for arm in results["arms"]] == parts
    assert [arm["steps"] for arm in results["arms"]] == [15, 6, 21]
    trained = sorted((tmp_path / "checkpoints").iterdir())
    made = [asdict(read_checkpoint_info(folder)) for folder in trained]
    assert len(made) == 6 and all(one["training"]["best_step"] == one["training"]["steps"] for one in made)
    of_arms = [one for one in made if one["architecture"] == "test_resnet"]
    assert all(one["model_kwargs"] == {"zero_init_last": False, "blur_pool": True} for one in of_arms)
    genrobust(*command, "--set", "name=at-48", "--set", "evaluate.image_size=48")
    assert sorted((tmp_path / "checkpoints").iterdir()) == trained
    protocols = json.loads((tmp_path / "at-48" / "results.json").read_text())["summary"]["protocols"]
    assert all("48 px: shorter side resized to 54 px" in words for words in protocols.values())


@pytest.mark.parametrize("name", ["imagenet100", "imagenet1k"])
def test_recipes_that_say_so_share_their_generated_images(name):
    one, other = load_recipe(name), load_recipe(f"{name}-pretrained")
    for key in ("generator", "generate", "data_seed"):
        assert getattr(one, key) == getattr(other, key), key
    for key in ("source", "classes", "class_names", "held_out"):
        assert getattr(one.data, key) == getattr(other.data, key), key


@pytest.mark.parametrize("recipe", ["imagenet100-paper", "imagenet1k-paper"])
def test_the_papers_recipes_say_the_settings_of_its_code(recipe):
    settings = load_recipe(recipe)
    train = {  # as in train/resnet_configs/rn18_88_epochs.yaml of the authors' code
        "epochs": 56,
        "batch_size": 128,
        "label_smoothing": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-5,
        "learning_rate": 0.5,
        "warmup_epochs": 2,
        "blur_pool": True,
        "image_size": 160,
        "start_size": None,
        "optimizer": "momentum",
        "schedule": "linear",
        "no_decay": ("bn",),
        "ema_decay": 0,
        "keep": "last",
    }
    for arm in settings.arms:
        assert {key: getattr(settings.train_of(arm), key) for key in train} == train
        assert settings.train_of(arm).augmented == "standard" and settings.train_of(arm).crop == "random-resized"
    assert settings.data.held_out == 0 and settings.seeds == (0, 1, 2)
    assert settings.evaluate.protocol == {"image_size": 256, "crop_pct": 0.875, "flip": True}
    assert (settings.generator.steps, settings.generator.guidance_scale) == (50, 7.5)
    assert load_recipe(recipe.removesuffix("-paper")).seeds == (0, 1, 2)
