"""The groups of images, such as those of one designer: what another draw of a test set would draw anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from genrobust.core import hashed_seed

FEW_GROUPS = 4  # of images: an interval over so few says less than the groups themselves
Resample = Callable[[np.random.Generator], np.ndarray]  # draws replicates over images


def require_names(names: Sequence[object], images: int, argument: str) -> None:
    """Raise ValueError, with the name of the `argument`, unless each of the images has a name: a text or an integer."""
    if len(names) != images:
        raise ValueError(f"{argument}: {len(names)} names for {images} images")
    for i, name in enumerate(names):
        if not isinstance(name, str | int | np.integer):
            raise ValueError(f"{argument}: that of image {i} is {name!r}: give each image a text or an integer")


@dataclass(frozen=True)
class Groups:
    """The groups of N images, such as their designers: what is drawn anew for another set of the same kind.

    A replicate gives each group a weight from an exponential distribution, the same in every test set that has images
    of the group: the Bayesian bootstrap (Rubin, 1981) of groups. Images of a group are not drawn on their own: the
    spread between groups has theirs in it (Davison and Hinkley, 1997, section 3.8).

    Attributes:
        names: The G groups.
        of_image: int64 [N], indices into `names`.
    """

    names: tuple[str, ...]
    of_image: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[str] | None, members: np.ndarray) -> Groups | None:
        """Return the groups of the images that `members`, bool [N], selects; None where all lie in one group."""
        if groups is None:
            return None
        names, of_image = np.unique(np.asarray(groups)[members], return_inverse=True)
        return cls(tuple(names.tolist()), of_image) if len(names) > 1 else None

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the images that each group has."""
        return dict(zip(self.names, (np.bincount(self.of_image) / len(self.of_image)).tolist(), strict=True))

    @property
    def effective(self) -> float:
        """The number of groups of one size that would spread as much: 1 / sum of squared shares (Kish, 1965)."""
        return 1 / crowding(self.shares)

    @property
    def freedom(self) -> float:
        """The degrees of freedom of the spread between groups."""
        return max(self.effective - 1, 1.0)

    def spread(self, point: np.ndarray, draws: np.ndarray, over_images: Resample) -> np.ndarray:
        """Return `draws` [B, ...], the replicates of `point`, spread as other draws of groups would be.

        Unscaled, they understate that spread. And few groups may agree by chance, as if another one could not differ:
        up to `FEW_GROUPS`, the replicates `over_images` [B, ...] take their place where these spread more.
        """
        scaled = point + np.sqrt((self.effective + 1) / self.freedom) * (draws - point)
        if len(self.names) > FEW_GROUPS:
            return scaled
        of_images = over_images(np.random.default_rng(hashed_seed("images", *self.names)))
        return of_images if np.nanstd(of_images, axis=0).mean() > np.nanstd(scaled, axis=0).mean() else scaled


@lru_cache(maxsize=1)  # several sets of the same 50,000 pictures, such as those of ImageNet-C, follow each other
def group_weights(names: tuple[str, ...], bootstrap: int) -> np.ndarray:
    """Return the weight of each group of `names` in each replicate, the same in every test set: float32 [B, G]."""
    weights = np.empty((bootstrap, len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        weights[:, i] = np.random.default_rng(hashed_seed("group", name)).standard_exponential(bootstrap)
    weights.flags.writeable = False
    return weights


def crowding(shares: Mapping[str, float]) -> float:
    """Return the sum of squared shares: one over the number of groups, where they are of one size."""
    return sum(share**2 for share in shares.values())
