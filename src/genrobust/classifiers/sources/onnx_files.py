"""Open classifiers in ONNX files. Needs the extra `onnx`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from genrobust.classifiers.image_preparation import prepare, protocol
from genrobust.classifiers.networks.logits import blame_network
from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.classifiers.sources.timm_config import ClassifierMetadata, data_config
from genrobust.classifiers.sources.timm_models import class_ids, prepare_as_timm
from genrobust.core import UserError, digest, parse_json, reading, require_packages
from genrobust.store import hash_file

# Metadata of a file, as JSON: the keys of timm's config.json.
LABELS, DESCRIPTIONS, CONFIG = "label_names", "label_descriptions", "pretrained_cfg"
EXPECTED_FORMAT = (
    "a classifier has one input, RGB images [batch, 3, N, N] as uint8 or float32, and one output of logits"
)
# In protobuf, this precedes the length, in a byte, and the name of a file that holds a tensor.
LOCATION = rb"\n\x08location\x12"
MOST_PIXELS = 8192  # of a side: far above what any classifier sees
_IS_FLOAT = {"tensor(uint8)": False, "tensor(float)": True}
_NEAR_ONE = 1e-3  # the sum of a row of float16 probabilities is this near to 1
# The warning for each last activation of a network.
ACTIVATIONS = {
    "softmax": (
        "ends in a softmax: the logarithms of its probabilities are taken for logits. Probabilities that it rounds to "
        "0 are equal: the negative log-likelihood, and answers on test sets of other classes, are wrong then. Better "
        "export it without the softmax"
    ),
    "other": (
        "gives outputs as of a sigmoid, or percentages, for trial images, which are taken for logits: the best classes "
        "are right, and probabilities, the negative log-likelihood and the calibration error are wrong. Export it "
        "without its last activation"
    ),
}
log = logging.getLogger(__name__)


class OnnxNetwork(nn.Module):
    """The network in an ONNX file, run by onnxruntime: uint8 images [B, 3, H, W] to logits [B, K], on `device`.

    With `ends_in_softmax`, its outputs are probabilities, whose logarithms are the logits.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu", ends_in_softmax: bool = False) -> None:
        super().__init__()
        self.session = _start_session(path, torch.device(device).type)
        self.ends_in_softmax = ends_in_softmax

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.cpu().contiguous()
        expected = self.session.get_inputs()[0]
        if _IS_FLOAT[expected.type]:
            pixels = pixels.float() / 255
        parts = pixels.split(1) if expected.shape[0] == 1 else [pixels]
        outputs = []
        for part in parts:
            (output,) = self.session.run(None, {expected.name: part.numpy()})
            outputs.append(torch.from_numpy(output))
        joined = torch.cat(outputs)
        if self.ends_in_softmax:
            return joined.float().clamp(min=torch.finfo().tiny).log()
        return joined


def open_onnx(path: Path, names: Sequence[str] | None) -> OpenClassifier:
    """Open the classifier in the ONNX file `path`. `names` are as for `class_ids`.

    It has one input, RGB images of one square size as uint8 or as float32 in [0, 1], and one output: logits, or the
    probabilities of a softmax, which are recognized. Its metadata may hold the preparation of images and the classes,
    with the keys of timm's configurations.
    """
    network = OnnxNetwork(path)
    size, takes_floats = _input_format(network.session, path)
    metadata = _read_metadata(network.session, path)
    with reading(path, ValueError):
        weights = _hash_weights(path)
    outputs = _try(network, path, size, metadata)
    transform, preparation = _choose_preparation(path, metadata, size, takes_floats)
    activation = _guess_activation(outputs)
    if activation:
        log.warning(f"{path} {ACTIVATIONS[activation]}")
    ends_in_softmax = activation == "softmax"
    if ends_in_softmax:
        # Predictions that were saved before softmax was recognized must not be used.
        weights = digest([weights, "softmax"], 64)

    def load(device: torch.device) -> nn.Module:
        return OnnxNetwork(path, device, ends_in_softmax).eval()

    return OpenClassifier(
        name=str(path),
        classes=class_ids(str(path), outputs.shape[1], metadata.label_names, names),
        weights_hash=weights,
        prepare=transform,
        preparation=preparation,
        load=load,
        descriptions=metadata.label_descriptions or {},
    )


