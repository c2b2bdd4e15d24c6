"""The test sets that a recipe names, held against those that its data has."""

from __future__ import annotations

from genrobust.core import MEAN_OF_SHIFTS, StudyData, UserError
from genrobust.recipe import Recipe
from genrobust.robustness import list_figures


def check_named_tests(recipe: Recipe, data: StudyData) -> None:
    """Raise UserError, naming the key, for a test set that the data lacks, and for an unknown figure."""
    there = ", ".join(data.tests)
    for key, tests in (("tests", recipe.evaluate.tests), ("beside", recipe.evaluate.beside)):
        unknown = [t for t in tests or () if t not in data.tests]
        if unknown:
            raise UserError(f"evaluate.{key}: no test set {unknown[0]!r}; there are {there}")
    second, scored = recipe.robustness.second_id, recipe.evaluate.tests or data.tests
    if second is not None and (second not in scored or second == data.clean):
        others = ", ".join(name for name in scored if name != data.clean)
        raise UserError(f"robustness.second_id: no shifted test set {second!r} is scored; there are {others}")
    figures = [figure.name for figure in list_figures()]
    for i, claim in enumerate(recipe.claims):
        if claim.figure not in figures:
            raise UserError(f"claims.{i}.figure: no figure {claim.figure!r}; there are {', '.join(figures)}")
        if claim.test_set not in (MEAN_OF_SHIFTS, *data.tests):
            raise UserError(
                f"claims.{i}.test_set: no test set {claim.test_set!r}; there are {there}, and {MEAN_OF_SHIFTS!r}"
            )
