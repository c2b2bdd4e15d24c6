"""The paper's eight networks by the names that a recipe says, and which networks have one size."""

from __future__ import annotations

import pytest
import timm
import torch

from genrobust.classifiers.architectures import PAPER, has_fixed_size, timm_name
from genrobust.classifiers.models import create_classifier

# Parameters in millions with 1,000 classes, as torchvision's documentation gives them; of Inception those without the
# auxiliary head, which timm leaves out: 27.16 with it.
MILLIONS = {
    "resnet18": 11.69,
    "resnext50": 25.03,
    "resnext101": 88.79,
    "alexnet": 61.10,
    "efficientnet_b0": 5.29,
    "mobilenet_v2": 3.50,
    "vgg16_bn": 138.37,
    "inception": 23.83,
}
LARGE = ("vgg16_bn", "resnext101", "inception")  # seconds each on a CPU


@pytest.mark.parametrize("name", PAPER)
def test_each_of_the_papers_networks_is_the_one_that_it_is_known_as(name: str) -> None:
    with torch.device("meta"):
        network = create_classifier(name, 1000, 224).network
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.006)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in PAPER])
def test_each_gives_logits_and_features_of_small_images(name: str) -> None:
    size = 75 if name == "inception" else 64  # the smallest that its strides leave anything of
    images = torch.rand(2, 3, size, size)
    model = create_classifier(name, 3, size).eval()
    with torch.inference_mode():
        features, logits = model.embed(images)
        assert torch.equal(model(images), logits) and logits.shape == (2, 3)
    assert features.shape[0] == 2 and features.ndim == 2


def test_nothing_is_added_to_timm() -> None:
    assert timm_name("resnext50") == "resnext50_32x4d" and timm_name("test_vit") in timm.list_models()
    create_classifier("alexnet", 2, 64)
    assert not timm.is_model("alexnet")


def test_transformers_have_one_size_and_convolutions_any() -> None:
    assert has_fixed_size("test_vit") and has_fixed_size("vit_base_patch16_224")
    assert not any(map(has_fixed_size, PAPER))
