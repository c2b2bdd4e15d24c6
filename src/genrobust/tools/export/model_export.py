"""The command export-model: writes a checkpoint for timm or ONNX, once its copy gives the same logits."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from genrobust import __version__
from genrobust.classifiers import (
    CONFIG,
    COSINE,
    DESCRIPTIONS,
    FOLDER,
    LABELS,
    TIMM_CONFIG,
    WEIGHTS,
    CheckpointInfo,
    Classifier,
    has_fixed_size,
    load_checkpoint,
    open_classifier,
    prepare,
    read_checkpoint_info,
    timm_name,
)
from genrobust.core import GenrobustError, MissingPackage, UserError
from genrobust.tools.export.folder import new_folder, refuse_others
from genrobust.tools.export.licenses import OTHER, check_license
from genrobust.tools.export.model_card import measured, model_card
from genrobust.tools.export.parts import CARD

ONNX_FILE = "model.onnx"
AGREE = 1e-4  # the largest difference of logits, and their share where they are large: float32 stays far below


def export_model(
    checkpoint: Path,
    to: str,
    out: Path,
    report: Path | None = None,
    arm: str | None = None,
    license: str = OTHER,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the classifier in `checkpoint` into `out`, with a model card, and return the files by name.

    What is written must give the same logits.

    Args:
        to: "timm", a folder that ``timm.create_model("local-dir:OUT", pretrained=True)`` loads, or "onnx", a file that
            takes bytes and normalizes them itself.
        report: The results.json of the study that it was trained in, whose metrics the card then gives.
        arm: Its arm in the study, where the checkpoint is like several.
        license: That of the weights, an id of the hub's.

    Raises:
        UserError: What cannot be exported or matched, or a folder that holds other files.
        GenrobustError: The logits differ.
    """
    check_target(to, out, overwrite)
    check_license(license)
    info = read_checkpoint_info(checkpoint)
    arguments = info.model_kwargs
    if to == "timm" and (
        timm_name(info.architecture) == "alexnet" or arguments.get("blur_pool") or COSINE in arguments
    ):
        raise UserError(
            f"timm has no {info.architecture} of this kind (AlexNet, train.blur_pool, or head: text of a CLIP), so it "
            "could not load the folder: export it with --to onnx"
        )
    metrics = None if report is None else measured(report, info, arm)
    model, _ = load_checkpoint(checkpoint)
    with new_folder(out, overwrite) as folder:
        _FORMATS[to](model, info, folder)
        _check_export(folder, model, info)
        (folder / CARD).write_text(model_card(out.resolve().name, to, info, metrics, license), encoding="utf-8")
        names = sorted(path.name for path in folder.iterdir())
    return {name: out / name for name in names}


def check_target(to: str, out: Path, overwrite: bool) -> None:
    """Raise UserError for an unknown form `to`, and for files in `out` that must not be replaced."""
    if to not in _FORMATS:
        raise UserError(f"--to {to}: a classifier is exported to {' or '.join(_FORMATS)}")
    refuse_others(out, overwrite)


def _write_timm(model: Classifier, info: CheckpointInfo, folder: Path) -> None:
    """Write what timm's `save_for_hf` writes, but for arguments that transformers refuses: it passes them itself."""
    network: Any = model.network  # torch types every attribute as a tensor or a module
    known, fixed = network.pretrained_cfg, has_fixed_size(info.architecture)
    config = {
        "architecture": timm_name(info.architecture).partition(".")[0],  # a tag would name other weights
        "num_classes": len(info.classes),
        "num_features": network.num_features,
        LABELS: list(info.classes),
        DESCRIPTIONS: info.descriptions,
        "model_args": {**info.model_kwargs, **({"img_size": info.image_size} if fixed else {})},
        "pretrained_cfg": {
            **_preparation(model, info),
            "fixed_input_size": fixed,
            "num_classes": len(info.classes),
            "first_conv": known["first_conv"],
            "classifier": known["classifier"],
        },
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / TIMM_CONFIG).write_text(text, encoding="utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def _preparation(model: Classifier, info: CheckpointInfo) -> dict[str, Any]:
    """The keys that make timm prepare an image as `prepare` does."""
    # The numbers as they were set, not as float32 rounds them.
    mean, std = ([float(str(v)) for v in tensor.flatten().numpy()] for tensor in (model.mean, model.std))
    size = [3, info.image_size, info.image_size]
    resizing = {"interpolation": info.interpolation, "crop_pct": 1.0, "crop_mode": "center"}
    return {"input_size": size, **resizing, "mean": mean, "std": std}


def _write_onnx(model: Classifier, info: CheckpointInfo, folder: Path) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401  it checks the file
        import onnxscript  # noqa: F401  torch's exporter is written in it
    except ImportError as error:
        raise MissingPackage(str(error.name), "onnx", "an ONNX export") from None
    example = torch.zeros(2, 3, info.image_size, info.image_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter uses what torch deprecates
        program = torch.onnx.export(
            model.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]  # torch's annotations
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None  # it is None with the old exporter alone
    proto = program.model_proto
    for part in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        del part.metadata_props[:]  # stack traces, with the paths of this machine
    preparation = _preparation(model, info)
    facts = {LABELS: list(info.classes), CONFIG: preparation, DESCRIPTIONS: info.descriptions}
    onnx.helper.set_model_props(proto, {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()})
    proto.producer_name, proto.producer_version = "genrobust", __version__
    onnx.checker.check_model(proto, full_check=True)
    (folder / ONNX_FILE).write_bytes(proto.SerializeToString(deterministic=True))


_FORMATS: dict[str, Callable[[Classifier, CheckpointInfo, Path], None]] = {"timm": _write_timm, "onnx": _write_onnx}


def _check_export(folder: Path, model: Classifier, info: CheckpointInfo) -> None:
    """Load what `folder` holds as a user would: it must give the logits, classes and prepared images of `model`."""
    random = np.random.default_rng(0)
    onnx_file = folder / ONNX_FILE
    opened = open_classifier(str(onnx_file) if onnx_file.exists() else f"{FOLDER}{folder}")
    images = torch.from_numpy(random.integers(0, 256, (3, 3, info.image_size, info.image_size), dtype=np.uint8))
    with torch.inference_mode():
        theirs, ours = opened.load(torch.device("cpu"))(images), model(images)
    apart = float((theirs - ours).abs().max())
    if not apart <= AGREE * max(1, float(ours.abs().max())):
        raise GenrobustError(
            f"the exported classifier differs from the checkpoint by {apart:.2g} in a logit: nothing was written"
        )
    wide = (info.image_size, 2 * info.image_size + 1, 3)
    image = Image.fromarray(random.integers(0, 256, wide, dtype=np.uint8))
    alike = np.array_equal(opened.prepare(image), prepare(image, info.image_size, interpolation=info.interpolation))
    if opened.classes != info.classes or opened.descriptions != info.descriptions or not alike:
        raise GenrobustError("the exported classifier prepares images or names classes otherwise: nothing was written")
