"""Trained classifiers out and in: the same logits, classes and pixels in genrobust, timm, torchvision, onnxruntime."""

from __future__ import annotations

import csv
import dataclasses
import json
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import torchvision
from huggingface_hub import ModelCard
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from typer.testing import CliRunner, Result

from genrobust.classifiers.checkpoints import CheckpointInfo, read_checkpoint_info
from genrobust.classifiers.logits import stacked
from genrobust.classifiers.models import create_classifier, load_checkpoint, save_checkpoint
from genrobust.classifiers.opened import open_checkpoint
from genrobust.classifiers.opening import open_classifier
from genrobust.classifiers.predicting import predict_sets
from genrobust.classifiers.preprocess import prepare
from genrobust.cli import app
from genrobust.core import (
    ArmRecord,
    BaselineModel,
    GenrobustError,
    LabelSpace,
    MissingPackage,
    Predictions,
    StudyData,
    Subset,
    UserError,
)
from genrobust.recipe import TrainConfig
from genrobust.release.model_export import export_model
from genrobust.report.results import summary_to_json
from genrobust.report.wording import number
from genrobust.robustness.figure import list_figures
from genrobust.robustness.summary import Comparison, summarize
from genrobust.train.loop import train
from genrobust.train.mixture import Mixture, Source

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    architecture="resnet10t",
    model_kwargs={"channels": [8, 16, 24, 32], "stem_width": 8},
    image_size=32,
    steps=2,
    batch_size=16,
    warmup_steps=0,
    precision="float32",
)
CLASSES, SEED = 8, 3


@pytest.fixture(scope="module")
def labels(pictogram_data: StudyData) -> LabelSpace:
    return LabelSpace(pictogram_data.labels.classes[:CLASSES])


