"""Predictions are made once, kept without pickles, and made again when weights or images change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genrobust.classifiers import models, predictor as predicting
from genrobust.classifiers.checkpoints import CheckpointInfo
from genrobust.classifiers.models import create_classifier, save_checkpoint
from genrobust.classifiers.predictor import predict, predict_all
from genrobust.classifiers.saved import load_predictions
from genrobust.core.errors import UserError
from genrobust.core.images import ClassLabel, LabelSpace, Subset
from genrobust.core.results import Predictions
from genrobust.data.memory import MemoryImages
from genrobust.recipe.classify import EvaluateConfig

LABELS = LabelSpace(tuple(ClassLabel(i, i, i) for i in ("ant", "bee", "cat")))


def images(seed: int = 0, n: int = 10) -> MemoryImages:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return MemoryImages("test", list(pixels), [i % 3 for i in range(n)], [f"käse/{i}.png" for i in range(n)])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    info = CheckpointInfo("test_resnet", {}, LABELS.ids, 32, {})
    save_checkpoint(folder, create_classifier("test_resnet", 3, 32), info)
    return folder


def make(checkpoint: Path, out: Path, **sets: MemoryImages) -> dict[str, Predictions]:
    return predict(checkpoint, dict(sets), LABELS, out, device="cpu", threads=1)


def test_predictions_of_every_set(checkpoint: Path, tmp_path: Path) -> None:
    made = make(checkpoint, tmp_path / "out", test=images(), solid=images(1, 7))
    assert list(made) == ["test", "solid"]
    assert made["solid"].logits.shape == (7, 3)
    assert made["test"].keys[0] == "käse/0.png" and made["test"].labels.tolist() == [0, 1, 2] * 3 + [0]
    assert made["test"].classes == ("ant", "bee", "cat") and made["test"].protocol.startswith("32 px")


def test_a_second_call_reads_what_the_first_wrote(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(checkpoint, tmp_path / "out", test=images())["test"]
    monkeypatch.setattr(models, "predict_together", None)  # nothing may be predicted again
    second = make(checkpoint, tmp_path / "out", test=images())["test"]
    assert np.array_equal(first.logits, second.logits) and first.keys == second.keys


def test_changed_images_changed_weights_and_a_damaged_file_are_predicted_again(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = make(checkpoint, out, test=images())["test"]
    other = make(checkpoint, out, test=images(1))["test"]
    assert not np.array_equal(first.logits, other.logits)
    save_checkpoint(
        checkpoint, create_classifier("test_resnet", 3, 32), CheckpointInfo("test_resnet", {}, LABELS.ids, 32, {})
    )
    assert not np.array_equal(other.logits, make(checkpoint, out, test=images(1))["test"].logits)
    (out / "test.npz").write_bytes((out / "test.npz").read_bytes()[:100])
    assert make(checkpoint, out, test=images(1))["test"].logits.shape == (10, 3)


class Counted(MemoryImages):
    """Counts how often each image is decoded."""

    decoded: Counter[str]

    def image(self, index: int) -> Image.Image:
        self.decoded[self.keys[index]] += 1
        return super().image(index)


def counted(name: str, n: int) -> Counted:
    pixels = np.random.default_rng(n).integers(0, 256, (n, 40, 32, 3), dtype=np.uint8)
    made = Counted(name, list(pixels), [i % 3 for i in range(n)], [f"{name}/{i}" for i in range(n)])
    made.decoded = Counter()
    return made


@pytest.fixture
def several(tmp_path: Path) -> dict[Path, Path]:
    """Five checkpoints, the last of another size, each with a folder for its predictions."""
    sizes = (32, 32, 32, 32, 48)
    for number, size in enumerate(sizes):
        info = CheckpointInfo("test_resnet", {}, LABELS.ids, size, {})
        save_checkpoint(tmp_path / f"model-{number}", create_classifier("test_resnet", 3, size), info)
    return {tmp_path / f"model-{n}": tmp_path / f"together-{n}" for n in range(len(sizes))}


@pytest.mark.parametrize("flip", [False, True])
def test_many_classifiers_answer_as_each_alone(several: dict[Path, Path], tmp_path: Path, flip: bool) -> None:
    sets, settings = {"test": images(), "solid": images(1, 7)}, EvaluateConfig(batch_size=4, flip=flip)
    made = predict_all(several, sets, LABELS, settings, "cpu", threads=1)
    assert list(made) == list(several)
    for checkpoint, out in several.items():
        alone = tmp_path / f"alone-{checkpoint.name}"
        predict(checkpoint, sets, LABELS, alone, settings, "cpu", threads=1)
        for name in sets:
            assert (out / f"{name}.npz").read_bytes() == (alone / f"{name}.npz").read_bytes()


def test_each_image_is_decoded_once_for_the_classifiers_of_a_size(
    several: dict[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = {"test": counted("test", 9), "solid": counted("solid", 5)}
    same = dict(list(several.items())[:4])
    predict_all(same, sets, LABELS, device="cpu", threads=1)
    assert all(set(s.decoded.values()) == {1} and len(s.decoded) == len(s) for s in sets.values())
    predict_all(several, sets, LABELS, device="cpu", threads=1)  # the fifth alone is left
    assert all(set(s.decoded.values()) == {2} for s in sets.values())
    monkeypatch.setattr(predicting, "TOGETHER", 3)
    for out in same.values():
        (out / "solid.npz").unlink()
    predict_all(several, sets, LABELS, device="cpu", threads=1)
    assert set(sets["test"].decoded.values()) == {2}
    assert set(sets["solid"].decoded.values()) == {4}


def test_no_classifier_is_asked_where_one_knows_other_classes(several: dict[Path, Path], tmp_path: Path) -> None:
    info = CheckpointInfo("test_resnet", {}, ("ant", "bee", "dog"), 32, {})
    save_checkpoint(tmp_path / "stranger", create_classifier("test_resnet", 3, 32), info)
    with pytest.raises(UserError, match="stranger knows 3 classes, which are not the 3 of this data"):
        predict_all({**several, tmp_path / "stranger": tmp_path / "x"}, {"test": images()}, LABELS, device="cpu")
    assert not any(list(out.glob("*.npz")) for out in several.values())


def test_another_protocol_is_another_prediction(checkpoint: Path, tmp_path: Path) -> None:
    out, made = tmp_path / "out", {}
    for key, value in (("batch_size", 3), ("crop_pct", 0.875), ("flip", True), ("image_size", 48)):
        settings = EvaluateConfig.model_validate({key: value})
        made[key] = predict(checkpoint, {"test": images()}, LABELS, out, settings, device="cpu", threads=1)["test"]
        assert load_predictions(out / "test.npz").protocol == made[key].protocol
    protocols = [p.protocol for p in made.values()]
    assert len(set(protocols)) == 4 and protocols[3].startswith("48 px")
    plain = make(checkpoint, out, test=images())["test"]
    assert plain.protocol == protocols[0]  # the batch size is no part of it
    for key in ("crop_pct", "flip", "image_size"):
        assert not np.allclose(made[key].logits, plain.logits, atol=1e-4)


def test_a_network_of_one_size_is_evaluated_at_it_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, create_classifier("test_vit", 3, 32), CheckpointInfo("test_vit", {}, LABELS.ids, 32, {}))
    with pytest.raises(UserError, match=r"evaluate\.image_size: test_vit takes images of the 32 px"):
        predict(tmp_path, {"test": images()}, LABELS, tmp_path / "out", EvaluateConfig(image_size=64), device="cpu")
    made = predict(tmp_path, {"test": images()}, LABELS, tmp_path / "out", EvaluateConfig(image_size=32), device="cpu")
    assert made["test"].logits.shape == (10, 3)


def test_what_a_set_says_of_its_labels_enters_its_predictions(checkpoint: Path, tmp_path: Path) -> None:
    shift = images(1, 4)
    shift.accepted = tuple((label, 2) for label in shift.labels.tolist())  # type: ignore[attr-defined]
    shift.protocol = "any of two is right"  # type: ignore[attr-defined]
    made = make(checkpoint, tmp_path / "out", test=images(), shift=shift)
    assert made["shift"].accepted == ((0, 2), (1, 2), (2, 2), (0, 2))
    assert made["shift"].protocol == f"{made['test'].protocol}; any of two is right"
    assert made["test"].accepted is None
    again = make(checkpoint, tmp_path / "out", shift=shift)["shift"]
    assert (again.accepted, again.protocol) == (made["shift"].accepted, made["shift"].protocol)


def test_same_predictions_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    make(checkpoint, tmp_path / "one", test=images())
    make(checkpoint, tmp_path / "two", test=images())
    assert (tmp_path / "one" / "test.npz").read_bytes() == (tmp_path / "two" / "test.npz").read_bytes()


def test_another_label_space_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    turned = LabelSpace(LABELS.classes[::-1])
    with pytest.raises(UserError, match="not the 3 of this data"):
        predict(checkpoint, {"test": images()}, turned, tmp_path / "out", device="cpu")


def test_an_empty_set_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        predict(checkpoint, {"test": Subset(images(), [])}, LABELS, tmp_path / "out", device="cpu")


def test_a_bad_image_spoils_nothing_that_is_there(checkpoint: Path, tmp_path: Path) -> None:
    good = make(checkpoint, tmp_path / "out", test=images())["test"]
    bad = MemoryImages("solid", [b"no image"], [0], ["bad.png"])
    with pytest.raises(UserError, match=r"bad\.png"):
        make(checkpoint, tmp_path / "out", test=images(), solid=bad)
    assert np.array_equal(load_predictions(tmp_path / "out" / "test.npz").logits, good.logits)
    assert not (tmp_path / "out" / "solid.npz").exists()
