"""Logistic regression with an L2 penalty, solved exactly by L-BFGS in float64, on any device that has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 65_536  # features in float64 at a time
ITERATIONS = 1000
HISTORY = 50
# A smaller gradient or step is rounding, for a mean loss of about 1.
GRADIENT_TOLERANCE = 1e-8
STEP_TOLERANCE = 1e-16


@dataclass(frozen=True, slots=True)
class Solution:
    """A linear layer.

    Attributes:
        rows: float64 [K, D].
        bias: float64 [K].
        loss: Weighted mean of the cross-entropies, without the penalty.
    """

    rows: Tensor
    bias: Tensor
    loss: float

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of `features` [N, D], float64 [N, K]."""
        return features.double() @ self.rows.T + self.bias


def solve(
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    classes: int,
    penalty: float,
    start: Solution | None = None,
) -> Solution:
    """Solve logistic regression.

    Args:
        features: float [N, D].
        labels: int64 [N].
        weights: Weight of each image, float [N]; their sum does not matter.
        penalty: Factor of half the squared norm of the rows, added to the weighted mean of the cross-entropies.
            scikit-learn's C is 1 / (N x penalty).
        start: A solution for another penalty.
    """
    problem = _Problem(features, labels, weights, classes, penalty)
    if start is None:
        rows, bias = problem.zeros()
    else:
        rows, bias = problem.precondition(start.rows, start.bias)
    rows.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [rows, bias],
        max_iter=ITERATIONS,
        tolerance_grad=GRADIENT_TOLERANCE,
        tolerance_change=STEP_TOLERANCE,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        return problem.objective(rows, bias)

    optimizer.step(closure)
    rows = rows.detach()
    bias = bias.detach()
    loss = float(problem.objective(rows, bias) - problem.penalty(rows))
    return Solution(*problem.restore(rows, bias), loss)


class _Problem:
    """Logistic regression in preconditioned coordinates, in which L-BFGS takes tens of steps instead of thousands.

    Features are centered (the bias is free), rotated to the principal axes of their covariance, and scaled by the
    curvature of the objective at rows of zeros, where p (1 - p) of a class is about 1 / K.
    """

    def __init__(self, features: Tensor, labels: Tensor, weights: Tensor, classes: int, penalty: float) -> None:
        self._features, self._labels = features, labels
        self._weights = (weights / weights.sum()).double()
        self._classes, self._penalty = classes, penalty
        self._chunks = torch.arange(len(features), device=features.device).split(CHUNK)

        sums = [self._weights[chunk] @ features[chunk].double() for chunk in self._chunks]
        self._center = torch.stack(sums).sum(dim=0)  # [D]
        dimensions = features.shape[1]
        covariance = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=features.device)
        for chunk in self._chunks:
            centered = features[chunk].double() - self._center
            covariance += (centered * self._weights[chunk, None]).T @ centered
        variances, self._axes = torch.linalg.eigh(covariance)
        self._scales = (variances.clamp(min=0) / classes + penalty).rsqrt()
        self._bias_scale = classes**0.5

    def objective(self, rows: Tensor, bias: Tensor) -> Tensor:
        """Return the mean loss with the penalty, and add gradients to `rows` and `bias` if they require any."""
        total = self._backward(self.penalty(rows))
        for chunk in self._chunks:
            # Rotate the rows, which are far fewer than the features. Once per chunk: `backward` frees the graph.
            rotated = rows * self._scales @ self._axes.T
            centered = self._features[chunk].double() - self._center
            logits = centered @ rotated.T + self._bias_scale * bias
            losses = F.cross_entropy(logits, self._labels[chunk], reduction="none")
            total = total + self._backward((self._weights[chunk] * losses).sum())
        return total

    def penalty(self, rows: Tensor) -> Tensor:
        return self._penalty / 2 * (rows * self._scales).square().sum()

    def zeros(self) -> tuple[Tensor, Tensor]:
        """Return rows [K, D] and a bias [K] of zeros."""
        rows = torch.zeros(self._classes, len(self._scales), dtype=torch.float64, device=self._scales.device)
        return rows, rows.sum(dim=1)

    def precondition(self, rows: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Convert rows and bias to the coordinates of the problem."""
        return rows @ self._axes / self._scales, (bias + rows @ self._center) / self._bias_scale

    def restore(self, rows: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Convert rows and bias to the coordinates of the features."""
        rows = rows * self._scales @ self._axes.T
        return rows, self._bias_scale * bias - rows @ self._center

    def _backward(self, value: Tensor) -> Tensor:
        if value.requires_grad:
            value.backward()
        return value.detach()
