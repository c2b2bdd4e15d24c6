"""What the reader of a report must know before believing its figures."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from genrobust.core import BaselineModel, Line
from genrobust.data import LINE_SOURCE as PUBLISHED
from genrobust.recipe import Recipe


def notes(
    recipe: Recipe, baselines: Collection[BaselineModel], lines: Collection[Line], retrieval: tuple[int, int] | None
) -> Iterator[str]:
    """Yield what a study of few seeds, without `baselines`, or with too few images to retrieve cannot say.

    Args:
        recipe: The study's.
        baselines: The baseline models.
        lines: The baseline lines, fitted or published.
        retrieval: The numbers of images retrieved and generated; None where none were retrieved.
    """
    if len(recipe.seeds) < 3:
        seeds = "One training seed" if len(recipe.seeds) == 1 else "Two training seeds"
        yield f"{seeds}: differences between arms show what happened here and claim nothing in general."
    if not baselines and not lines:
        yield "No baseline models: without them there is no line, and so no effective robustness."
    elif not baselines:
        yield f"Baseline lines: {PUBLISHED}; intervals are over images and the lines' own errors."
    if retrieval is not None:
        got, wanted = retrieval
        if got < wanted:
            yield f"Retrieval found {got:,} images for {wanted:,} generated ones: some classes ran short."
