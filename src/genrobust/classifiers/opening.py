"""Classifiers that are there already, from wherever, in one shape: checkpoints, timm, the hub, state dicts, ONNX."""

from __future__ import annotations

import difflib
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from safetensors import SafetensorError
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_data_config
from timm.models import load_state_dict
from torch import Tensor, nn

from genrobust.classifiers.architectures import PAPER
from genrobust.classifiers.checkpoints import WEIGHTS, is_checkpoint, read_checkpoint_info
from genrobust.classifiers.models import Classifier, load_checkpoint, place
from genrobust.classifiers.onnx_files import OnnxNetwork, read_onnx
from genrobust.classifiers.preprocess import prepare, protocol
from genrobust.core import GenrobustError, UserError, digest, hash_file, hash_folder

TIMM_CONFIG = "config.json"  # of a folder that timm saved or the hub holds
FILES = f"{TIMM_CONFIG} and {WEIGHTS}"
HUB, FOLDER = "hf-hub:", "local-dir:"  # as timm writes them
TENSOR_FILES = (".safetensors", ".pt", ".pth", ".bin", ".tar")
WHAT = (
    f"a checkpoint's folder, a folder that timm saved, a name of timm's, {HUB}NAME, ARCHITECTURE@FILE for a state "
    "dict, or an .onnx file"
)


@dataclass(frozen=True, slots=True)
class OpenClassifier:
    """A trained classifier that knows `classes`, K ids in the order of its logits.

    `place` is the word that named it, and `weights` a hash of all that its logits depend on beside the images.
    `prepare` turns an image of any size into uint8 [image_size, image_size, 3] as the classifier wants it; `prepared`
    says how in words. `load` gives the network on a device: uint8 images [B, 3, image_size, image_size] to logits
    [B, K].
    """

    place: str
    classes: tuple[str, ...]
    image_size: int
    weights: str
    prepare: Callable[[Image.Image], np.ndarray]
    prepared: str
    load: Callable[[torch.device], nn.Module]


def open_classifier(word: str, labels: Path | None = None) -> OpenClassifier:
    """The classifier that `word` names.

    It is a genrobust checkpoint's folder; a folder that timm saved, also as ``local-dir:FOLDER``; one of the Hugging
    Face hub, ``hf-hub:NAME``; a name that timm has weights for; ``ARCHITECTURE@FILE``, a state dict of timm's or
    torchvision's network of that name (.safetensors, or .pt and .pth, of which only tensors are read); or an .onnx
    file. `labels` is a text file with a class a line, in the order of the logits: it goes before the names that the
    classifier brings, and is needed where it brings none and is not over ImageNet's classes.

    Raises UserError for anything else, and for labels that are not as many as the logits.
    """
    names = None if labels is None else _read_labels(labels)
    path = Path(word)
    architecture, at, file = word.partition("@")
    if word.startswith(FOLDER):
        opened = _timm_folder(Path(word.removeprefix(FOLDER)), word, names)
    elif word.startswith(HUB):
        opened = _timm_folder(_downloaded(word), word, names)
    elif is_checkpoint(path):
        opened = _checkpoint(path)
    elif is_timm_folder(path):
        opened = _timm_folder(path, word, names)
    elif path.is_dir():
        raise UserError(f"the folder {word} holds no classifier: neither a finished checkpoint nor a model of timm's")
    elif path.suffix.lower() == ".onnx":
        opened = _onnx(path, names)
    elif at and file.lower().endswith(TENSOR_FILES):
        opened = _state_dict(architecture, Path(file), word, names)
    elif path.suffix.lower() in TENSOR_FILES:
        raise UserError(f"{word} holds weights alone: name the architecture too, ARCHITECTURE@{word}")
    else:
        opened = _timm_name(word, names)
    if names is None:
        return opened
    if len(names) != len(opened.classes):
        raise UserError(f"{labels} names {len(names)} classes, and {word} has {len(opened.classes)} logits")
    return replace(opened, classes=names)


def is_timm_folder(folder: Path) -> bool:
    """Whether `folder` is one that timm saved, or a timm model's download from the hub."""
    return (folder / TIMM_CONFIG).is_file()


def _checkpoint(folder: Path) -> OpenClassifier:
    info = read_checkpoint_info(folder)
    return OpenClassifier(
        place=str(folder),
        classes=info.classes,
        image_size=info.image_size,
        weights=hash_file(folder / WEIGHTS),
        prepare=partial(prepare, size=info.image_size),
        prepared=protocol(info.image_size),
        load=lambda device: load_checkpoint(folder, device)[0],
    )


