"""Predictions are made once, kept without pickles, and made again when weights, images or their preparation change."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from genrobust.classifiers import (
    CheckpointInfo,
    Feed,
    OpenClassifier,
    PredictedBy,
    are_saved,
    classify_images,
    create_classifier,
    images_in,
    logits_in_parts,
    open_checkpoint,
    open_classifier,
    predict_sets,
    save_checkpoint,
    weights_hash,
)
from genrobust.classifiers.predict import predict_sets as predict_sets_module
from genrobust.classifiers.predict.saved_predictions import FILE, load_predictions
from genrobust.core import ClassLabel, GenrobustError, ImageSet, LabelSpace, Predictions, Subset, UserError
from genrobust.data import MemoryImages
from genrobust.recipe import EvaluateConfig
from genrobust.store import Artifact, KeptParts

LABELS = LabelSpace(tuple(ClassLabel(i, i, i) for i in ("ant", "bee", "cat")))


def images(seed: int = 0, n: int = 10) -> MemoryImages:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return MemoryImages("test", list(pixels), [i % 3 for i in range(n)], [f"käse/{i}.png" for i in range(n)])


def save(
    folder: Path, size: int = 32, classes: tuple[str, ...] = LABELS.ids, architecture: str = "test_resnet"
) -> Path:
    model = create_classifier(architecture, len(classes), size)
    save_checkpoint(folder, model, CheckpointInfo(architecture, {}, classes, size, {}))
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "checkpoint")


def predict(
    checkpoint: Path, out: Path, sets: Mapping[str, ImageSet], labels: LabelSpace = LABELS, **settings: object
) -> Mapping[str, Predictions]:
    config = EvaluateConfig.model_validate(settings)
    opened = open_checkpoint(checkpoint, config)
    by = PredictedBy(checkpoint.name, opened.preparation)
    return predict_sets(out, {by: opened}, sets, labels, config.batch_size, "cpu", threads=1)[by]


def folder(out: Path, name: str, word: str = "*") -> Path:
    """The one folder of predictions on a set below `out`."""
    (found,) = out.glob(f"{word}-{name}-*")
    return found


def test_predictions_of_every_set(checkpoint: Path, tmp_path: Path) -> None:
    made = predict(checkpoint, tmp_path / "out", {"test": images(), "solid": images(1, 7)})
    assert list(made) == ["test", "solid"]
    assert made["solid"].logits.shape == (7, 3)
    assert made["test"].keys[0] == "käse/0.png" and made["test"].labels.tolist() == [0, 1, 2] * 3 + [0]
    assert made["test"].classes == ("ant", "bee", "cat") and made["test"].protocol.startswith("32 px")
    predict(checkpoint, tmp_path / "again", {"test": images()})
    one, other = (folder(tmp_path / out, "test") for out in ("again", "out"))
    assert one.name == other.name and (one / FILE).read_bytes() == (other / FILE).read_bytes()


def test_other_images_are_predicted_elsewhere_and_other_weights_anew(checkpoint: Path, tmp_path: Path) -> None:
    out, others = tmp_path / "out", {"test": images(1)}
    first = predict(checkpoint, out, {"test": images()})
    logits = np.array(first["test"].logits)
    other = np.array(predict(checkpoint, out, others)["test"].logits)
    assert not np.array_equal(logits, other) and np.array_equal(first["test"].logits, logits)
    save(checkpoint)
    again = predict(checkpoint, out, others)
    assert not np.array_equal(other, again["test"].logits)
    assert len(list(out.iterdir())) == 2
    for damaged in out.glob(f"*/{FILE}"):
        damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(GenrobustError, match=FILE):
        predict(checkpoint, out, others)["test"]


def test_saved_predictions_need_no_weights(checkpoint: Path, tmp_path: Path) -> None:
    """They may lie on a bucket, gigabytes of them."""
    made = predict(checkpoint, tmp_path / "out", {"test": images()})["test"]
    (checkpoint / "model.safetensors").unlink()
    assert np.array_equal(predict(checkpoint, tmp_path / "out", {"test": images()})["test"].logits, made.logits)
    with pytest.raises(GenrobustError, match=r"model\.safetensors"):
        predict(checkpoint, tmp_path / "out", {"test": images(1)})


class Counted(MemoryImages):
    """Counts how often each image is decoded."""

    def __init__(self, name: str, n: int) -> None:
        pixels = np.random.default_rng(n).integers(0, 256, (n, 40, 32, 3), dtype=np.uint8)
        super().__init__(name, list(pixels), [i % 3 for i in range(n)], [f"{name}/{i}" for i in range(n)])
        self.decoded: Counter[str] = Counter()

    def image(self, index: int) -> Image.Image:
        self.decoded[self.keys[index]] += 1
        return super().image(index)


@pytest.fixture
def several(tmp_path: Path) -> dict[PredictedBy, Path]:
    """Five checkpoints, the last of another size."""
    sizes = (32, 32, 32, 32, 48)
    return {PredictedBy(f"m{n}", str(n)): save(tmp_path / f"model-{n}", size) for n, size in enumerate(sizes)}


@pytest.mark.parametrize("flip", [False, True])
def test_many_classifiers_answer_as_each_alone(several: dict[PredictedBy, Path], tmp_path: Path, flip: bool) -> None:
    sets, settings = {"test": images(), "solid": images(1, 7)}, EvaluateConfig(batch_size=4, flip=flip)
    opened = {by: open_checkpoint(checkpoint, settings) for by, checkpoint in several.items()}
    found = predict_sets(tmp_path / "together", opened, sets, LABELS, 4, "cpu", threads=1)
    assert list(found) == list(several)
    for by, checkpoint in several.items():
        alone = tmp_path / f"alone-{checkpoint.name}"
        predict(checkpoint, alone, sets, batch_size=4, flip=flip)
        for name in sets:
            assert (found[by].folders[name] / FILE).read_bytes() == (folder(alone, name) / FILE).read_bytes()


def test_each_image_is_decoded_once_for_those_that_want_it_alike(
    several: dict[PredictedBy, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = {"test": Counted("test", 9), "solid": Counted("solid", 5)}
    opened = {by: open_checkpoint(checkpoint) for by, checkpoint in several.items()}
    same = dict(list(opened.items())[:4])
    predict_sets(tmp_path, same, sets, LABELS, 256, "cpu", threads=1)
    assert all(set(s.decoded.values()) == {1} and len(s.decoded) == len(s) for s in sets.values())
    predict_sets(tmp_path, opened, sets, LABELS, 256, "cpu", threads=1)  # the fifth alone is left
    assert all(set(s.decoded.values()) == {2} for s in sets.values())
    monkeypatch.setattr(predict_sets_module, "MAX_CLASSIFIERS", 3)
    for by in same:
        shutil.rmtree(folder(tmp_path, "solid", by.word))
    predict_sets(tmp_path, opened, sets, LABELS, 256, "cpu", threads=1)
    assert set(sets["test"].decoded.values()) == {2}
    assert set(sets["solid"].decoded.values()) == {4}


def test_classes_are_matched_by_id(checkpoint: Path, tmp_path: Path) -> None:
    some = LabelSpace((LABELS.classes[2], LABELS.classes[0]))
    whole = predict(checkpoint, tmp_path / "whole", {"test": images()})["test"]
    part = predict(checkpoint, tmp_path / "part", {"test": images()}, some)["test"]
    assert part.classes == ("cat", "ant") and np.array_equal(part.logits, whole.logits[:, [2, 0]])


def test_the_manifest_names_the_code_that_opened_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), file)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(LABELS.ids))
    spec = f"test_resnet@{file}"
    by = PredictedBy("weights", "")
    predict_sets(tmp_path / "out", {by: open_classifier(spec, names)}, {"a": images()}, LABELS, 8, "cpu", threads=1)
    code = Artifact(folder(tmp_path / "out", "a")).manifest().made_by["code"]
    assert {"classifiers.sources.state_dicts", "classifiers.sources.tensor_names"} <= code.keys()


def test_names_that_are_spelled_otherwise_since_leave_predictions_as_they_are(checkpoint: Path, tmp_path: Path) -> None:
    """As a study looks for them, by the weights; else it would make them, and not find them."""
    predict(checkpoint, tmp_path, {"test": images()})
    respelled = LabelSpace(tuple(ClassLabel(c.id, c.name, c.prompt, c.name.title()) for c in LABELS.classes))
    kept = folder(tmp_path, "test")
    written = (kept / FILE).stat().st_mtime_ns
    predict(checkpoint, tmp_path, {"test": images()}, respelled)
    assert are_saved(kept, weights_hash(checkpoint)) and (kept / FILE).stat().st_mtime_ns == written


def test_no_classifier_is_loaded_where_one_lacks_a_class(several: dict[PredictedBy, Path], tmp_path: Path) -> None:
    stranger = save(tmp_path / "stranger", classes=("ant", "bee", "dog"))
    named = several | {PredictedBy("stranger", "x"): stranger}
    opened = {by: open_checkpoint(checkpoint) for by, checkpoint in named.items()}
    with pytest.raises(UserError, match=r"stranger.* cat"):
        predict_sets(tmp_path / "out", opened, {"test": images()}, LABELS, 256, "cpu")
    assert not (tmp_path / "out").exists()


def test_another_protocol_is_another_prediction(checkpoint: Path, tmp_path: Path) -> None:
    out, made = tmp_path / "out", {}
    for key, value in (("batch_size", 3), ("crop_pct", 0.875), ("flip", True), ("image_size", 48)):
        made[key] = predict(checkpoint, out, {"test": images()}, **{key: value})["test"]
    protocols = [p.protocol for p in made.values()]
    assert len(set(protocols)) == 4 and protocols[3].startswith("48 px")
    plain = predict(checkpoint, out, {"test": images()})["test"]
    assert plain.protocol == protocols[0]  # the batch size is no part of it
    for key in ("crop_pct", "flip", "image_size"):
        assert not np.allclose(made[key].logits, plain.logits, atol=1e-4)


def test_a_network_of_one_size_is_evaluated_at_it_alone(tmp_path: Path) -> None:
    vit = save(tmp_path / "vit", architecture="test_vit")
    with pytest.raises(UserError, match=r"evaluate\.image_size"):
        predict(vit, tmp_path / "out", {"test": images()}, image_size=64)
    assert predict(vit, tmp_path / "out", {"test": images()}, image_size=32)["test"].logits.shape == (10, 3)


def test_what_a_set_says_of_its_labels_enters_its_predictions(checkpoint: Path, tmp_path: Path) -> None:
    shift = images(1, 4)
    shift.accepted = tuple((label, 2) for label in shift.labels.tolist())  # type: ignore[attr-defined]
    shift.protocol = "any of two is right"  # type: ignore[attr-defined]
    made = predict(checkpoint, tmp_path / "out", {"test": images(), "shift": shift})
    assert made["shift"].accepted == ((0, 2), (1, 2), (2, 2), (0, 2))
    assert made["shift"].protocol == f"{made['test'].protocol}; any of two is right"
    assert made["test"].accepted is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [(Subset(images(), []), "is empty"), (MemoryImages("solid", [b"no image"], [0], ["bad.png"]), r"bad\.png")],
    ids=["empty", "damaged"],
)
def test_a_bad_set_spoils_nothing_that_is_there(checkpoint: Path, tmp_path: Path, bad: ImageSet, said: str) -> None:
    good = predict(checkpoint, tmp_path / "out", {"test": images()})["test"]
    with pytest.raises(UserError, match=said):
        predict(checkpoint, tmp_path / "out", {"test": images(), "solid": bad})
    assert np.array_equal(load_predictions(folder(tmp_path / "out", "test")).logits, good.logits)
    assert not list((tmp_path / "out").glob("*solid*"))


def test_a_gpu_computes_as_exactly_for_a_folder_as_for_a_test_set(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Network(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return torch.zeros(len(images), 3)

    opened = OpenClassifier("it", LABELS.ids, "", np.asarray, "", lambda device: Network())
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    list(classify_images(opened, tmp_path, images_in(tmp_path), top=1, device="cpu"))
    logits_in_parts(opened, images(), Feed(10, torch.device("cpu")), KeptParts(None))
    assert seen == [False, False]
