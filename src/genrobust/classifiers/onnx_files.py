"""Classifiers as ONNX files: what one says of itself, and a network that asks it. Needs the extra `onnx`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genrobust.core import MissingPackage, UserError

LABELS, CONFIG = "label_names", "pretrained_cfg"  # metadata of a file, as JSON: the keys of timm's config.json
_TYPES = {"tensor(uint8)": False, "tensor(float)": True}


@dataclass(frozen=True, slots=True)
class OnnxInfo:
    """What an ONNX file says of itself: one input [B, 3, image_size, image_size], one output [B, logits].

    `takes_floats` in [0, 1], or else bytes. `label_names` and `config`, as timm's pretrained_cfg, are those of its
    metadata: None and empty where it has none.
    """

    image_size: int
    logits: int
    takes_floats: bool
    label_names: tuple[str, ...] | None
    config: dict[str, Any]


class OnnxNetwork(nn.Module):
    """The network in an ONNX file, run by onnxruntime: uint8 images [B, 3, H, W] to logits [B, K], on `device`."""

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self._session = _session(path, torch.device(device).type)
        self._input = self._session.get_inputs()[0]
        self._one_by_one = self._input.shape[0] == 1

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.cpu().contiguous()
        if _TYPES[self._input.type]:
            pixels = pixels.float() / 255
        parts = pixels.split(1) if self._one_by_one else [pixels]
        return torch.cat([torch.from_numpy(self._session.run(None, {self._input.name: p.numpy()})[0]) for p in parts])


def read_onnx(path: Path) -> OnnxInfo:
    """What the classifier in `path` is. Raises UserError where it is none that takes RGB images of one square size."""
    session = _session(path, "cpu")
    inputs, outputs = session.get_inputs(), session.get_outputs()
    wanted = "a classifier has one input, RGB images [batch, 3, N, N] as uint8 or float32, and one output of logits"
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: {wanted}")
    shape, kind = inputs[0].shape, inputs[0].type
    square = len(shape) == 4 and shape[1] == 3 and isinstance(shape[2], int) and shape[2] == shape[3]
    if kind not in _TYPES or not square or (isinstance(shape[0], int) and shape[0] != 1):
        told = " x ".join(str(side) for side in shape)
        raise UserError(f"the input {inputs[0].name} of {path} is {kind} {told}: {wanted}; a batch of 1 or of any size")
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        names, config = (json.loads(metadata.get(key) or "null") for key in (LABELS, CONFIG))
    except ValueError as error:
        raise UserError(f"the metadata {LABELS} or {CONFIG} of {path} are no JSON: {error}") from error
    logits = OnnxNetwork(path)(torch.zeros(1, *shape[1:], dtype=torch.uint8))
    if logits.ndim != 2:
        raise UserError(f"the output of {path} has {logits.ndim} dimensions: {wanted} [batch, classes]")
    if names and len(names) != logits.shape[1]:
        raise UserError(f"{path} names {len(names)} classes in its metadata, and has {logits.shape[1]} logits")
    return OnnxInfo(shape[2], logits.shape[1], _TYPES[kind], tuple(names) if names else None, config or {})


def _session(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackage("onnxruntime", "onnx", f"the ONNX file {path}") from None
    if not path.is_file():
        raise UserError(f"no file {path}")
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    chosen = [p for p in wanted if p in onnxruntime.get_available_providers()]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would slow down what runs beside it
    try:
        return onnxruntime.InferenceSession(path, options, providers=[*chosen, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class but this one
        raise UserError(f"{path} is no ONNX file that onnxruntime can run: {error}") from error
