"""Linear probes: features of all images once, and the exact solution of logistic regression on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genrobust.classifiers import Classifier, compute_in_parts, head_name, last_linear, predict_logits
from genrobust.core import Advance, Arrays, ImageSet, KeptParts
from genrobust.recipe import TrainConfig
from genrobust.train.mixture import Mixture

# scikit-learn's C for features whose mean squared length, once they are centered, is 1: strong penalties first.
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
UNTRIED = 1.0  # where no image validates; scikit-learn's own
ROWS = 65_536  # features in float64 at once
ITERATIONS, HISTORY = 1000, 50
FLAT, STUCK = 1e-8, 1e-16  # a smaller gradient or step is rounding, where a mean loss is about 1


@dataclass(frozen=True, slots=True)
class Probed:
    """A linear probe: its mean loss, its L2 penalty, and its top-1 on the validation images, in percent, if any."""

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
) -> Probed:
    """Replace the last layer of `model` by the logistic regression on its features of the images of `mixture`.

    Each image counts as much as training draws it (`Mixture.image_weights`). The penalty is that of `STRENGTHS` with
    the best top-1 on `val`, of equals the one with the smallest loss there. Features are kept in `parts` until then.

    Raises:
        UserError: The last layer is not linear.
        GenrobustError: A feature is NaN or infinite, or cannot be computed.
    """
    last = last_linear(model.network)
    settings = config, mixture.interpolation, device, parts
    features = np.concatenate([embed(model, images, *settings) for images in mixture.parts])
    val_features = embed(model, val, *settings) if len(val) else features[:0]
    float64_device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    arrays = features, val_features, mixture.image_weights
    x, val_x, weights = (torch.from_numpy(array).to(float64_device) for array in arrays)
    y, val_y = (
        torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(float64_device)
        for labels in (mixture.labels, val.labels)
    )
    center = x.mean(dim=0)
    scale = sum(float((part - center).square().sum()) for part in x.split(ROWS)) / len(x) or 1.0
    solutions, start = [], None
    for strength in STRENGTHS if len(val) else (UNTRIED,):
        penalty = scale / (strength * len(x))
        start = solve(x, y, weights, last.out_features, penalty, start)
        logits = val_x.double() @ start[0].T + start[1]
        top1 = 100 * float((logits.argmax(dim=1) == val_y).double().mean()) if len(val) else 0.0
        rank = (top1, -float(F.cross_entropy(logits, val_y)) if len(val) else 0.0)
        solutions.append((rank, penalty, start))
    (top1, _), penalty, (rows, bias, loss) = max(solutions, key=lambda solution: solution[0])  # the first of equals
    with torch.no_grad():
        last.weight.copy_(rows)
        last.bias.copy_(bias)
    parts.remove()
    return Probed(loss, penalty, top1 if len(val) else None)


def embed(
    model: Classifier,
    images: ImageSet,
    config: TrainConfig,
    interpolation: str,
    device: torch.device,
    parts: KeptParts,
) -> np.ndarray:
    """Return what the last layer of `model` is given for `images`, float32 [N, D].

    A killed embedding goes on from those of `parts` that it kept.
    """
    batch_size = 2 * config.batch_size

    def run_model(part: ImageSet, advance: Advance) -> Arrays:
        features = predict_logits(model, part, config.image_size, batch_size, device, interpolation, advance)
        return {"features": features}

    with _without_head(model):
        return compute_in_parts(images, batch_size, parts, run_model, f"embedding {images.name}")["features"]


@contextmanager
def _without_head(model: Classifier) -> Iterator[None]:
    """Replace the last layer by the identity, so that the network returns features."""
    name = head_name(model.network)
    path, _, attribute = name.rpartition(".")
    parent, head = model.network.get_submodule(path), model.network.get_submodule(name)
    setattr(parent, attribute, nn.Identity())
    try:
        yield
    finally:
        setattr(parent, attribute, head)


def solve(
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    classes: int,
    penalty: float,
    start: tuple[Tensor, Tensor, float] | None = None,
) -> tuple[Tensor, Tensor, float]:
    """Solve logistic regression by L-BFGS in float64.

    Args:
        features: float [N, D].
        labels: int64 [N].
        weights: How much each image counts, float [N]; their sum does not matter.
        penalty: The factor of half the squared length of the rows, beside the weighted mean of the cross-entropies.
            scikit-learn's C is 1 / (N x penalty).
        start: A solution for another penalty.

    Returns:
        The rows of the last layer, float64 [K, D], its bias, float64 [K], and the mean loss without the penalty.
    """
    problem = _LogisticRegression(features, labels, weights, classes, penalty)
    rows, bias = problem.zeros() if start is None else problem.enter(*start[:2])
    rows.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [rows, bias],
        max_iter=ITERATIONS,
        tolerance_grad=FLAT,
        tolerance_change=STUCK,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        return problem.objective(rows, bias)

    optimizer.step(closure)
    rows, bias = rows.detach(), bias.detach()
    return *problem.leave(rows, bias), float(problem.objective(rows, bias) - problem.cost(rows))


class _LogisticRegression:
    """Logistic regression in coordinates in which its valley is round: L-BFGS takes tens of steps, not thousands.

    Features are centered, since the bias is free, turned to the axes of their covariance, and scaled as the curvature
    of the objective is at rows of zeros: p (1 - p) of a class is about 1 / K there.
    """

    def __init__(self, features: Tensor, labels: Tensor, weights: Tensor, classes: int, penalty: float) -> None:
        self._features, self._labels, self._weights = features, labels, (weights / weights.sum()).double()
        self._classes, self._penalty = classes, penalty
        self._parts = torch.arange(len(features), device=features.device).split(ROWS)
        self._center = torch.stack([self._weights[part] @ features[part].double() for part in self._parts]).sum(dim=0)
        covariance = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
        for part in self._parts:
            centered = features[part].double() - self._center
            covariance += (centered * self._weights[part, None]).T @ centered
        variances, self._axes = torch.linalg.eigh(covariance)
        self._scales = (variances.clamp(min=0) / classes + penalty).rsqrt()
        self._bias_scale = classes**0.5

    def objective(self, rows: Tensor, bias: Tensor) -> Tensor:
        """Return the mean loss with the penalty; gradients are added to those of what learns."""
        total = self._backward(self.cost(rows))
        for part in self._parts:
            turned = rows * self._scales @ self._axes.T  # far fewer than features are, and anew for each `backward`
            logits = (self._features[part].double() - self._center) @ turned.T + self._bias_scale * bias
            losses = F.cross_entropy(logits, self._labels[part], reduction="none")
            total = total + self._backward((self._weights[part] * losses).sum())
        return total

    def cost(self, rows: Tensor) -> Tensor:
        """Return the penalty of rows."""
        return self._penalty / 2 * (rows * self._scales).square().sum()

    def zeros(self) -> tuple[Tensor, Tensor]:
        """Return rows [K, D] and a bias [K] of zeros."""
        rows = torch.zeros(self._classes, len(self._scales), dtype=torch.float64, device=self._scales.device)
        return rows, rows.sum(dim=1)

    def enter(self, rows: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and a bias for features in these coordinates."""
        return rows @ self._axes / self._scales, (bias + rows @ self._center) / self._bias_scale

    def leave(self, rows: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and a bias for the features themselves."""
        rows = rows * self._scales @ self._axes.T
        return rows, self._bias_scale * bias - rows @ self._center

    def _backward(self, value: Tensor) -> Tensor:
        if value.requires_grad:
            value.backward()
        return value.detach()
