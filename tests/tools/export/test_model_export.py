"""Trained classifiers out: the same logits in timm and onnxruntime, a card that is right, and nothing half written."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import save_file
from small_dataset import CONFIG, FEW, SEED, genrobust, rows
from timm.data import create_transform, resolve_model_data_config
from transformers import AutoModelForImageClassification

from genrobust.classifiers import open_checkpoint
from genrobust.classifiers.networks.checkpoints import CheckpointInfo, read_checkpoint_info
from genrobust.classifiers.networks.models import create_classifier, load_checkpoint, save_checkpoint
from genrobust.classifiers.opening import open_classifier
from genrobust.classifiers.predict.predicting import predict_sets
from genrobust.classifiers.predict.saved import PredictedBy
from genrobust.classifiers.preprocess import prepare
from genrobust.core import (
    GenrobustError,
    LabelSpace,
    StudyData,
    Subset,
    UserError,
)
from genrobust.core.record import ArmRecord
from genrobust.core.results import BaselineModel, Predictions
from genrobust.data import classes_of, open_images, open_stored
from genrobust.report.results import summary_to_json
from genrobust.report.wording import number
from genrobust.robustness.metric import list_metrics
from genrobust.robustness.summary import Comparison, summarize
from genrobust.tools.export.classifier import classifier_card, export_classifier
from genrobust.tools.export.format import FORMATS
from genrobust.train.loop import train
from genrobust.train.mixture import Mixture, Source

TIMM, ONNX = (FORMATS.get(name)() for name in ("timm", "onnx"))


def test_timm_transformers_and_onnxruntime_give_the_logits_of_the_checkpoint(
    checkpoint: Path, exports: dict[str, Path], cut_icons: Path, few_classes: LabelSpace
) -> None:
    """Each with its own loader, and timm with its own transform, on images of other sizes and shapes."""
    model, info = load_checkpoint(checkpoint)
    network = timm.create_model(f"local-dir:{exports['timm']}", pretrained=True).eval()
    by_transformers = AutoModelForImageClassification.from_pretrained(exports["timm"]).eval()
    transform = create_transform(**resolve_model_data_config(network))
    session = onnxruntime.InferenceSession(exports["onnx"])
    paths = sorted(cut_icons.rglob("*.png"))
    images = [Image.open(path).convert("RGB") for path in paths]
    pixels = np.stack([prepare(image, info.image_size) for image in images]).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        ours = model(torch.from_numpy(pixels)).numpy()
        prepared = torch.stack([transform(image) for image in images])
        theirs = network(prepared).numpy()
        np.testing.assert_allclose(by_transformers(prepared).logits.numpy(), theirs, atol=1e-4)
    (onnx_logits,) = session.run(["logits"], {"images": pixels})
    assert len(paths) > 20 and {image.size[0] == image.size[1] for image in images} == {True, False}
    assert ours.std(axis=0).min() > 1e-3  # the logits differ between images, so that agreeing means something
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    np.testing.assert_allclose(onnx_logits, ours, atol=1e-4)
    assert tuple(network.pretrained_cfg["label_names"]) == info.classes == few_classes.ids
    assert json.loads(session.get_modelmeta().custom_metadata_map["label_names"]) == list(few_classes.ids)


def test_classes_keep_the_names_of_their_folders(cut_icons: Path, tmp_path: Path) -> None:
    """In the answers of the checkpoint and of both exports, and in their files, whatever letters the names have."""
    names = {"C": "sea", "C#": "C#", "C++": "C++", "Desk Lamp": "lamp", "café": "café", "狗": "dog"}
    for name, folder in zip(names, sorted(cut_icons.iterdir()), strict=False):
        shutil.copytree(folder, tmp_path / "data" / name)
    stored = open_stored(tmp_path / "data")
    classes = classes_of(stored, {name: shown for name, shown in names.items() if name != shown})
    images, labels = open_images("train", stored, classes), classes.labels
    mixture = Mixture([Source("real", images)], CONFIG.batch_size, CONFIG.image_size)
    checkpoint = train(mixture, images, labels, CONFIG, SEED, tmp_path / "checkpoint", device="cpu")
    export_classifier(checkpoint, TIMM, tmp_path / "timm")
    export_classifier(checkpoint, ONNX, tmp_path / "onnx")
    onnx_file = tmp_path / "onnx" / "model.onnx"
    for model in (checkpoint, tmp_path / "timm", onnx_file):
        opened = open_classifier(str(model))
        assert opened.columns(labels) == list(range(len(names)))
        done = genrobust("predict", model, tmp_path / "data", "--top", len(names))
        for row in rows(done.stdout):
            assert {row[f"class_{k}"]: row[f"name_{k}"] for k in range(1, len(names) + 1)} == names
    config = json.loads((tmp_path / "timm" / "config.json").read_text(encoding="utf-8"))
    metadata = onnxruntime.InferenceSession(onnx_file).get_modelmeta().custom_metadata_map
    assert config["label_names"] == json.loads(metadata["label_names"]) == list(labels.label_names)
    made_for_paths = [id for id in labels.ids if id not in names]
    assert len(made_for_paths) == len(names)
    for path in (tmp_path / "timm" / "README.md", tmp_path / "timm" / "config.json", onnx_file):
        assert not [id for id in made_for_paths if f'"{id}"'.encode() in path.read_bytes()]


@pytest.mark.thorough
@pytest.mark.parametrize("form", [TIMM, ONNX], ids=["timm", "onnx"])
def test_a_transformer_of_another_normalization_comes_through(tmp_path: Path, form: Any) -> None:
    torch.manual_seed(0)
    model = create_classifier("test_vit", 5, 48).eval()  # of a fixed size, with mean and SD 0.5
    save_checkpoint(tmp_path / "c", model, CheckpointInfo("test_vit", {}, tuple("abcde"), 48, {}))
    export_classifier(tmp_path / "c", form, tmp_path / "out")
    opened = open_classifier(form.opened_as.format(tmp_path / "out"))
    images = torch.randint(0, 256, (5, 3, 48, 48), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(opened.load(torch.device("cpu"))(images), model(images), atol=1e-4)
    image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    assert opened.classes == tuple("abcde") and opened.prepare(image).shape == (48, 48, 3)


def test_a_file_holds_no_path_of_the_machine_that_wrote_it(exports: dict[str, Path]) -> None:
    raw = exports["onnx"].read_bytes()
    assert b"genrobust" in raw and b".py" not in raw


@pytest.mark.parametrize("form", ["timm", "onnx"])
def test_the_lines_in_the_card_run(
    exports: dict[str, Path], cut_icons: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    where = exports["timm"].parent
    monkeypatch.chdir(where)
    path = sorted(cut_icons.rglob("*.png"))[3]
    shutil.copy(path, where / "image.png")
    (code,) = re.findall(r"```python\n(.*?)```", (where / form / "README.md").read_text(encoding="utf-8"), re.S)
    exec(code, {})
    (row,) = [r for r in rows(genrobust("predict", exports[form], cut_icons).stdout) if r["path"].endswith(path.name)]
    assert capsys.readouterr().out.strip() == row["class_1"]


@pytest.fixture
def results(checkpoint: Path, pictogram_data: StudyData, few_classes: LabelSpace, tmp_path: Path) -> Path:
    """The results.json of a study of two arms, of which `mine` is the checkpoint's; emoji has part of the classes."""
    sets = {}
    for name, classes in (("test", FEW), ("emoji", 5)):
        sets[name] = Subset(pictogram_data.tests[name], np.flatnonzero(pictogram_data.tests[name].labels < classes))
    out = tmp_path / "predictions"
    by = PredictedBy("mine", "mine")
    found = predict_sets(out, {by: open_checkpoint(checkpoint)}, sets, few_classes, 256, "cpu")[by]
    seeds, random = (1, SEED), np.random.default_rng(0)
    of_study: dict[tuple[str, int, str], Predictions] = {}
    for test, own in found.items():
        for arm in ("other", "mine"):
            for seed in seeds:
                noise = random.normal(size=own.logits.shape).astype(np.float32)
                mine = (arm, seed) == ("mine", SEED)
                of_study[arm, seed, test] = own if mine else dataclasses.replace(own, logits=noise)
    lines = [BaselineModel(f"m{i}", "emoji", 10 + 4 * i, 8 + 3 * i + i % 3) for i in range(10)]
    summary = summarize(of_study, Comparison("test", ["emoji"], "other", min_images=1, bootstrap=50), lines)
    counts = read_checkpoint_info(checkpoint).training["counts"]
    trained = {str(SEED): read_checkpoint_info(checkpoint).training["run"]}
    arms = [
        ArmRecord("other", {**counts, "generated": 7}, "resnet10t", "standard", 2, 16),
        ArmRecord("mine", counts, "resnet10t", "standard", 2, 16, trained=trained),
    ]
    path = tmp_path / "results.json"
    raw = {"title": "Some *study*", "date": "2026-01-02", "arms": [dataclasses.asdict(a) for a in arms]}
    path.write_text(json.dumps({**raw, "summary": summary_to_json(summary, list_metrics())}))
    return path


