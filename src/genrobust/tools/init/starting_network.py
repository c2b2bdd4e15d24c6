"""Chooses the network that the trainings of a recipe start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from genrobust.classifiers import HUB, Initial, is_cached, open_initial
from genrobust.core import GenrobustError, one_line

SCRATCH = "scratch"
OPTION = "--pretrained"
# Installed with genrobust. With 4.7 million weights it is more accurate than timm's resnet18.a1_in1k with 11.7 million,
# at 224 px on ImageNet (74.8 and 71.5 %), ImageNet-R (36.0 and 35.0 %) and ImageNet-Sketch (24.4 and 24.1 %), by timm's
# own tables.
PACKAGED = "packaged:efficientnet-lite0"
# Taken with a GPU if it is in the cache of the hub: a ViT-S/16 that learned from ImageNet's images without their labels
# (DINO: Caron et al., 2021).
LARGER = f"{HUB}timm/vit_small_patch16_224.dino"


@dataclass(frozen=True, slots=True)
class Start:
    """The start of the trainings.

    Attributes:
        network: The pretrained network; None from scratch.
        line: Says what the network starts from, and why if it is not pretrained.
    """

    network: Initial | None
    line: str


def require_network(name: str) -> None:
    """Raise an error if the network that the user named cannot be loaded, before any image is read.

    Raises:
        UserError: There is no such network, or it cannot be trained.
        GenrobustError: Its weights cannot be fetched or loaded.
    """
    # The classes are not known yet, and any two do.
    _open(name, {"class-1": "class", "class-2": "class"}).require_weights()


def choose_start(named: str | None, photographs: bool, gpu: bool, class_names: Mapping[str, str]) -> Start:
    """Choose the network: the one that the user named, or for photographs the best that is on this machine.

    Args:
        named: A value of `train.init`; None if the user named none.
        class_names: The readable name of each class folder.
    """
    if named == SCRATCH:
        return Start(None, f"warning: from scratch, not from a pretrained network, as {OPTION} {SCRATCH} asks")
    if named is not None:
        return _start_from(named, _open(named, class_names))
    if not photographs:
        why = "the images are not photographs (in color, 64 px or more)"
        return Start(None, f"from scratch, since {why}: {OPTION} {PACKAGED} starts from a pretrained network")
    if gpu and is_cached(LARGER):
        return _start_from(LARGER, _open(LARGER, class_names))
    try:
        network = _open(PACKAGED, class_names)
        network.require_weights()
    except GenrobustError as error:
        reason = one_line(error).removeprefix(f"{OPTION}: ")
        return Start(None, f"warning: from scratch, not from a pretrained network: {reason}")
    return _start_from(PACKAGED, network)


def _open(name: str, class_names: Mapping[str, str]) -> Initial:
    texts = [[f"a photo of a {shown}"] for shown in class_names.values()]
    return open_initial(name, list(class_names), lambda: texts, OPTION)


def _start_from(name: str, network: Initial) -> Start:
    about = " (trained on ImageNet)" if name in (PACKAGED, LARGER) else ""
    return Start(network, f"starts from the pretrained network {name}{about}, which may know your classes and styles")
