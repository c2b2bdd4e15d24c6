"""Linear probes: compute the features of all images once, then fit the last layer by logistic regression."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genrobust.classifiers import Classifier, compute_in_parts, head_name, last_linear, predict_logits
from genrobust.core import ImageSet
from genrobust.recipe import TrainConfig
from genrobust.store import Advance, Arrays, KeptParts
from genrobust.train.logistic_regression import CHUNK, Solution, solve
from genrobust.train.mixture import Mixture

# scikit-learn's C, for centered features with a mean squared norm of 1. Strong penalties first.
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
DEFAULT_STRENGTH = 1.0  # without validation images: scikit-learn's default


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted linear probe.

    Attributes:
        loss: Mean loss on the training images.
        penalty: The L2 penalty that was chosen.
        val_top1: Top-1 on the validation images in percent; None without such images.
    """

    loss: float
    penalty: float
    val_top1: float | None


def fit_probe(
    model: Classifier,
    mixture: Mixture,
    val: ImageSet,
    config: TrainConfig,
    device: torch.device,
    parts: KeptParts,
) -> Probe:
    """Replace the last layer of `model` by logistic regression on its features of the images of `mixture`.

    Each image is weighted by how often training draws it (`Mixture.image_weights`). Of the penalties in `STRENGTHS`,
    the one with the best top-1 on `val` is chosen; of equals, the one with the smallest loss there. `parts` keeps the
    features until the probe is fitted, so that a killed process resumes.

    Raises:
        UserError: The last layer is not linear.
        GenrobustError: A feature is NaN or infinite, or cannot be computed.
    """
    last = last_linear(model.network)
    embedder = Embedder(model, config, mixture.interpolation, device, parts)
    features = np.concatenate([embedder.embed(images) for images in mixture.parts])
    # MPS has no float64.
    solver_device = torch.device("cpu") if device.type == "mps" else device
    x = torch.from_numpy(features).to(solver_device)
    y = torch.from_numpy(np.asarray(mixture.labels, dtype=np.int64)).to(solver_device)
    weights = torch.from_numpy(mixture.image_weights()).to(solver_device)
    validation = None
    if len(val):
        val_x = torch.from_numpy(embedder.embed(val)).to(solver_device)
        val_y = torch.from_numpy(np.asarray(val.labels, dtype=np.int64)).to(solver_device)
        validation = _Validation(val_x, val_y)

    scale = _mean_squared_norm(x)
    fits: list[_Fit] = []
    solution = None
    for strength in (DEFAULT_STRENGTH,) if validation is None else STRENGTHS:
        penalty = scale / (strength * len(x))
        # Start from the solution for the penalty before: it is near.
        solution = solve(x, y, weights, last.out_features, penalty, solution)
        rank = (0.0, 0.0) if validation is None else validation.rank(solution)
        fits.append(_Fit(solution, penalty, rank))
    # Of equals, the strongest penalty.
    best = max(fits, key=lambda fit: fit.rank)
    with torch.no_grad():
        last.weight.copy_(best.solution.rows)
        last.bias.copy_(best.solution.bias)
    parts.remove()
    val_top1 = None if validation is None else best.rank[0]
    return Probe(best.solution.loss, best.penalty, val_top1)


@dataclass(frozen=True, slots=True)
class _Fit:
    """The solution for a penalty, and its rank (see `_Validation`)."""

    solution: Solution
    penalty: float
    rank: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Validation:
    """Features of the validation images, float [N, D], and their labels, int64 [N]."""

    features: Tensor
    labels: Tensor

    def rank(self, solution: Solution) -> tuple[float, float]:
        """Return top-1 in percent and the negative loss: greater is better."""
        logits = solution.logits(self.features)
        correct = logits.argmax(dim=1) == self.labels
        return 100 * float(correct.double().mean()), -float(F.cross_entropy(logits, self.labels))


def _mean_squared_norm(features: Tensor) -> float:
    """Return the mean squared norm of centered features [N, D]; 1 if all are equal."""
    center = features.mean(dim=0)
    total = sum(float((chunk - center).square().sum()) for chunk in features.split(CHUNK))
    return total / len(features) or 1.0


@dataclass(frozen=True, slots=True)
class Embedder:
    """Computes the inputs of the last layer of `model`, and keeps finished parts in `parts`."""

    model: Classifier
    config: TrainConfig
    interpolation: str
    device: torch.device
    parts: KeptParts

    def embed(self, images: ImageSet) -> np.ndarray:
        """Return the features of `images`, float32 [N, D]. A killed embedding resumes after its last kept part."""
        # Twice the training batch: without gradients, a batch takes less memory.
        batch_size = 2 * self.config.batch_size

        def run_model(part: ImageSet, advance: Advance) -> Arrays:
            size = self.config.image_size
            # The network has no last layer then, so its outputs are features.
            features = predict_logits(self.model, part, size, batch_size, self.device, self.interpolation, advance)
            return {"features": features}

        with _without_head(self.model):
            arrays = compute_in_parts(images, batch_size, self.parts, run_model, f"embedding {images.name}")
        return arrays["features"]


@contextmanager
def _without_head(model: Classifier) -> Iterator[None]:
    """Replace the last layer by the identity in the block, so that the network returns features."""
    name = head_name(model.network)
    path, _, attribute = name.rpartition(".")
    parent = model.network.get_submodule(path)
    head = model.network.get_submodule(name)
    setattr(parent, attribute, nn.Identity())
    try:
        yield
    finally:
        setattr(parent, attribute, head)
