"""The paper's eight networks by the names that a recipe says, and which networks have one size."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from genrobust.classifiers import CheckpointInfo, create_classifier, has_fixed_size, load_checkpoint, save_checkpoint
from genrobust.classifiers.networks.architectures import PAPER_NAMES, make_network

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


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_each_of_the_papers_networks_is_the_one_that_it_is_known_as(name: str) -> None:
    """And gives logits of small images, which `create_classifier` asks for."""
    size = 75 if name == "inception" else 64  # the smallest that its strides leave anything of
    with torch.device("meta"):
        network = create_classifier(name, 1000, size).network
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.006)


def test_transformers_have_one_size_and_convolutions_any() -> None:
    assert has_fixed_size("test_vit") and has_fixed_size("vit_base_patch16_224")
    assert not any(map(has_fixed_size, PAPER_NAMES))


BLURRED = {  # strided convolutions of 16 input channels or more; none in AlexNet and VGG
    "resnet18": 6,
    "resnext50": 6,
    "resnext101": 6,
    "alexnet": 0,
    "vgg16_bn": 0,
    "efficientnet_b0": 4,
    "mobilenet_v2": 4,
    "inception": 4,
}


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_blur_pool_is_before_the_convolutions_that_ffcv_blurs(name: str) -> None:
    with torch.device("meta"):
        network = make_network(name, 10, blur_pool=True)
    blurred = {module for module in network.modules() if module._forward_pre_hooks}
    assert blurred == {
        m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1) and m.in_channels >= 16
    }
    assert len(blurred) == BLURRED[name]


def test_blur_pool_stays_with_copies_and_checkpoints_and_adds_nothing_to_the_state(tmp_path: Path) -> None:
    kwargs = {"blur_pool": True}
    model, plain = (create_classifier("resnet18", 3, 64, k).eval() for k in (kwargs, {}))
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    save_checkpoint(tmp_path, model, CheckpointInfo("resnet18", kwargs, ("a", "b", "c"), 64, {}))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        logits = model(images)
        torch.testing.assert_close(load_checkpoint(tmp_path)[0](images), logits)  # channels_last rounds otherwise
        assert torch.equal(copy.deepcopy(model)(images), logits)
        assert not torch.allclose(plain(images), logits, atol=1e-4)


def test_resnet18_begins_as_torchvision_s_does() -> None:
    """The same names and distributions; timm's own default begins with residual branches that give zero."""
    torch.manual_seed(0)
    ours = make_network("resnet18", 100, zero_init_last=False).state_dict()
    theirs = torchvision.models.resnet18(num_classes=100).state_dict()
    assert [(name, value.shape) for name, value in ours.items()] == [(n, v.shape) for n, v in theirs.items()]
    for name, value in theirs.items():
        if value.numel() > 1000:  # the others are constants, and the last bias
            assert ours[name].std() == pytest.approx(float(value.std()), rel=0.05), name
        elif name != "fc.bias":
            assert torch.equal(ours[name], value), name
    assert ours["fc.weight"].abs().max() == pytest.approx(512**-0.5, rel=0.01)
