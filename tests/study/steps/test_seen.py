"""Warnings about classifiers that trained on the images which they are tested on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps
from small_study import CLASSES, QUICK, REAL, TRAIN, folders_section, genrobust

from genrobust.classifiers import find_training_images, read_training_images, shorten
from genrobust.classifiers.training_images import TRAINING_IMAGES
from genrobust.core import digest
from genrobust.leaks import hash_contents
from genrobust.recipe import parse_recipe
from genrobust.study import Study

EACH = 6  # images of each of the classes, one of which is held out for validation
COPIES = (EACH - 1) * len(CLASSES)


@pytest.fixture
def folders(write_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.chdir(tmp_path)
    return {name: write_folder(name, name, EACH, CLASSES) for name in ("train", "test", "solid")}


def write_recipe(name: str, train: Path, test: Path, **more: Any) -> Path:
    """Write a recipe of the study `name` that trains on `train`."""
    section = folders_section({"train": train, "test": test})
    keys = {**QUICK, "name": name, "generator": None, "data": section, "train": TRAIN, "arms": [REAL], **more}
    recipe = parse_recipe(keys)
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return path


@pytest.fixture
def checkpoint(folders: dict[str, Path]) -> Path:
    """A checkpoint of the study "other", away from the folder of its study."""
    trained = genrobust("train", write_recipe("other", folders["train"], folders["test"])).stdout.split(": ")[1].strip()
    shutil.copytree(trained, "copied")
    return Path("copied")


def said(line: str) -> bool:
    """Whether a line warns of every training image of the study "other"."""
    return f"{COPIES} of the {COPIES} images of real of other are copies of test images" in line


def words(done: Any) -> str:
    return " ".join(done.stderr.split())


def test_a_checkpoint_records_the_contents_of_its_training_images(checkpoint: Path, folders: dict[str, Path]) -> None:
    record = read_training_images(checkpoint)
    assert record is not None and record.study == "other" and record.unknown == ()
    contents = hash_contents(Study(parse_recipe(yaml.safe_load(Path("other.yaml").read_text())), "runs").data.train)
    assert contents is not None
    assert np.array_equal(record.hashes["real of other"], np.sort(shorten(contents)))
    assert json.loads((checkpoint / "manifest.json").read_text())["about"]["training"]["study"] == "other"
    genrobust("verify", checkpoint)


def test_a_checkpoint_that_trained_on_the_test_images_of_another_study_is_named(
    checkpoint: Path, folders: dict[str, Path]
) -> None:
    own = write_recipe("own", folders["test"], folders["train"])
    assert said(words(genrobust("evaluate", own, "--models", checkpoint)))
    apart = write_recipe("apart", folders["test"], folders["solid"])
    assert "warning: " not in words(genrobust("evaluate", apart, "--models", checkpoint))


@pytest.mark.parametrize("form", ["timm", "onnx"])
def test_an_exported_classifier_carries_the_record(form: str, checkpoint: Path, folders: dict[str, Path]) -> None:
    genrobust("export", checkpoint, "--to", form, "--out", "exported")
    spec = {"timm": "exported", "onnx": "exported/model.onnx"}[form]
    assert find_training_images(spec) is not None
    own = write_recipe("own", folders["test"], folders["train"])
    assert said(words(genrobust("evaluate", own, "--models", spec)))


def test_a_network_that_starts_from_such_a_checkpoint_is_named_in_report_and_record(
    checkpoint: Path, folders: dict[str, Path]
) -> None:
    arms = [REAL, {"name": "tuned", "mixture": "real", "train": {"init": str(checkpoint)}}]
    arms.append({"name": "again", "mixture": "real", "train": {"init": "arm:tuned", "wise_ft": 0.5}})
    own = write_recipe("own", folders["test"], folders["train"], arms=arms, robustness={"bootstrap": 100})
    assert said(words(genrobust("run", own)))
    report = " ".join(Path("runs/own/report.md").read_text().split())
    assert said(report) and f"train.init: {checkpoint}" in report
    assert "images of the study other: real" in report
    for arm in ("tuned", "again"):
        trained = genrobust("train", own, "--arm", arm).stdout.split(": ")[1].strip()
        record = read_training_images(Path(trained))
        assert record is not None and record.hashes.keys() >= {"real of other", "real of own"}


def test_an_old_checkpoint_is_said_to_be_unknown(checkpoint: Path, folders: dict[str, Path]) -> None:
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    del manifest["files"][TRAINING_IMAGES], manifest["about"]["training"]["study"], manifest["sha256"]
    (checkpoint / "manifest.json").write_text(json.dumps({**manifest, "sha256": digest(manifest, 64)}))
    (checkpoint / TRAINING_IMAGES).unlink()
    own = write_recipe("own", folders["test"], folders["train"])
    assert "not recorded" in words(genrobust("evaluate", own, "--models", checkpoint))
    assert "not recorded" in words(genrobust("show", own, "--set", f"train.init={checkpoint}"))


@pytest.mark.parametrize("content", [None, b"x"], ids=["removed", "damaged"])
def test_a_record_that_was_changed_is_an_error(
    content: bytes | None, checkpoint: Path, folders: dict[str, Path]
) -> None:
    record = checkpoint / TRAINING_IMAGES
    record.unlink() if content is None else record.write_bytes(content)
    own = write_recipe("own", folders["test"], folders["train"])
    genrobust("evaluate", own, "--models", checkpoint, code=1, said=str(record))


def test_seeds_of_an_arm_are_rows_with_names_of_their_own(folders: dict[str, Path]) -> None:
    own = write_recipe("own", folders["train"], folders["test"], seeds=[3, 4])
    genrobust("train", own)
    table = genrobust("evaluate", own, "--models", f"{own}:real").stdout
    assert "real, seed 3" in table and "real, seed 4" in table


def test_a_benchmark_on_training_images_warns_on_the_terminal_and_on_the_page(
    checkpoint: Path, folders: dict[str, Path]
) -> None:
    for path in folders["solid"].rglob("*.png"):  # near copies of training images
        ImageOps.mirror(Image.open(folders["train"] / path.relative_to(folders["solid"]))).save(path)
    for models, real, found in (
        ("other.yaml:real", "train", said),
        (checkpoint, "train", said),
        ("other.yaml:real", "solid", lambda line: "near copies of test images" in line),
    ):
        done = genrobust("benchmark", "--models", models, "--on", "test", "--real", real, "--out", "page")
        assert found(words(done))
        assert any(map(found, json.loads(Path("page/benchmark.json").read_text())["warnings"]))
        assert any(map(found, Path("page/benchmark.html").read_text().splitlines()))


def test_a_benchmark_between_copies_of_one_set_warns(checkpoint: Path, folders: dict[str, Path]) -> None:
    """Though both folders have one name."""
    shutil.copytree("test", "elsewhere/test")
    sets = ("--on", "test", "--real", "elsewhere/test", "--out", "page")
    done = genrobust("benchmark", "--models", checkpoint, *sets)
    assert "images of test are also in test" in words(done)


def test_a_benchmark_on_the_dataset_that_an_arm_mixes_warns(folders: dict[str, Path]) -> None:
    arms = [REAL, {"name": "mixed", "mixture": ["real", "generated"]}]
    generate = {"generator": {"model": "pictograms", "steps": 1}, "generate": {"per_class": 2}}
    own = write_recipe("own", folders["train"], folders["test"], arms=arms, **generate)
    trained = genrobust("train", own, "--arm", "mixed").stdout.split(": ")[1].strip()
    for model, warned in ((f"{own}:mixed", True), (trained, True), (f"{own}:real", False)):
        done = genrobust("benchmark", "--models", model, "--on", f"{own}:generated", "--run", "--out", "page")
        assert ("6 of the 6 images of generated of own are copies" in words(done)) is warned
