"""Groups of images, such as the images of one designer: the units that another draw of a test set would draw anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from genrobust.core import hashed_seed

# An interval over so few groups says less than the accuracies of the groups.
FEW_GROUPS = 4
# Draws replicates over images, [B, ...].
DrawOverImages = Callable[[np.random.Generator], np.ndarray]


def require_names(names: Sequence[object], images: int, argument: str) -> None:
    """Raise ValueError, with the name of the `argument`, unless each image has a name: a text or an integer."""
    if len(names) != images:
        raise ValueError(f"{argument}: {len(names)} names for {images} images")
    for i, name in enumerate(names):
        if not isinstance(name, str | int | np.integer):
            raise ValueError(f"{argument}: the name of image {i} is {name!r}: give each image a text or an integer")


@dataclass(frozen=True)
class Groups:
    """The groups of N images, such as their designers.

    A replicate gives each group a weight from an exponential distribution, the same in every test set that has images
    of the group: the Bayesian bootstrap (Rubin, 1981) of groups. Images within a group are not resampled: the spread
    between groups already contains theirs (Davison and Hinkley, 1997, section 3.8).

    Attributes:
        names: The G groups.
        of_image: int64 [N], indices into `names`.
    """

    names: tuple[str, ...]
    of_image: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[str] | None, members: np.ndarray) -> Groups | None:
        """Return the groups of the images that `members`, bool [N], selects; None if all are in one group."""
        if groups is None:
            return None
        names, of_image = np.unique(np.asarray(groups)[members], return_inverse=True)
        if len(names) > 1:
            return cls(tuple(names.tolist()), of_image)
        return None

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the images that each group has."""
        shares = np.bincount(self.of_image) / len(self.of_image)
        return dict(zip(self.names, shares.tolist(), strict=True))

    @property
    def effective(self) -> float:
        """The number of groups of equal size that would spread as much: 1 / sum of squared shares (Kish, 1965)."""
        return 1 / crowding(self.shares)

    @property
    def freedom(self) -> float:
        """The degrees of freedom of the spread between groups."""
        return max(self.effective - 1, 1.0)

    def widen(self, point: np.ndarray, draws: np.ndarray, over_images: DrawOverImages) -> np.ndarray:
        """Return the replicates `draws` [B, ...] of `point` with the spread of other draws of the groups.

        For G groups of equal size, exponential weights have a variance of 1 / (G + 1) times the plain variance between
        the groups, and that is (G - 1) / G times the unbiased one. The mean of G groups has a G-th of the unbiased
        variance, so deviations are scaled by sqrt((G + 1) / (G - 1)).

        Few groups may agree by chance. Up to `FEW_GROUPS`, the replicates over images are used if they spread more.
        """
        scale = np.sqrt((self.effective + 1) / self.freedom)
        scaled = point + scale * (draws - point)
        if len(self.names) > FEW_GROUPS:
            return scaled
        image_draws = over_images(np.random.default_rng(hashed_seed("images", *self.names)))
        if _mean_sd(image_draws) > _mean_sd(scaled):
            return image_draws
        return scaled


def _mean_sd(draws: np.ndarray) -> float:
    return float(np.nanstd(draws, axis=0).mean())


# Test sets of the same 50,000 pictures, such as ImageNet-C, follow each other.
@lru_cache(maxsize=1)
def group_weights(names: tuple[str, ...], bootstrap: int) -> np.ndarray:
    """Return the weight of each group in each replicate, the same in every test set: float32 [B, G]."""
    weights = np.empty((bootstrap, len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        weights[:, i] = np.random.default_rng(hashed_seed("group", name)).standard_exponential(bootstrap)
    weights.flags.writeable = False
    return weights


def crowding(shares: Mapping[str, float]) -> float:
    """Return the sum of squared shares: 1 / G for G groups of equal size."""
    return sum(share**2 for share in shares.values())