def _choose_preparation(
    path: Path, metadata: ClassifierMetadata, size: int, takes_floats: bool
) -> tuple[Callable[[Image.Image], np.ndarray], str]:
    """Return the preparation of an image, and its description: as the metadata says, or the usual one."""
    config = metadata.pretrained_cfg
    if config:
        data = data_config(str(path), config)
        if data["input_size"] != (3, size, size):
            raise UserError(f"{path} takes images of {size} px, and its {CONFIG} says {data['input_size']}")
        transform, description = prepare_as_timm(data)
    else:
        transform = partial(prepare, size=size)
        description = protocol(size)
    if takes_floats:
        description += "; pixels in [0, 1], which the file normalizes itself"
        log.warning(
            f"{path} gets pixels in [0, 1], not normalized: if it does not normalize them itself, its answers are "
            "wrong; then export it with the normalization inside"
        )
    return transform, description


def _try(network: OnnxNetwork, path: Path, size: int, metadata: ClassifierMetadata) -> Tensor:
    """Return the outputs for trial images, float [4, K].

    Raises:
        UserError: The outputs have another shape, or not one column for each class of the metadata.
    """
    with blame_network(str(path)):
        outputs: Tensor = network(_trial_images(size))
    if outputs.ndim != 2:
        raise UserError(f"the output of {path} has {outputs.ndim} dimensions: {EXPECTED_FORMAT} [batch, classes]")
    names = metadata.label_names
    if names and len(names) != outputs.shape[1]:
        raise UserError(f"{path} names {len(names)} classes in its metadata, and has {outputs.shape[1]} logits")
    return outputs


def _guess_activation(outputs: Tensor) -> str:
    """Guess what `outputs`, float [B, K], end in: "softmax", "other" (a sigmoid, or percentages), or "" for logits."""
    if not bool((outputs >= 0).all()):
        return ""
    sums = outputs.double().sum(dim=1)
    if bool(((sums - 1).abs() < _NEAR_ONE).all()):
        return "softmax"
    are_percentages = bool(sums.min() > 0 and sums.max() / sums.min() < 1 + _NEAR_ONE)
    if are_percentages or bool((outputs <= 1).all()):
        return "other"
    return ""


def _trial_images(size: int) -> Tensor:
    """Return a black, a white and a gray image, and one with an edge, uint8 [4, 3, `size`, `size`]."""
    images = torch.tensor([0, 255, 128, 0], dtype=torch.uint8).view(4, 1, 1, 1).repeat(1, 3, size, size)
    images[3, :, : size // 2] = 255
    return images


def _input_format(session: Any, path: Path) -> tuple[int, bool]:
    """Return the side of the images in pixels, and whether they are floats."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: {EXPECTED_FORMAT}")
    (expected,) = inputs
    batch, *size = expected.shape or [None]
    is_square = len(size) == 3 and size[0] == 3 and size[1] == size[2] and size[1] in range(1, MOST_PIXELS + 1)
    takes_batches = batch == 1 or not isinstance(batch, int)
    if expected.type not in _IS_FLOAT or not is_square or not takes_batches:
        problem = f"the input {expected.name} of {path} is {expected.type} {' x '.join(map(str, expected.shape))}"
        raise UserError(f"{problem}: {EXPECTED_FORMAT}; a batch of 1 or of any size")
    return size[1], _IS_FLOAT[expected.type]


def _read_metadata(session: Any, path: Path) -> ClassifierMetadata:
    metadata = session.get_modelmeta().custom_metadata_map
    keys = (LABELS, DESCRIPTIONS, CONFIG)
    with reading(f"the metadata {', '.join(keys)} of {path}", ValueError, TypeError):
        values = {key: parse_json(metadata[key]) for key in keys if metadata.get(key)}
        return ClassifierMetadata.model_validate(values)


def _hash_weights(path: Path) -> str:
    """Hash the file, and files in its folder that hold some of its weights."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        ends = [entry.end() for entry in re.finditer(LOCATION, content)]
        names = sorted({content[end + 1 : end + 1 + content[end]].decode() for end in ends})
    if not names:
        return hash_file(path)
    folder = path.parent.resolve()
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder):
            raise ValueError(f"it has weights outside its folder, in {name!r}")
    others = {name: hash_file(folder / name) for name in names}
    return digest([hash_file(path), others], 64)


def _start_session(path: Path, device: str) -> Any:
    require_packages(["onnxruntime"], "onnx", f"the ONNX file {path}")
    import onnxruntime

    if not path.is_file():
        raise UserError(f"no file {path}")
    preferred = ["CUDAExecutionProvider"] if device == "cuda" else []
    providers = [p for p in preferred if p in onnxruntime.get_available_providers()]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Spinning threads would slow down other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:
        # The errors of onnxruntime have no other common class.
        raise UserError(f"{path} is no ONNX file that onnxruntime can run: {error}") from error
