"""Classifiers own their normalization, survive a round trip to disk, and give logits that no batch size changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genrobust.classifiers.checkpoints import CheckpointInfo
from genrobust.classifiers.models import create_classifier, load_checkpoint, predict_logits, save_checkpoint
from genrobust.classifiers.preprocess import prepare, protocol
from genrobust.core.errors import GenrobustError, UserError
from genrobust.data.memory import MemoryImages


def noise(n: int, size: int = 32) -> MemoryImages:
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return MemoryImages("noise", list(pixels), [0] * n, [str(i) for i in range(n)])


def test_bytes_and_fractions_give_the_same_logits() -> None:
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 5, 32).eval()
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(model(images), model(images.float() / 255))
    assert model(images).shape == (3, 5)


def test_normalization_is_that_of_the_architecture() -> None:
    assert create_classifier("resnet10t", 5, 64).mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert create_classifier("test_vit", 5, 64).mean.flatten().tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_the_seed_decides_the_weights() -> None:
    def made(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(create_classifier("test_resnet", 5, 32).network.parameters())

    assert torch.equal(made(1), made(1)) and not torch.equal(made(1), made(2))


def test_transformers_take_the_size_of_the_study() -> None:
    assert create_classifier("test_vit", 5, 64)(torch.rand(1, 3, 64, 64)).shape == (1, 5)


def test_model_kwargs_reach_timm() -> None:
    narrow = create_classifier("resnet10t", 5, 64, {"channels": [16, 32, 48, 64], "stem_width": 8})
    full = create_classifier("resnet10t", 5, 64)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in full.parameters()) / 4


@pytest.mark.parametrize(
    ("architecture", "kwargs", "message"),
    [
        ("resnet10x", {}, r"no architecture 'resnet10x'; did you mean .*resnet10t"),
        ("???", {}, "no architecture"),
        ("resnet10t", {"widht": 3}, "cannot make resnet10t with .*widht"),
        ("resnet10t", {"checkpoint_path": "x.pt"}, "checkpoint_path cannot be set"),
        ("resnet10t", {"pretrained": True}, "pretrained cannot be set"),
    ],
)
def test_what_timm_cannot_make_is_refused(architecture: str, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_classifier(architecture, 5, 64, kwargs)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    kwargs = {"channels": [16, 32, 48, 64], "stem_width": 8}
    model = create_classifier("resnet10t", 3, 32, kwargs).eval()
    info = CheckpointInfo("resnet10t", kwargs, ("a", "b", "c"), 32, {"seed": 4})
    save_checkpoint(tmp_path / "c", model, info)
    loaded, read = load_checkpoint(tmp_path / "c")
    assert read == info
    images = noise(4)
    assert np.array_equal(predict_logits(model, images, 32, 4, "cpu"), predict_logits(loaded, images, 32, 4, "cpu"))


def test_a_checkpoint_that_is_not_whole_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished checkpoint in .*train it first"):
        load_checkpoint(tmp_path)
    model = create_classifier("test_resnet", 2, 32)
    save_checkpoint(tmp_path, model, CheckpointInfo("test_resnet", {}, ("a", "b"), 32, {}))
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GenrobustError, match=r"model\.safetensors.*train again"):
        load_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text('{"architecture": "test_resnet"}')
    with pytest.raises(GenrobustError, match=r"cannot read .*checkpoint\.json"):
        load_checkpoint(tmp_path)


def test_logits_do_not_depend_on_the_batch_size() -> None:
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 7, 32)
    images = noise(23)
    whole = predict_logits(model, images, 32, 23, "cpu")
    assert whole.shape == (23, 7) and whole.dtype == np.float32
    for batch_size in (1, 5, 64):
        assert np.allclose(predict_logits(model, images, 32, batch_size, "cpu"), whole, atol=1e-5)


def test_an_empty_set_has_no_logits() -> None:
    with pytest.raises(UserError, match="noise is empty"):
        predict_logits(create_classifier("test_resnet", 2, 32), noise(0), 32, 4, "cpu")


def test_prepare_crops_the_middle_and_leaves_a_fitting_image_alone() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert np.array_equal(prepare(image, 32), np.asarray(image))
    wide = Image.new("RGB", (100, 50), "red")
    wide.paste("blue", (25, 0, 75, 50))
    assert prepare(wide, 32).shape == (32, 32, 3)
    assert (prepare(wide, 32)[:, 2:-2] == (0, 0, 255)).all()
    assert prepare(Image.new("RGB", (1, 300)), 32).shape == (32, 32, 3)


def test_prepare_keeps_the_share_of_the_shorter_side_that_is_asked_for() -> None:
    image = Image.new("RGB", (128, 64), "red")
    image.paste("blue", (36, 4, 92, 60))  # the centre square of 56 px: 0.875 of the shorter side
    assert (prepare(image, 224, 0.875)[3:-3, 3:-3] == (0, 0, 255)).all()  # resized to 512 x 256, but for the blur
    assert (prepare(image, 224, 1)[:6] == (255, 0, 0)).all()  # 14 rows, but for the blur
    exact = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    larger = np.asarray(exact.resize((36, 36), Image.Resampling.BICUBIC))  # 32 / 0.875 is 36.57, rounded down
    assert np.array_equal(prepare(exact, 32, 0.875), larger[2:34, 2:34])


def test_a_flip_averages_the_logits_of_image_and_mirror() -> None:
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 5, 32)
    images = noise(6)
    mirrored = MemoryImages("mirrored", [np.asarray(images.image(i))[:, ::-1] for i in range(6)], [0] * 6, images.keys)
    plain, mirror = (predict_logits(model, s, 32, 4, "cpu") for s in (images, mirrored))
    assert np.allclose(predict_logits(model, images, 32, 4, "cpu", flip=True), (plain + mirror) / 2, atol=1e-5)
    assert not np.allclose(plain, mirror, atol=1e-3)


def test_a_protocol_says_what_was_done_to_the_images() -> None:
    assert protocol(64) == "64 px: shorter side resized (bicubic, antialiased), centre crop; no flip; float32"
    assert protocol(256, 0.875, True) == (
        "256 px: shorter side resized to 292 px (bicubic, antialiased), centre crop; logits averaged over the image "
        "and its mirror; float32"
    )
