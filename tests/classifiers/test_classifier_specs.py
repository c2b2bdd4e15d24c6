"""Trained classifiers in: the same classifier by every way in, what is refused, and the answers of predict."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from onnx import TensorProto
from onnx_models import write_onnx
from PIL import Image
from refusals import refused
from safetensors.torch import save_file
from small_dataset import FEW, genrobust, rows

from genrobust.classifiers import load_checkpoint, open_classifier, prepare
from genrobust.classifiers.networks.logits import stack_images
from genrobust.core import GenrobustError, LabelSpace, UserError

CPU = torch.device("cpu")


def test_every_way_in_opens_the_same_classifier(
    checkpoint: Path, exports: dict[str, Path], cut_icons: Path, few_classes: LabelSpace
) -> None:
    words = [str(checkpoint), str(exports["timm"]), str(exports["onnx"])]
    opened = [open_classifier(word) for word in words]
    image = Image.open(sorted(cut_icons.rglob("*.png"))[1]).convert("RGB")
    pixels = opened[0].prepare(image)
    assert {c.classes for c in opened} == {few_classes.ids}
    assert all(np.array_equal(c.prepare(image), pixels) for c in opened)
    batch = stack_images([pixels])
    with torch.inference_mode():
        logits = [c.load(CPU)(batch) for c in opened]
    assert all(torch.allclose(other, logits[0], atol=1e-4) for other in logits)


def test_a_model_of_the_hub_is_read_from_its_cache(
    exports: dict[str, Path], few_classes: LabelSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        assert opened.classes == few_classes.ids
        with torch.inference_mode():
            assert torch.equal(opened.load(CPU)(images), wanted(images))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_is_read_with_its_architecture(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    tensors, path = network.eval().state_dict(), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    else:
        save_file(tensors, path)
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    opened = open_classifier(f"test_resnet@{path}", tmp_path / "labels.txt")
    assert opened.classes == ("cat", "dog", "bird")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (233, 264, 3), dtype=np.uint8))
    pixels = torch.from_numpy(opened.prepare(image)).permute(2, 0, 1)[None]
    config = timm.get_pretrained_cfg("test_resnet")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.mean, config.std))
    with torch.inference_mode():
        assert torch.allclose(opened.load(CPU)(pixels), network((pixels / 255 - mean) / std), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "alexnet"])
def test_a_state_dict_of_torchvision_s_is_read_and_how_it_prepares_images_is_said(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = torchvision.models.get_model(name, num_classes=1000).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    opened = open_classifier(f"{name}@{tmp_path / 'w.pth'}")
    open_classifier(f"{name}@{tmp_path / 'w.pth'}")
    (note,) = [record.getMessage() for record in caplog.records]
    assert "0.485" in note and "config.json" in note
    assert opened.classes[:2] == ("n01440764", "n01443537")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(opened.load(CPU)(pixels), network((pixels / 255 - mean) / std), atol=1e-3)


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


def test_a_file_of_names_renames_no_classifier_that_stores_its_own(
    checkpoint: Path, exports: dict[str, Path], cut_icons: Path, few_classes: LabelSpace, tmp_path: Path
) -> None:
    """Names that agree but for case and hyphens are fine; exchanged ones, and others, are a mistake."""
    own, file = list(few_classes.ids), tmp_path / "labels.txt"
    first, second = own[:2]
    for model in (checkpoint, exports["timm"], exports["onnx"]):
        file.write_text("\n".join(name.title() for name in own), encoding="utf-8")
        assert open_classifier(str(model), file).classes == few_classes.ids
        for names, given, stored in (([second, first, *own[2:]], second, first), ([*own[:-1], "x"], "x", own[-1])):
            file.write_text("\n".join(names), encoding="utf-8")
            done = genrobust("predict", model, cut_icons, "--labels", file)
            words = " ".join(done.stderr.split())
            assert done.exit_code == 2
            assert all(text in words for text in (file.name, model.name, repr(given), repr(stored)))


def test_what_cannot_be_opened_is_told(
    tmp_path: Path, exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, weights = tmp_path / "labels.txt", tmp_path / "w.safetensors"
    labels.write_text("one\ntwo\n", encoding="utf-8")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), weights)

    none = tmp_path / "none"
    for word, names, named in (
        (tmp_path, None, tmp_path),
        ("resnet50.a1_in1kk", None, "resnet50.a1_in1k"),
        ("hf-hub:a/b/c", None, "hf-hub:a/b/c"),
        (weights, None, "ARCHITECTURE@"),
        (f"test_resnet@{weights}", None, "--labels"),
        (f"test_resnet@{weights}", labels, labels),
        (f"test_resnett@{weights}", None, "test_resnet"),
        (f"alexnet@{weights}", None, "alexnet"),
        (f"test_resnet@{none}.pth", None, f"{none}.pth"),
        (exports["timm"], labels, labels),
        (exports["onnx"], labels, labels),
        (exports["onnx"], empty, empty),
        (exports["onnx"], none, none),
    ):
        with refused(named):
            open_classifier(str(word), names)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(GenrobustError) as error:
        open_classifier("hf-hub:timm/none")
    assert all(text in str(error.value) for text in ("hf-hub:timm/none", "--local-dir none", "--pretrained none"))


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
def test_an_onnx_file_from_elsewhere_is_asked(
    tmp_path: Path, batch: object, kind: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "labels").write_text("red\ngreen\nblue\n")
    opened = open_classifier(str(write_onnx(tmp_path / "m.onnx", [batch, 3, 16, 16], kind)), tmp_path / "labels")
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    scale = 255 if kind == TensorProto.FLOAT else 1
    assert torch.allclose(opened.load(CPU)(images), images.float().mean(dim=(2, 3)) / scale, rtol=1e-4)
    assert ("pixels in [0, 1]" in opened.preparation) == (kind == TensorProto.FLOAT)
    assert ("m.onnx" in caplog.text) == (kind == TensorProto.FLOAT)


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_the_probabilities_of_a_softmax_are_no_logits(
    tmp_path: Path, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An image of one color is that color almost certainly, as without the softmax; float32 keeps no other of 1e-50."""
    (tmp_path / "labels").write_text("red\ngreen\nblue\n")
    shape, kind = ["n", 3, 16, 16], TensorProto.UINT8
    plain = open_classifier(str(write_onnx(tmp_path / "plain.onnx", shape, kind)), tmp_path / "labels")
    opened = open_classifier(str(write_onnx(tmp_path / "end.onnx", shape, kind, last=last)), tmp_path / "labels")
    images = torch.randint(0, 4, (5, 3, 16, 16), dtype=torch.uint8)
    images[4, 0] = 255
    logits, wanted = opened.load(CPU)(images), plain.load(CPU)(images)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (last != "LogSoftmax")
    assert ("log-likelihood" in caplog.text) == (last != "LogSoftmax")
    assert opened.preparation == plain.preparation  # or their accuracies would not compare
    if last == "Sigmoid":
        assert torch.allclose(logits, wanted.sigmoid())
    else:
        assert torch.allclose(logits.softmax(dim=1), wanted.softmax(dim=1), atol=1e-5) and logits.isfinite().all()


