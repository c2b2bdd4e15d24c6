"""The scales on which accuracies lie on a line: logit, probit and linear, each with its inverse."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from genrobust.core import UserError

SCALES = {"logit": (logit, expit), "probit": (ndtri, ndtr), "linear": (np.asarray, np.asarray)}


def to_scale(transform: str, fraction: np.ndarray | float) -> np.ndarray:
    """Put fractions in [0, 1] on the scale `transform`: "logit", "probit" or "linear".

    0 and 1 are infinite on the first two, so they are moved in by 1e-9, far less than one image of any test set.
    """
    return np.asarray(_scale(transform)[0](np.clip(fraction, 1e-9, 1 - 1e-9)))


def from_scale(transform: str, value: np.ndarray | float) -> np.ndarray:
    """Invert `to_scale`: return a fraction, which on the linear scale alone may leave [0, 1]."""
    return np.asarray(_scale(transform)[1](value))


def _scale(transform: str) -> tuple:
    try:
        return SCALES[transform]
    except KeyError:
        raise UserError(f"transform: {transform!r} is none of {', '.join(SCALES)}") from None