@pytest.fixture(scope="module")
def checkpoint(pictogram_data: StudyData, labels: LabelSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for two steps on eight classes of the pictograms."""
    real, val = (Subset(s, np.flatnonzero(s.labels < CLASSES)) for s in (pictogram_data.train, pictogram_data.val))
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    mixture = Mixture([Source("real", real)], CONFIG.batch_size, CONFIG.image_size)
    return train(mixture, val, labels, CONFIG, SEED, folder, device="cpu")


@pytest.fixture(scope="module")
def folder(pictogram_data: StudyData, labels: LabelSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test pictograms of these classes, one folder each, cut to sizes that are not square; names with all sorts in."""
    root = tmp_path_factory.mktemp("ein Ordner")
    images = pictogram_data.tests["test"]
    for index in np.flatnonzero(images.labels < CLASSES):
        place = root / labels.ids[images.labels[index]]
        place.mkdir(exist_ok=True)
        image = images.image(int(index))
        cut = (0, 0, 64 - int(index) % 5, 64 - int(index) % 7)
        image.crop(cut).save(place / f"nº {index}, größer.png")
    return root


@pytest.fixture(scope="module")
def exports(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoint as a folder for timm and as an ONNX file."""
    root = tmp_path_factory.mktemp("exports")
    for form in ("timm", "onnx"):
        export_model(checkpoint, form, root / form)
    return {"timm": root / "timm", "onnx": root / "onnx" / "model.onnx"}


def genrobust(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


# ------------------------------------------------------------------------------------------ out


def test_timm_and_onnxruntime_give_the_logits_of_the_checkpoint(
    checkpoint: Path, exports: dict[str, Path], folder: Path, labels: LabelSpace
) -> None:
    """Each with its own loader, and timm with its own transform, on images of other sizes and shapes."""
    model, info = load_checkpoint(checkpoint)
    network = timm.create_model(f"local-dir:{exports['timm']}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(network))
    session = onnxruntime.InferenceSession(exports["onnx"])
    paths = sorted(folder.rglob("*.png"))
    images = [Image.open(path).convert("RGB") for path in paths]
    pixels = np.stack([prepare(image, info.image_size) for image in images]).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        ours = model(torch.from_numpy(pixels)).numpy()
        theirs = network(torch.stack([transform(image) for image in images])).numpy()
    (onnx_logits,) = session.run(["logits"], {"images": pixels})
    assert len(paths) > 20 and {image.size[0] == image.size[1] for image in images} == {True, False}
    assert ours.std(axis=0).min() > 1e-3  # images are told apart, so that agreeing means something
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    np.testing.assert_allclose(onnx_logits, ours, atol=1e-4)
    assert tuple(network.pretrained_cfg["label_names"]) == info.classes == labels.ids
    assert json.loads(session.get_modelmeta().custom_metadata_map["label_names"]) == list(labels.ids)


@pytest.mark.parametrize("form", ["timm", "onnx"])
def test_a_transformer_of_another_normalization_comes_through(tmp_path: Path, form: str) -> None:
    torch.manual_seed(0)
    model = create_classifier("test_vit", 5, 48).eval()  # of a fixed size, with mean and SD 0.5
    save_checkpoint(tmp_path / "c", model, CheckpointInfo("test_vit", {}, tuple("abcde"), 48, {}))
    files = export_model(tmp_path / "c", form, tmp_path / "out")
    opened = open_classifier(str(files["model.onnx"] if form == "onnx" else tmp_path / "out"))
    images = torch.randint(0, 256, (5, 3, 48, 48), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(opened.load(CPU)(images), model(images), atol=1e-4)
    image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    assert opened.classes == tuple("abcde") and opened.prepare(image).shape == (48, 48, 3)


def test_a_file_holds_no_path_of_the_machine_that_wrote_it(exports: dict[str, Path]) -> None:
    raw = exports["onnx"].read_bytes()
    assert b"genrobust" in raw and b".py" not in raw


@pytest.mark.parametrize("form", ["timm", "onnx"])
def test_the_lines_in_the_card_run(
    exports: dict[str, Path], folder: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    where = exports["timm"].parent
    monkeypatch.chdir(where)
    path = sorted(folder.rglob("*.png"))[3]
    shutil.copy(path, where / "image.png")
    (code,) = re.findall(r"```python\n(.*?)```", (where / form / "README.md").read_text(encoding="utf-8"), re.S)
    exec(code, {})
    (row,) = [r for r in rows(genrobust("predict", exports[form], folder).stdout) if r["path"].endswith(path.name)]
    assert capsys.readouterr().out.strip() == row["class_1"]


# ------------------------------------------------------------------------------------------ the card


@pytest.fixture
def results(checkpoint: Path, pictogram_data: StudyData, labels: LabelSpace, tmp_path: Path) -> Path:
    """The results.json of a study of two arms, of which `mine` is the checkpoint's; emoji has part of the classes."""
    sets = {}
    for name, classes in (("test", CLASSES), ("emoji", 5)):
        sets[name] = Subset(pictogram_data.tests[name], np.flatnonzero(pictogram_data.tests[name].labels < classes))
    out = tmp_path / "predictions"
    found = predict_sets({out: open_checkpoint(checkpoint)}, sets, labels, 256, "cpu")[out]
    seeds, random = (1, SEED), np.random.default_rng(0)
    of_study: dict[tuple[str, int, str], Predictions] = {}
    for test, own in found.items():
        for arm in ("other", "mine"):
            for seed in seeds:
                noise = random.normal(size=own.logits.shape).astype(np.float32)
                mine = (arm, seed) == ("mine", SEED)
                of_study[arm, seed, test] = own if mine else dataclasses.replace(own, logits=noise)
    lines = [BaselineModel(f"m{i}", "emoji", 10 + 4 * i, 8 + 3 * i + i % 3) for i in range(10)]
    summary = summarize(of_study, lines, Comparison("test", ["emoji"], "other", min_images=1, bootstrap=50))
    counts = read_checkpoint_info(checkpoint).training["counts"]
    arms = [
        ArmRecord("other", {**counts, "generated": 7}, "resnet10t", "standard", 2, 16),
        ArmRecord("mine", counts, "resnet10t", "standard", 2, 16),
    ]
    path = tmp_path / "results.json"
    raw = {"title": "Some *study*", "date": "2026-01-02", "arms": [dataclasses.asdict(a) for a in arms]}
    path.write_text(json.dumps({**raw, "summary": summary_to_json(summary)}), encoding="utf-8")
    return path


def test_the_card_tells_the_figures_of_the_results(checkpoint: Path, results: Path, tmp_path: Path) -> None:
    export_model(checkpoint, "timm", tmp_path / "my_model", results)
    card = (tmp_path / "my_model" / "README.md").read_text(encoding="utf-8")
    raw = json.loads(results.read_text(encoding="utf-8"))
    table = {line.split("|")[1].strip(): line for line in card.splitlines() if line.startswith("|")}
    figures = {figure.name: figure for figure in list_figures()}
    scores = {r.dataset_name: r.metric_value for r in ModelCard(card).data.eval_results or ()}
    own = [row for row in raw["summary"]["scores"] if (row["arm"], row["seed"]) == ("mine", SEED)]
    assert {row["figure"] for row in own} > {"top1", "er", "nll"}
    for row in own:
        line = table["test (clean)" if row["test_set"] == "test" else row["test_set"]]
        figure = figures[row["figure"]]
        value, lo = (number(row[key], figure.signed, figure.digits) for key in ("value", "lo"))
        assert f"{value} ({lo}" in line
        if figure.name == "top1":
            assert scores.pop(row["test_set"]) == round(row["value"], 2)
            assert line.split("|")[2:4] == [f" {row['n']} ", f" {row['classes']} "]
    assert {"emoji", "test (clean)"} <= table.keys() and not scores
    assert "| 5 |" in table["emoji"] and "| 8 |" in table["test (clean)"]
    keys = {"figure": "top1", "arm": "mine", "test_set": "mean of shifts", "seed": None, "minus": ""}
    mean = next(row for row in raw["summary"]["scores"] if keys.items() <= row.items())
    assert f"top-1 is {mean['value']:.1f} %" in card
    counts = read_checkpoint_info(checkpoint).training["counts"]
    assert f"| images | {counts['real']:,} real |" in card and "| seed | 3 |" in card and "| steps | 2 |" in card
    assert r"Some \*study\*" in card and r"# my\_model" in card


def test_a_card_without_results_says_so(exports: dict[str, Path], checkpoint: Path) -> None:
    card = (exports["timm"] / "README.md").read_text(encoding="utf-8")
    best = read_checkpoint_info(checkpoint).training["best_val_top1"]
    assert "without the results of a study" in card and f"{best:.1f} %" in card
    assert "No licence was chosen" in card


def test_a_checkpoint_of_another_study_is_refused(checkpoint: Path, results: Path, tmp_path: Path) -> None:
    raw = json.loads(results.read_text(encoding="utf-8"))

    def told(arm: str | None = None, **changed: object) -> Path:
        results.write_text(json.dumps({**raw, **changed}), encoding="utf-8")
        return export_model(checkpoint, "timm", tmp_path / "out", results, arm)["README.md"]

    def arms(**changed: object) -> list[dict[str, object]]:
        return [{**arm, **changed} for arm in raw["arms"]]

    with pytest.raises(UserError, match=r"no arm trained as this checkpoint did.*other on .*7 generated"):
        told(arms=arms(steps=3))
    alike = arms(parts=raw["arms"][1]["parts"])
    with pytest.raises(UserError, match="the arms other and mine trained alike: say which one it is with --arm"):
        told(arms=alike)
    with pytest.raises(UserError, match="--arm other: the checkpoint is of mine"):
        told("other")
    with pytest.raises(UserError, match=r"has the seeds .*, and the checkpoint the seed 3"):
        told(summary={**raw["summary"], "seeds": [0]})
    with pytest.raises(UserError, match="no summary of a study"):
        told(summary={"format": 2})
    with pytest.raises(UserError, match=r"no results\.json of a study"):
        told(arms=None)
    assert not (tmp_path / "out").exists()
    assert "the arm mine, seed 3" in told("mine", arms=alike).read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------ bad exports


def test_what_lies_in_a_folder_is_not_lost(checkpoint: Path, exports: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"holds thesis\.tex, which is no part of an export"):
            export_model(checkpoint, "timm", out, overwrite=overwrite)
    (out / "thesis.tex").unlink()
    shutil.copytree(exports["onnx"].parent, out, dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"holds an export.*--overwrite"):
        export_model(checkpoint, "timm", out)
    export_model(checkpoint, "timm", out, overwrite=True)
    assert {p.name for p in out.iterdir()} - {".lock"} == {"README.md", "config.json", "model.safetensors"}
    with pytest.raises(UserError, match=r"holds checkpoint\.json"):
        export_model(checkpoint, "timm", checkpoint, overwrite=True)


def test_what_cannot_be_exported_is_refused(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert genrobust("export-model", tmp_path, "--to", "timm").exit_code == 2  # no checkpoint
    with pytest.raises(UserError, match="exported to timm or onnx"):
        export_model(checkpoint, "tflite", tmp_path / "out")
    alexnet = {**json.loads((checkpoint / "checkpoint.json").read_text()), "architecture": "alexnet"}
    (tmp_path / "alexnet").mkdir()
    (tmp_path / "alexnet" / "checkpoint.json").write_text(json.dumps(alexnet))
    with pytest.raises(UserError, match=r"timm has no AlexNet.*--to onnx"):
        export_model(tmp_path / "alexnet", "timm", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackage, match=r"onnxscript, which is not installed: pip install 'genrobust\[onnx\]'"):
        export_model(checkpoint, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_gives_other_logits_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
        from safetensors.torch import save

        return save({**tensors, "fc.bias": tensors["fc.bias"] + 1e-3}, metadata)

    monkeypatch.setattr("genrobust.release.model_export.save", spoilt)
    with pytest.raises(GenrobustError, match=r"differs from the checkpoint by 0\.001 in a logit"):
        export_model(checkpoint, "timm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------ in


def test_every_way_in_opens_the_same_classifier(
    checkpoint: Path, exports: dict[str, Path], folder: Path, labels: LabelSpace
) -> None:
    words = [str(checkpoint), str(exports["timm"]), f"local-dir:{exports['timm']}", str(exports["onnx"])]
    opened = [open_classifier(word) for word in words]
    image = Image.open(sorted(folder.rglob("*.png"))[1]).convert("RGB")
    pixels = opened[0].prepare(image)
    assert {c.classes for c in opened} == {labels.ids}
    assert all(np.array_equal(c.prepare(image), pixels) for c in opened)
    batch = stacked([pixels])
    with torch.inference_mode():
        logits = [c.load(CPU)(batch) for c in opened]
    assert all(torch.allclose(other, logits[0], atol=1e-4) for other in logits)


def test_a_model_of_the_hub_is_read_from_its_cache(
    exports: dict[str, Path], labels: LabelSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--me--icons"
    shutil.copytree(exports["timm"], cached / "snapshots" / "0123abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    wanted = open_classifier(str(exports["timm"])).load(CPU)
    for word in ("hf-hub:me/icons", "hf-hub:me/icons@main"):
        opened = open_classifier(word)
        assert opened.classes == labels.ids
        with torch.inference_mode():
            assert torch.equal(opened.load(CPU)(images), wanted(images))


@pytest.mark.parametrize("name", ["test_resnet", "shufflenet_v2_x0_5", "efficientnet_b0"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_is_read_with_its_architecture(tmp_path: Path, name: str, suffix: str) -> None:
    """timm's own, one that torchvision alone has, and torchvision's of a name that timm has for another."""
    torch.manual_seed(0)
    if name == "test_resnet":
        network = timm.create_model(name, num_classes=3)
    else:
        network = torchvision.models.get_model(name, num_classes=3)
    tensors, path = network.eval().state_dict(), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    else:
        save_file(tensors, path)
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    opened = open_classifier(f"{name}@{path}", tmp_path / "labels.txt")
    assert opened.classes == ("cat", "dog", "bird")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (233, 264, 3), dtype=np.uint8))
    pixels = torch.from_numpy(opened.prepare(image)).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    if name == "test_resnet":
        config = timm.get_pretrained_cfg(name)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.mean, config.std))
    with torch.inference_mode():
        assert torch.allclose(opened.load(CPU)(pixels), network((pixels / 255 - mean) / std), atol=1e-4)


def test_a_torchvision_network_sees_images_as_torchvision_prepares_them(tmp_path: Path) -> None:
    network = torchvision.models.get_model("shufflenet_v2_x0_5", num_classes=1000)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    opened = open_classifier(f"shufflenet_v2_x0_5@{tmp_path / 'w.pth'}")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (301, 400, 3), dtype=np.uint8))
    preset = torchvision.models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.transforms()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preset.mean, preset.std))
    theirs = (preset(image) * std + mean) * 255
    assert np.allclose(opened.prepare(image).transpose(2, 0, 1), theirs.numpy(), atol=0.01)
    assert opened.classes[:2] == ("n01440764", "n01443537")


class Trap:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("import pathlib; pathlib.Path('sprung').touch()",)


def test_a_pickle_that_is_no_state_dict_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Trap()}, "trap.pth")
    Path("plain.pt").write_bytes(pickle.dumps({"fc.weight": Trap()}, protocol=2))
    torch.save({"state_dict": {"fc.weight": "text"}}, "text.pth")
    torch.save([1, 2], "list.pth")
    Path("empty.safetensors").write_bytes(b"")
    for name in ("trap.pth", "plain.pt", "text.pth", "list.pth", "empty.safetensors"):
        with pytest.raises(UserError, match=f"{name} is no (plain )?state dict"):
            open_classifier(f"test_resnet@{name}")
    assert not Path("sprung").exists()


