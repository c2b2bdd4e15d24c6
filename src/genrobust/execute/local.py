"""Work in this process: all pieces in one go, and the first failure ends it."""

from __future__ import annotations

from genrobust.devices import resolve_device
from genrobust.execute.pieces import Work
from genrobust.recipe import Recipe


class Local:
    """This process. What loads and writes beside the work goes on from one piece to the next."""

    elsewhere = False

    def placed(self, recipe: Recipe) -> Recipe:
        """`recipe` as it is; raises UserError where this machine has no such device."""
        if recipe.device not in ("auto", "cpu"):
            resolve_device(recipe.device)
        return recipe

    def run(self, work: Work) -> None:
        """Do the pieces in their order; raises what the first that fails raises."""
        if work.pieces:
            work.load()([piece.key for piece in work.pieces])
