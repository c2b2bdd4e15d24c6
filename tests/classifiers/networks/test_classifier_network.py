"""Classifiers own their normalization, follow the seed, and survive a round trip to disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genrobust.classifiers import CheckpointInfo, create_classifier, load_checkpoint, save_checkpoint
from genrobust.core import GenrobustError, UserError
from genrobust.store import Artifact, Manifest

NARROW = {"channels": [16, 32, 48, 64], "stem_width": 8}


def test_bytes_and_fractions_give_the_same_logits() -> None:
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 5, 32).eval()
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(model(images), model(images.float() / 255))
    assert model(images).shape == (3, 5)


def test_normalization_is_that_of_the_architecture() -> None:
    assert create_classifier("resnet10t", 5, 64).mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert create_classifier("test_vit", 5, 64).mean.flatten().tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_size_and_arguments_reach_timm() -> None:
    assert create_classifier("test_vit", 5, 64)(torch.rand(1, 3, 64, 64)).shape == (1, 5)
    narrow, full = (create_classifier("resnet10t", 5, 64, kwargs) for kwargs in (NARROW, {}))
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in full.parameters()) / 4


@pytest.mark.parametrize(
    ("architecture", "kwargs", "message"),
    [
        ("resnet10x", {}, r"no architecture 'resnet10x'; did you mean .*resnet10t"),
        ("resnet10t", {"widht": 3}, "cannot make resnet10t with .*widht"),
        ("test_resnet", {"drop_rate": 7}, "model_kwargs .*drop_rate.*: .*between 0 and 1"),
        ("test_resnet", {"output_stride": 5}, "model_kwargs .*output_stride.*: AssertionError"),
        ("test_resnet", {"features_only": True}, "no logits of 5 classes"),
        ("resnet10t", {"checkpoint_path": "x.pt"}, "checkpoint_path cannot be set"),
        ("resnet10t", {"pretrained": True}, "pretrained cannot be set"),
    ],
)
def test_what_cannot_be_made_is_refused(architecture: str, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_classifier(architecture, 5, 64, kwargs)


@pytest.mark.parametrize(("name", "kwargs"), [("resnet10t", NARROW), ("alexnet", {"dropout": 0.1})])
def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, name: str, kwargs: dict[str, object]) -> None:
    model = create_classifier(name, 3, 64, kwargs).eval()
    info = CheckpointInfo(name, kwargs, ("a", "b", "c"), 64, {"seed": 4})
    save_checkpoint(tmp_path / "c", model, info)
    loaded, read = load_checkpoint(tmp_path / "c")
    assert read == info
    images = torch.rand(4, 3, 64, 64)
    assert torch.allclose(model(images), loaded(images), atol=1e-5)
    assert loaded.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


SAVED = {"architecture": "test_resnet", "model_kwargs": {}, "classes": ["a", "b"], "image_size": 32, "training": {}}


@pytest.mark.parametrize(
    "changed",
    [
        *({"architecture": ["test_resnet"]}, {"classes": 5}, {"classes": [1, 2]}, {"classes": []}),
        *({"classes": ["a", "a", "b"]}, {"image_size": "32"}, {"image_size": 0}, {"image_size": 33.5}),
        *({"model_kwargs": None}, {"training": []}),
    ],
    ids=str,
)
def test_odd_values_of_a_checkpoint_are_named(tmp_path: Path, changed: dict[str, object]) -> None:
    Artifact(tmp_path).publish(Manifest("checkpoint", about={**SAVED, **changed}))
    with pytest.raises(GenrobustError, match=f"{tmp_path}/manifest.json"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_of_a_newer_version_is_one(tmp_path: Path) -> None:
    Artifact(tmp_path).publish(Manifest("checkpoint", about={**SAVED, "more": 1}))
    with pytest.raises(UserError, match=r"manifest\.json .*'more'"):
        load_checkpoint(tmp_path)
