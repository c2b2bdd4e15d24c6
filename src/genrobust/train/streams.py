"""Endless shuffled orders of images, in which position p is a pure function of (seed, p)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


class Stream:
    """Images in a shuffled order that never ends.

    A stream has one cell, or several if it is balanced: for example one for each class and style. In each *turn* it
    takes one image of every cell, with the cells in a new order. Within a cell, every image comes once (an *epoch* of
    the cell) before any comes again.

    Attributes:
        number: Number of the stream in its mixture, which its orders depend on.
        cells: Image numbers of each cell, int64 [n].
    """

    def __init__(self, number: int, cells: Sequence[np.ndarray]) -> None:
        self.number = number
        self.cells = tuple(cells)
        # A position needs the order of its cell, and the order of cells in its turn. Keep two of each.
        # `draw_permutation` is no method: a cache of methods would keep the mixture's pixels until garbage collection.
        self._permutation = lru_cache(maxsize=2 * (len(cells) + 1))(draw_permutation)

    def draw(self, seed: int, positions: np.ndarray) -> np.ndarray:
        """Return the images at `positions`, int64 [n], in ascending order without gaps."""
        count = len(self.cells)
        turns, cells = np.divmod(positions, count)
        if count > 1:
            cells = self._shuffle_cells(seed, turns, cells)
        sizes = np.array([len(cell) for cell in self.cells])
        epochs, places = np.divmod(turns, sizes[cells])

        # Images of one cell and epoch share one permutation.
        groups = epochs * count + cells
        drawn = np.empty_like(positions)
        for group in np.unique(groups).tolist():
            epoch, cell = divmod(group, count)
            in_group = groups == group
            order = self._permutation(seed, self.number, epoch, cell, len(self.cells[cell]))
            drawn[in_group] = self.cells[cell][order[places[in_group]]]
        return drawn

    def _shuffle_cells(self, seed: int, turns: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Map cell numbers [n] to the shuffled order of their turn."""
        count = len(self.cells)
        shuffled = []
        for turn in np.unique(turns).tolist():
            # The order of cells is drawn like the order of a cell with the number after the last.
            order = self._permutation(seed, self.number, turn, count, count)
            shuffled.append(order[cells[turns == turn]])
        return np.concatenate(shuffled)


def draw_permutation(seed: int, stream: int, epoch: int, cell: int, size: int) -> np.ndarray:
    """Return a permutation of `size` numbers, int64, a pure function of the arguments."""
    entropy = [seed, stream, epoch]
    # Cell 0 adds no number: streams without balance keep the order that earlier versions drew.
    if cell > 0:
        entropy.append(cell)
    return np.random.default_rng(entropy).permutation(size)
