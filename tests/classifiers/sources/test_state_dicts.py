"""State dicts with other names, in another order, and with a configuration next to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from genrobust.classifiers import open_classifier, open_initial
from genrobust.core import UserError

CPU = torch.device("cpu")


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    """Weights of a network of five classes."""
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=5).state_dict()


def save_as(tensors: dict[str, Tensor], path: Path) -> str:
    torch.save(tensors, path)
    return f"test_resnet@{path}"


def loaded(spec: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = open_initial(spec, ["a"], lambda: [["a"]]).opened.load(CPU).network.state_dict()
    return state


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_file_tells_how_many_classes_a_network_to_start_from_has(tensors, tmp_path):
    assert same(loaded(save_as(tensors, tmp_path / "w.pth")), tensors)


def test_other_names_are_shown_and_accepted_in_order_if_that_is_asked_for(tensors, tmp_path):
    named = {f"_{name}": tensor for name, tensor in tensors.items()}
    spec = save_as(named, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        loaded(spec)
    message = str(error.value)
    assert "file: _conv1.0.weight, timm: conv1.0.weight" in message
    assert f"by-order:{spec}" in message and "--labels" not in message and len(message.splitlines()) <= 3
    assert same(loaded(f"by-order:{spec}"), tensors)


def swap(names: list[str], one: str, other: str) -> None:
    first, second = names.index(one), names.index(other)
    names[first], names[second] = other, one


@pytest.mark.parametrize("other", ["bn1.bias", "conv1.3.weight"])
def test_tensors_that_differ_in_kind_or_shape_are_not_loaded_in_order(tensors, tmp_path, other):
    """A batch norm's weight and bias have one shape."""
    names = list(tensors)
    swap(names, "bn1.weight", other)
    spec = save_as({f"_{name}": tensors[name] for name in names}, tmp_path / "w.pth")
    for each in (spec, f"by-order:{spec}"):
        with pytest.raises(UserError, match=r"file: ") as error:
            loaded(each)
        assert "loads the tensors" not in str(error.value)


def test_a_file_without_an_order_is_not_loaded_in_order(tensors, tmp_path):
    save_file({f"_{name}": tensor for name, tensor in tensors.items()}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="keeps no order"):
        loaded(f"by-order:test_resnet@{tmp_path / 'w.safetensors'}")


def test_missing_and_misshapen_tensors_are_named(tensors, tmp_path):
    lacking = {name: tensor for name, tensor in tensors.items() if name != "conv1.0.weight"}
    with pytest.raises(UserError, match=r"conv1\.0\.weight"):
        loaded(save_as(lacking, tmp_path / "lacking.pth"))
    with pytest.raises(UserError, match=r"conv1\.0\.weight.*\[1, 2\].*\[\d+, 3, 3, 3\]"):
        loaded(save_as({**tensors, "conv1.0.weight": torch.zeros(1, 2)}, tmp_path / "shape.pth"))


def test_a_configuration_next_to_the_weights_says_how_images_are_prepared(tensors, tmp_path, caplog):
    spec = save_as(tensors, tmp_path / "w.pth")
    config = {"architecture": "test_resnet", "label_names": [*"abcde"], "pretrained_cfg": {"mean": [0.1] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    opened = open_classifier(spec)
    assert opened.classes == tuple("abcde") and opened.load(CPU).mean.flatten().tolist() == pytest.approx([0.1] * 3)
    assert not caplog.records
    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "resnet18"}))
    with pytest.raises(UserError, match=r"config\.json describes resnet18"):
        open_classifier(spec)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert loaded(spec) and "Assuming mean" in caplog.text