def test_what_cannot_be_opened_is_told(
    tmp_path: Path, exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, weights = tmp_path / "labels.txt", tmp_path / "w.safetensors"
    labels.write_text("one\ntwo\n", encoding="utf-8")
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), weights)

    def refuses(word: object, message: str, names: Path | None = None) -> None:
        with pytest.raises(UserError, match=message):
            open_classifier(str(word), names)

    refuses(tmp_path, "holds no classifier")
    refuses(f"local-dir:{tmp_path}", "holds no model of timm's")
    refuses("resnet50.a1_in1kk", r"did you mean resnet50\.a1_in1k")
    refuses("no such thing", "a classifier is a checkpoint's folder, ")
    refuses("hf-hub:a/b/c", "hf-hub:a/b/c: ")
    refuses(weights, r"holds weights alone: name the architecture too, ARCHITECTURE@")
    refuses(f"test_resnet@{weights}", r"does not fit test_resnet with the 1000 classes of ImageNet.*--labels")
    refuses(f"test_resnet@{weights}", "does not fit test_resnet with the 2 classes as --labels names", labels)
    refuses(f"test_resnett@{weights}", "no.* knows an architecture 'test_resnett'; did you mean test_resnet")
    refuses(f"test_resnet@{tmp_path / 'none.pth'}", "no file .*none.pth")
    for word in (exports["timm"], exports["onnx"], exports["timm"].parent / "timm"):
        refuses(word, r"labels\.txt names 2 classes, and .* has 8 logits", labels)
    labels.write_text("\n")
    refuses(exports["onnx"], "names no class", labels)
    refuses(exports["onnx"], "cannot read the class names", tmp_path / "none.txt")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        GenrobustError, match=r"cannot fetch hf-hub:timm/none from the hub: .*give the folder of a down"
    ):
        open_classifier("hf-hub:timm/none")