# ------------------------------------------------------------------------------------------ timm


def _timm_name(name: str, names: tuple[str, ...] | None) -> OpenClassifier:
    if not timm.is_model_pretrained(name):
        known = timm.list_models(pretrained=True)
        near = difflib.get_close_matches(name, known, n=3) or [n for n in known if n.startswith(name.split(".")[0])][:3]
        hint = f"did you mean {' or '.join(near)}?" if near else f"a classifier is {WHAT}"
        raise UserError(
            f"no classifier {name!r}: there is no such folder, and timm has no weights of this name; {hint}"
        )
    settings = timm.get_pretrained_cfg(name)
    assert settings is not None  # it has weights
    config, hint = settings.to_dict(), f" Without a network, give the folder of a download: its {FILES} from the hub"
    return _of_timm(name, config, digest(["timm", config], 64), partial(_pretrained, name, hint), names)


def _timm_folder(folder: Path, word: str, names: tuple[str, ...] | None) -> OpenClassifier:
    try:
        raw = json.loads((folder / TIMM_CONFIG).read_text(encoding="utf-8"))
        config = {**raw["pretrained_cfg"], **{key: raw[key] for key in ("num_classes", "label_names") if key in raw}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{word} holds no model of timm's: cannot read its {TIMM_CONFIG} ({error!r})") from error
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{word} holds no {WEIGHTS}: save the model's weights as safetensors, which runs no code")
    return _of_timm(word, config, hash_folder(folder), partial(_pretrained, f"{FOLDER}{folder}"), names)


def _downloaded(word: str) -> Path:
    """The folder in which the hub's client keeps the model called `word`; what is there is not fetched again."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name, _, revision = word.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=[TIMM_CONFIG, WEIGHTS]))
    except HFValidationError as error:
        raise UserError(f"{word}: {error}") from None
    except OSError as error:  # no network, no such model, or none that may be read
        raise GenrobustError(
            f"cannot fetch {word} from the hub: {_why(error)} Without a network, give the folder of a download: its "
            f"{FILES}"
        ) from error


def _pretrained(source: str, hint: str = "") -> nn.Module:
    try:
        return timm.create_model(source, pretrained=True)
    except (OSError, RuntimeError, ValueError, TypeError, SafetensorError) as error:
        raise GenrobustError(f"cannot load the weights of {source}: {_why(error)}{hint}") from error


def _why(error: Exception) -> str:
    """What an error of another library says, on one line."""
    return " ".join(str(error).split())[:400] or type(error).__name__


def _of_timm(
    place_: str,
    config: Mapping[str, Any],
    weights: str,
    make: Callable[[], nn.Module],
    names: tuple[str, ...] | None,
) -> OpenClassifier:
    """What `make` makes, with images prepared as timm's own validation prepares them by `config`."""
    data = resolve_data_config(pretrained_cfg=dict(config), use_test_size=True)
    channels, height, width = data["input_size"]
    if (channels, height) != (3, width):
        raise UserError(f"{place_} takes images of {channels} x {height} x {width}: genrobust has 3 x N x N for it")
    own = config.get("label_names")
    if isinstance(own, Mapping):  # by index
        own = [own[key] for key in sorted(own, key=int)]
    count = int(config.get("num_classes") or 0)
    if own and len(own) != count:
        raise UserError(f"{place_}: its {TIMM_CONFIG} has {len(own)} label_names, and the model {count} logits")
    prepare_, words = prepare_as_timm(data)

    def load(device: torch.device) -> nn.Module:
        return place(Classifier(make(), data["mean"], data["std"]), device).eval()

    return OpenClassifier(place_, _classes(place_, count, own, names), width, weights, prepare_, words, load)


def prepare_as_timm(data: Mapping[str, Any]) -> tuple[Callable[[Image.Image], np.ndarray], str]:
    """How timm prepares an image by the `data` config that it resolves, as `OpenClassifier.prepare`, and in words."""
    transform = create_transform(**data, is_training=False, normalize=False)  # to uint8 [3, H, W]

    def prepared(image: Image.Image) -> np.ndarray:
        pixels: Tensor = transform(image)
        return pixels.permute(1, 2, 0).numpy()

    resized = {"squash": "squashed", "border": "longer side resized"}.get(data["crop_mode"], "shorter side resized")
    words = f"{data['input_size'][-1]} px, as timm validates: {resized} ({data['interpolation']}), "
    return prepared, f"{words}{data['crop_mode']} crop of {data['crop_pct']:g}; no flip; float32"


# ------------------------------------------------------------------------------------------ files of weights


def _state_dict(architecture: str, file: Path, word: str, names: tuple[str, ...] | None) -> OpenClassifier:
    tensors = _read_tensors(file)
    classes = _classes(word, len(names) if names else 1000, None, names)
    failures = []
    for make in (_timm_network, _torchvision_network):
        try:
            found = make(architecture, dict(tensors), len(classes))
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:  # keys or shapes that do not fit
            failures.append(_why(error))
            continue
        if found is not None:
            network, config = found
            config = {**config, "num_classes": len(classes), "label_names": list(classes)}
            weights = digest([architecture, hash_file(file)], 64)
            return _of_timm(word, config, weights, partial(_as_is, network), names)
    if failures:
        given = "as --labels names" if names else "of ImageNet; --labels FILE names others"
        raise UserError(
            f"{file} does not fit {architecture} with the {len(classes)} classes {given}: {'; '.join(failures)}"
        )
    known = [*PAPER, *timm.list_models(), *torchvision.models.list_models()]
    near = difflib.get_close_matches(architecture, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UserError(f"neither timm nor torchvision knows an architecture {architecture!r}{hint}")


def _as_is(network: nn.Module) -> nn.Module:
    return network


def _read_tensors(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"no file {file}")
    try:
        tensors = load_state_dict(str(file), weights_only=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{file} is no plain state dict, and nothing else is unpickled: {_why(error)}") from error
    except (AttributeError, TypeError) as error:  # not even a mapping
        raise UserError(f"{file} is no state dict: a mapping from names to tensors") from error
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{file} is no state dict: a mapping from names to tensors")
    return tensors


def _timm_network(name: str, tensors: dict[str, Tensor], classes: int) -> tuple[nn.Module, dict[str, Any]] | None:
    """timm's network, whose own filter also reads the names that other libraries give to its tensors."""
    name = PAPER.get(name, name)
    if not timm.is_model(name) or name == "alexnet":  # the latter is torchvision's
        return None
    given = {"state_dict": tensors, "num_classes": classes, "label_offset": 0, "custom_load": False, "source": ""}
    network = timm.create_model(name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=given)
    settings = timm.get_pretrained_cfg(name)
    return network, settings.to_dict() if settings else {}


def _torchvision_network(
    name: str, tensors: dict[str, Tensor], classes: int
) -> tuple[nn.Module, dict[str, Any]] | None:
    if name not in torchvision.models.list_models(torchvision.models):
        return None
    network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    network.load_state_dict(tensors)
    made = next(iter(torchvision.models.get_model_weights(name))).transforms()  # as the first published weights had it
    (size,), (side,) = made.crop_size, made.resize_size
    shape = {"input_size": (3, size, size), "crop_pct": size / side, "interpolation": made.interpolation.value}
    return network, {**shape, "mean": tuple(made.mean), "std": tuple(made.std)}


def _onnx(path: Path, names: tuple[str, ...] | None) -> OpenClassifier:
    known = read_onnx(path)
    size, config = known.image_size, known.config
    if config:
        prepare_, words = prepare_as_timm(resolve_data_config(pretrained_cfg=config))
    else:
        prepare_, words = partial(prepare, size=size), protocol(size)
    if known.takes_floats:
        words += "; pixels in [0, 1], which the file normalizes itself"
    return OpenClassifier(
        place=str(path),
        classes=_classes(str(path), known.logits, known.label_names, names),
        image_size=size,
        weights=hash_file(path),
        prepare=prepare_,
        prepared=words,
        load=lambda device: OnnxNetwork(path, device).eval(),
    )


# ------------------------------------------------------------------------------------------ class names


def _classes(place_: str, count: int, own: Any, names: tuple[str, ...] | None) -> tuple[str, ...]:
    """`own` where there are any, else those of the ImageNet subset with as many classes, as WordNet ids.

    Those that the user `names` stand in for what is not known; that they are as many is looked at later.
    """
    subset = infer_imagenet_subset({"num_classes": count})
    if own:
        return tuple(own)
    if subset is not None:
        return tuple(ImageNetInfo(subset).label_names())
    if names is not None:
        return tuple(map(str, range(count)))
    raise UserError(
        f"{place_} has {count} classes of unknown names: list them in a text file, a class a line in the order of the "
        "logits, and give it with --labels FILE; or save it for timm with its label_names"
    )


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the class names in {path}: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UserError(f"{path} names no class: write one a line, in the order of the logits")
    return names