def test_the_card_has_the_scores_of_its_own_training(checkpoint: Path, results: Path, tmp_path: Path) -> None:
    info = read_checkpoint_info(checkpoint)
    card = classifier_card("my_model", TIMM, info, results, "mine", "other")
    raw = json.loads(results.read_text(encoding="utf-8"))
    table = {line.split("|")[1].strip(): line for line in card.splitlines() if line.startswith("|")}
    scores = {r.dataset_name: r.metric_value for r in ModelCard(card).data.eval_results or ()}
    own = [row for row in raw["summary"]["scores"] if (row["arm"], row["seed"]) == ("mine", SEED)]
    shown = [row for row in own if row["metric"] in ("top1", "er") and row["test_set"] in ("test", "emoji")]
    assert len(shown) == 3
    for row in shown:
        line = table["test (clean)" if row["test_set"] == "test" else row["test_set"]]
        value, lo = (number(row[key], row["metric"] == "er") for key in ("value", "lo"))
        assert f"{value} ({lo}" in line
        if row["metric"] == "top1":
            assert scores.pop(row["test_set"]) == round(row["value"], 2)
            assert line.split("|")[2] == f" {row['n']} "
    assert not scores
    assert (
        f"- images: {info.training['counts']['real']:,} real" in card and "- steps: 2" in card and "- seed: 3" in card
    )
    assert r"Some \*study\*" in card and r"# my\_model" in card
    arms = [{**of, "trained": {str(SEED): "another"}} for of in raw["arms"]]
    best = f"was {info.training['best_val_top1']:.1f} %"
    for text, arm in ((json.dumps(raw), "other"), (json.dumps({**raw, "arms": arms}), "mine"), ("{}", "mine")):
        results.write_text(text)
        card = classifier_card("my_model", TIMM, info, results, arm, "other")
        assert "without the results of a study" in card and best in card