def write_onnx(path: Path, shape: list[object], kind: int = TensorProto.FLOAT, inputs: int = 1) -> Path:
    """The mean of each channel, as three logits."""
    given = [helper.make_tensor_value_info(f"in{i}", kind, shape) for i in range(inputs)]
    cast = helper.make_node("Cast", ["in0"], ["x"], to=TensorProto.FLOAT)
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["out"], keepdims=0)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [shape[0], 3])
    graph = helper.make_graph([cast, mean], "g", given, [out], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("shape", "kind", "inputs", "message"),
    [
        (["n", 3, 16, 16], TensorProto.FLOAT, 2, "has 2 inputs and 1 outputs"),
        ([1, 1, 28, 28], TensorProto.FLOAT, 1, r"is tensor\(float\) 1 x 1 x 28 x 28: a classifier has one input"),
        (["n", 3, 16, 20], TensorProto.FLOAT, 1, "n x 3 x 16 x 20"),
        ([8, 3, 16, 16], TensorProto.FLOAT, 1, "a batch of 1 or of any size"),
        (["n", 3, 16, 16], TensorProto.INT64, 1, r"tensor\(int64\)"),
        (["n", 3, 16, 16], TensorProto.FLOAT, 1, "has 3 classes of unknown names: .* --labels FILE"),
    ],
)
def test_an_onnx_file_of_another_kind_is_refused(
    tmp_path: Path, shape: list[object], kind: int, inputs: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        open_classifier(str(write_onnx(tmp_path / "m.onnx", shape, kind, inputs)))


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
def test_an_onnx_file_from_elsewhere_is_asked(tmp_path: Path, batch: object, kind: int) -> None:
    (tmp_path / "labels").write_text("red\ngreen\nblue\n")
    opened = open_classifier(str(write_onnx(tmp_path / "m.onnx", [batch, 3, 16, 16], kind)), tmp_path / "labels")
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    scale = 255 if kind == TensorProto.FLOAT else 1
    assert torch.allclose(opened.load(CPU)(images), images.float().mean(dim=(2, 3)) / scale, rtol=1e-4)
    assert ("pixels in [0, 1]" in opened.prepared) == (kind == TensorProto.FLOAT)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(UserError, match=r"bad\.onnx is no ONNX file"):
        open_classifier(str(tmp_path / "bad.onnx"))
    with pytest.raises(UserError, match=r"no file .*none\.onnx"):
        open_classifier(str(tmp_path / "none.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r"pip install 'genrobust\[onnx\]'"):
        open_classifier(str(tmp_path / "bad.onnx"))


# ------------------------------------------------------------------------------------------ predict


def test_predict_gives_the_probabilities_of_the_checkpoint(
    checkpoint: Path, exports: dict[str, Path], folder: Path, labels: LabelSpace, tmp_path: Path
) -> None:
    model, _ = load_checkpoint(checkpoint)
    for number_, word in enumerate((checkpoint, exports["timm"], exports["onnx"])):
        out = tmp_path / "new" / f"{number_}.csv"
        done = genrobust("predict", word, folder, "--out", out, "--top", 3, "--batch-size", 7)
        assert done.exit_code == 0, done.output
        found = rows(out.read_text(encoding="utf-8"))
        assert [r["path"] for r in found] == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
        for row in found:
            pixels = stacked([prepare(Image.open(folder / row["path"]).convert("RGB"), 32)])
            with torch.inference_mode():
                expected = model(pixels).softmax(dim=1)[0]
            best = expected.topk(3)
            assert [float(row[f"probability_{k}"]) for k in (1, 2, 3)] == pytest.approx(best.values.tolist(), abs=1e-5)
            assert float(expected[labels.index(row["class_1"])]) == pytest.approx(float(best.values[0]), abs=1e-5)
            assert row["error"] == "" and "class_4" not in row


def test_predict_goes_on_past_images_that_cannot_be_read(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    first, second = sorted(folder.rglob("*.png"))[:2]
    shutil.copy(first, tmp_path / "in" / "sub" / "a b.png")
    shutil.copy(second, tmp_path / "in" / "z.png")
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "cut.png").write_bytes(first.read_bytes()[:90])
    (tmp_path / "in" / "notes.txt").write_text("no image")
    done = genrobust("predict", checkpoint, tmp_path / "in", "--top", 99)
    assert done.exit_code == 1 and "2 of 4 images cannot be read" in done.stderr
    found = {row["path"]: row for row in rows(done.stdout)}
    assert list(found) == ["cut.png", "empty.png", "sub/a b.png", "z.png"]
    assert "damaged or truncated" in found["cut.png"]["error"] and "zero bytes" in found["empty.png"]["error"]
    assert found["cut.png"]["class_1"] == ""
    assert sum(float(found["z.png"][f"probability_{k}"]) for k in range(1, CLASSES + 1)) == pytest.approx(1, abs=1e-5)


def test_predict_refuses_what_it_cannot_do(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("mine")
    done = genrobust("predict", checkpoint, folder, "--out", tmp_path / "photo.png")
    assert done.exit_code == 2 and (tmp_path / "photo.png").read_text() == "mine"
    (tmp_path / "none").mkdir()
    for place, message in ((tmp_path / "none", "holds no images"), (tmp_path / "nowhere", "cannot read the folder")):
        done = genrobust("predict", checkpoint, place, "--out", tmp_path / "out.csv")
        assert done.exit_code == 2 and message in done.stderr
    assert not (tmp_path / "out.csv").exists()