def test_predict_gives_the_probabilities_of_the_checkpoint(
    checkpoint: Path, exports: dict[str, Path], cut_icons: Path, few_classes: LabelSpace, tmp_path: Path
) -> None:
    model, _ = load_checkpoint(checkpoint)
    for number_, word in enumerate((checkpoint, exports["timm"], exports["onnx"])):
        out = tmp_path / "new" / f"{number_}.csv"
        done = genrobust("predict", word, cut_icons, "--out", out, "--top", 3, "--batch-size", 7)
        assert done.exit_code == 0, done.output
        found = rows(out.read_text(encoding="utf-8"))
        assert [r["path"] for r in found] == sorted(
            p.relative_to(cut_icons).as_posix() for p in cut_icons.rglob("*.png")
        )
        for row in found:
            pixels = stack_images([prepare(Image.open(cut_icons / row["path"]).convert("RGB"), 32)])
            with torch.inference_mode():
                expected = model(pixels).softmax(dim=1)[0]
            best = expected.topk(3)
            assert [float(row[f"probability_{k}"]) for k in (1, 2, 3)] == pytest.approx(best.values.tolist(), abs=1e-5)
            likeliest = few_classes.ids.index(row["class_1"])
            assert float(expected[likeliest]) == pytest.approx(float(best.values[0]), abs=1e-5)
            assert row["error"] == "" and "class_4" not in row


def test_predict_goes_on_past_images_that_cannot_be_read(checkpoint: Path, cut_icons: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    first, second = sorted(cut_icons.rglob("*.png"))[:2]
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
    assert sum(float(found["z.png"][f"probability_{k}"]) for k in range(1, FEW + 1)) == pytest.approx(1, abs=1e-5)