@pytest.mark.parametrize(
    ("init", "shown"),
    [
        ("clip:/home/alice/secret/clip", "clip:clip"),
        ("resnet10t@~/alice/own.safetensors", "resnet10t@own.safetensors"),
        ("clip:C:\\alice\\clip", "clip:clip"),
        ("./alice/net", "net"),
        ("hf-hub:timm/vit", "hf-hub:timm/vit"),
    ],
)
def test_a_card_names_no_folder_of_the_machine(checkpoint: Path, init: str, shown: str) -> None:
    info = read_checkpoint_info(checkpoint)
    config = {**info.training["config"], "init": init}
    changed = dataclasses.replace(info, training={**info.training, "config": config})
    card = classifier_card("own", TIMM, changed, None, "", "other")
    assert (
        f"- starts from: {shown} (method: full)" in card
        and f"training images, of {shown}, and of the generator" in card
    )
    assert "alice" not in card


def test_what_cannot_be_exported_is_refused(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert genrobust("export", tmp_path, "--to", "timm").exit_code == 2  # no checkpoint
    model = create_classifier("test_resnet", 2, 48, {"blur_pool": True})
    save_checkpoint(tmp_path / "made", model, CheckpointInfo("test_resnet", {"blur_pool": True}, ("a", "b"), 48, {}))
    with pytest.raises(UserError, match="--to onnx"):
        export_classifier(tmp_path / "made", TIMM, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.chdir(tmp_path)
    done = genrobust("export", "pictograms:real", "--to", "onnx", "--run")  # which would train for minutes
    assert done.exit_code == 2 and "onnxscript, which is not installed: pip install 'genrobust[onnx]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.thorough
def test_blur_pool_goes_to_onnx(tmp_path: Path) -> None:
    """A network that timm would load without its filters, and answer otherwise."""
    torch.manual_seed(0)
    kwargs, trained = {"blur_pool": True}, {"config": {"keep": "last"}, "best_val_top1": 50.0}
    model = create_classifier("resnet18", 3, 48, kwargs).eval()
    save_checkpoint(tmp_path / "made", model, CheckpointInfo("resnet18", kwargs, ("a", "b", "c"), 48, trained))
    export_classifier(tmp_path / "made", ONNX, tmp_path / "out")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48), dtype=np.uint8)
    (logits,) = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx").run(["logits"], {"images": images})
    with torch.inference_mode():
        np.testing.assert_allclose(logits, model(torch.from_numpy(images)).numpy(), atol=1e-4)
    assert "was 50.0 %" in (tmp_path / "out" / "README.md").read_text()


def test_an_export_that_gives_other_logits_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(tensors: dict[str, torch.Tensor], *where: Any) -> None:
        save_file({**tensors, "fc.bias": tensors["fc.bias"] + 1e-3}, *where)

    monkeypatch.setattr("safetensors.torch.save_file", spoilt)
    with pytest.raises(GenrobustError, match=r"differs from the checkpoint by 0\.001 in a logit"):
        export_classifier(checkpoint, TIMM, tmp_path / "out")
    assert not list(tmp_path.iterdir())
