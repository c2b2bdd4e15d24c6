"""Trained classifiers out: the same logits in timm, transformers and onnxruntime, a card that is right, or nothing."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from small_dataset import FEW, genrobust, rows
from small_study import TRAIN
from timm.data import create_transform, resolve_model_data_config
from transformers import AutoModelForImageClassification

from genrobust.classifiers import (
    CheckpointInfo,
    create_classifier,
    load_checkpoint,
    open_checkpoint,
    open_classifier,
    open_initial,
    prepare,
    read_checkpoint_info,
    save_checkpoint,
)
from genrobust.core import GenrobustError, Subset, UserError
from genrobust.recipe import EvaluateConfig, TrainConfig
from genrobust.tools.export.classifier import Origin, export_classifier
from genrobust.tools.export.format import FORMATS
from genrobust.train import Mixture, Source, TrainingJob, train

ABC = {name: f"class {name}" for name in "abc"}
TIMM, ONNX = (FORMATS.get(name)() for name in ("timm", "onnx"))


def save(folder, architecture, shown=ABC, training=None, **arguments):
    torch.manual_seed(0)
    model = create_classifier(architecture, len(shown), 48, arguments).eval()
    about = CheckpointInfo(architecture, arguments, tuple(shown), 48, training or {}, descriptions=shown)
    save_checkpoint(folder, model, about)


def test_timm_transformers_and_onnxruntime_give_the_logits_of_the_checkpoint(
    checkpoint, exports, cut_icons, few_classes
):
    """Each with its own loader, and timm with its own transform, on images of other sizes and shapes."""
    model, info = load_checkpoint(checkpoint)
    network = timm.create_model(f"local-dir:{exports['timm']}", pretrained=True).eval()
    by_transformers = AutoModelForImageClassification.from_pretrained(exports["timm"]).eval()
    transform = create_transform(**resolve_model_data_config(network))
    session = onnxruntime.InferenceSession(exports["onnx"])
    images = [Image.open(path).convert("RGB") for path in sorted(cut_icons.rglob("*.png"))]
    pixels = np.stack([prepare(image, info.image_size) for image in images]).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        ours = model(torch.from_numpy(pixels)).numpy()
        prepared = torch.stack([transform(image) for image in images])
        theirs = network(prepared).numpy()
        np.testing.assert_allclose(by_transformers(prepared).logits.numpy(), theirs, atol=1e-4)
    (onnx_logits,) = session.run(["logits"], {"images": pixels})
    assert len(images) > 20 and {image.size[0] == image.size[1] for image in images} == {True, False}
    assert ours.std(axis=0).min() > 1e-3  # the logits differ between images, so that agreeing means something
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    np.testing.assert_allclose(onnx_logits, ours, atol=1e-4)
    assert tuple(network.pretrained_cfg["label_names"]) == info.classes == few_classes.ids
    raw = exports["onnx"].read_bytes()
    assert b".py" not in raw, "no path of the machine that wrote it"


@pytest.mark.parametrize("form", [TIMM, ONNX], ids=["timm", "onnx"])
def test_a_copy_prepares_images_as_the_scores_of_its_study_were_measured(
    checkpoint, cut_icons, form, tmp_path, monkeypatch, capsys
):
    settings = EvaluateConfig(image_size=40, crop_pct=0.8, flip=True)
    export_classifier(checkpoint, form, tmp_path / "out", origin=Origin(settings=settings))
    opened, studied = open_classifier(form.opened_as.format(tmp_path / "out")), open_checkpoint(checkpoint, settings)
    paths = sorted(cut_icons.rglob("*.png"))
    for image in (Image.open(path).convert("RGB") for path in paths):
        assert (opened.prepare(image) == studied.prepare(image)).all()
    network, pixels = studied.load(torch.device("cpu")), studied.prepare(Image.open(paths[3]).convert("RGB"))
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "shorter side resized to 50 px" in card and "averaged over an image and its mirror" in card
    monkeypatch.chdir(tmp_path)
    shutil.copy(paths[3], "image.png")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    exec(code, {})
    with torch.inference_mode():
        answer = network(torch.tensor(pixels).permute(2, 0, 1)[None]).argmax().item()
    assert capsys.readouterr().out.strip() == studied.classes[answer]


def test_classes_keep_their_names_and_what_is_shown_whatever_letters_they_have(tmp_path):
    shown = {"C#": "see sharp", "C++": "C++", "Desk Lamp": "lamp", "café": "café", "狗": "dog"}
    save(tmp_path / "c", "test_resnet", shown)
    for form in (TIMM, ONNX):
        export_classifier(tmp_path / "c", form, tmp_path / form.library)
        opened = open_classifier(form.opened_as.format(tmp_path / form.library))
        assert (opened.classes, opened.descriptions) == (tuple(shown), shown)
    export_classifier(tmp_path / "c", TIMM, tmp_path / "renamed", origin=Origin(descriptions={**shown, "狗": "hound"}))
    assert open_classifier(str(tmp_path / "renamed")).descriptions["狗"] == "hound"


@pytest.mark.parametrize("form", ["timm", "onnx"])
def test_the_lines_in_the_card_run(exports, cut_icons, form, monkeypatch, capsys):
    where = exports["timm"].parent
    monkeypatch.chdir(where)
    path = sorted(cut_icons.rglob("*.png"))[3]
    shutil.copy(path, where / "image.png")
    (code,) = re.findall(r"```python\n(.*?)```", (where / form / "README.md").read_text(encoding="utf-8"), re.S)
    exec(code, {})
    (row,) = [r for r in rows(genrobust("predict", exports[form], cut_icons).stdout) if r["path"].endswith(path.name)]
    assert capsys.readouterr().out.strip() == row["class_1"]


@pytest.mark.parametrize(
    ("init", "shown"),
    [
        ("clip:/home/alice/secret/clip", "clip"),
        ("resnet10t@~/alice/own.safetensors", "own.safetensors"),
        ("hf-hub:timm/vit", "hf-hub:timm/vit"),
    ],
)
def test_a_card_names_no_folder_of_the_machine(tmp_path, init, shown):
    save(tmp_path / "c", "test_resnet", training={"config": {"init": init}})
    export_classifier(tmp_path / "c", TIMM, tmp_path / "own")
    card = (tmp_path / "own" / "README.md").read_text(encoding="utf-8")
    assert f"- starts from: {shown} (method: full)" in card and f"images, of {shown}, and of the generator" in card
    assert "alice" not in card


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("form", "architecture", "arguments"),
    [(TIMM, "test_vit", {}), (ONNX, "test_vit", {}), (ONNX, "resnet18", {"blur_pool": True})],
)
def test_other_networks_come_through(tmp_path, form, architecture, arguments):
    """One of a fixed size with mean and SD 0.5, and one that timm does not have: the export compares logits."""
    save(tmp_path / "c", architecture, **arguments)
    export_classifier(tmp_path / "c", form, tmp_path / "out")


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    assert genrobust("export", tmp_path, "--to", "timm").exit_code == 2  # no checkpoint
    save(tmp_path / "made", "test_resnet", blur_pool=True)
    with pytest.raises(UserError, match=r"choose another --to .*blur_pool"):
        export_classifier(tmp_path / "made", TIMM, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.chdir(tmp_path)
    done = genrobust("export", "pictograms:real", "--to", "onnx", "--run")  # which would train for minutes
    assert done.exit_code == 2 and "onnxscript, which is not installed: pip install 'genrobust[onnx]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def other_weights(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-4] + np.float32(9).tobytes())


def other_preparation(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("bicubic", "bilinear"))


@pytest.mark.parametrize("spoil", [other_weights, other_preparation])
def test_an_export_that_gives_other_logits_is_not_written(checkpoint, tmp_path, spoil):
    class Spoilt(type(TIMM)):
        def write(self, model, info, facts, folder):
            super().write(model, info, facts, folder)
            spoil(folder)

    with pytest.raises(GenrobustError, match=r"differs from the checkpoint by .* in a logit"):
        export_classifier(checkpoint, Spoilt(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tuned(pictogram_data, few_classes, timm_folders, clip_folder, tmp_path_factory):
    """A ViT, a ResNet with bilinear resizing and the tower of a CLIP, each after two steps."""
    real, val = (Subset(s, np.flatnonzero(s.labels < FEW)) for s in (pictogram_data.train, pictogram_data.val))
    made = {}
    for name, init in {**timm_folders, "clip": clip_folder}.items():
        config = TrainConfig(**{**TRAIN, "init": str(init)})
        initial = open_initial(config.init, few_classes.ids, lambda: [[f"a {c.prompt}"] for c in few_classes.classes])
        config, how = initial.settings(config), initial.blueprint.interpolation
        mixture = Mixture([Source("real", real)], config.batch_size, 32, interpolation=how)
        folder = tmp_path_factory.mktemp("tuned") / name
        made[name] = train(TrainingJob(mixture, val, few_classes, config, 0, folder, "cpu", 1, initial))
    return made


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("vit", TIMM),
        ("resnet", TIMM),
        pytest.param("resnet", ONNX, marks=pytest.mark.thorough),
        pytest.param("clip", ONNX, marks=pytest.mark.thorough),
    ],
)
def test_fine_tuned_networks_come_through_with_their_preparation(tuned, tmp_path, name, form):
    export_classifier(tuned[name], form, tmp_path / "out")  # which compares logits
    info = read_checkpoint_info(tuned[name])
    assert info.interpolation in open_classifier(form.opened_as.format(tmp_path / "out")).preparation
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "starts from: " in card and "starts from: /" not in card  # no path of the machine that wrote it


def test_cosines_go_to_onnx_alone(tuned, tmp_path):
    with pytest.raises(UserError, match="choose another --to"):
        export_classifier(tuned["clip"], TIMM, tmp_path / "timm")
