"""Scoring a study: its baseline models and lines, and the summary of its arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from genrobust.classifiers import SavedPredictions
from genrobust.core import ZERO_SHOT, BaselineModel, Curve, StudyData, Summary
from genrobust.recipe import Recipe
from genrobust.robustness import Comparison, summarize
from genrobust.study.results.baselines import grid_rows, published_lines, table_rows


@dataclass(frozen=True, slots=True)
class StudyScores:
    """The scores of a study, the baseline models that its lines are fitted on, and notes on shifts without a line.

    `curves` are those of arms with several numbers under `wise_ft`.
    """

    summary: Summary
    baselines: list[BaselineModel]
    notes: tuple[str, ...]
    curves: tuple[Curve, ...] = ()


def score_study(
    recipe: Recipe,
    data: StudyData,
    shifts: Sequence[str],
    arms: SavedPredictions[tuple[str, int, str]],
    zero_shot: SavedPredictions[str],
    baselines: list[BaselineModel],
    notes: Sequence[str] = (),
) -> StudyScores:
    """Score the predictions of a study.

    Args:
        shifts: The shifted test sets of `data` that are scored.
        arms: Predictions by arm, seed and test set.
        zero_shot: Those of the recipe's zero-shot CLIP by test set; it stands beside the arms with each seed.
        notes: On shifts without a line.

    Raises:
        GenrobustError: A logit is NaN.
        UserError: Predictions do not fit each other, or no line can be fitted.
    """
    comparison, without = _comparison(recipe, data, shifts)
    beside = {(ZERO_SHOT, seed, test): folder for seed in recipe.seeds for test, folder in zero_shot.folders.items()}
    comparison = replace(
        comparison,
        references=recipe.references(),
        groups=recipe.groups(),
        pairs=[(claim.arm, claim.than) for claim in recipe.claims if claim.arm not in recipe.groups()],
    )
    summary = summarize(SavedPredictions(arms.folders | beside), comparison, baselines)
    pretrained = tuple(arm.name for arm in recipe.arms if recipe.train_of(arm).is_pretrained)
    summary = replace(summary, trained_elsewhere=(ZERO_SHOT,) if beside else (), pretrained=pretrained)
    return StudyScores(summary, baselines, (*notes, *without))


def score_curves(
    recipe: Recipe,
    data: StudyData,
    shifts: Sequence[str],
    points: Mapping[str, SavedPredictions[tuple[str, int, str]]],
    baselines: list[BaselineModel],
) -> tuple[Curve, ...]:
    """Score the points between pretrained networks and fine-tuned ones.

    Args:
        points: By arm, the predictions by a point's number in words, seed and test set. All points are compared with
            the last and with the first.

    Raises:
        GenrobustError: A logit is NaN.
    """
    comparison, _ = _comparison(recipe, data, shifts)
    curves = []
    for arm, predictions in points.items():
        first, *others = dict.fromkeys(point for point, _, _ in predictions)
        compared = replace(comparison, reference=others[-1], pairs=[(point, first) for point in others])
        curves.append(Curve(arm, summarize(predictions, compared, baselines)))
    return tuple(curves)


def _comparison(recipe: Recipe, data: StudyData, shifts: Sequence[str]) -> tuple[Comparison, list[str]]:
    """How a study measures whatever it compares, and notes on the shifts without a published line."""
    lines, without = published_lines(recipe.robustness, recipe.data, shifts, len(data.labels))
    comparison = Comparison(
        clean=data.clean,
        shifts=shifts,
        reference=recipe.reference,
        transform=recipe.robustness.transform,
        min_images=recipe.evaluate.min_images,
        beside=recipe.evaluate.beside,
        bootstrap=recipe.robustness.bootstrap,
        published=lines,
        image_groups={name: groups for name, groups in data.image_groups.items() if name in (data.clean, *shifts)},
    )
    return comparison, without


def check_baselines(recipe: Recipe, data: StudyData, shifts: Sequence[str]) -> list[str]:
    """Fit the lines that need no trained baselines, so that a mistake in them is reported before any work.

    Returns:
        Notes on shifts without a line and on what is doubtful.

    Raises:
        UserError: The table of baselines cannot be read, or a line cannot be fitted on it.
    """
    return [] if recipe.robustness.grid else find_baselines(recipe, data.clean, shifts, None)[1]


def find_baselines(
    recipe: Recipe, clean: str, shifts: Sequence[str], grid: SavedPredictions[tuple[str, int, str]] | None
) -> tuple[list[BaselineModel], list[str]]:
    """Return the baseline models of the recipe's table, or of its grid, with notes as those of `table_rows`.

    `grid` holds the predictions of the recipe's own baseline models, by model, seed and test set; None without a grid.

    Raises:
        UserError: The table cannot be read or has too few models for a line.
    """
    settings = recipe.robustness
    if grid is not None:
        return grid_rows(grid, clean, shifts, settings.transform)
    name = recipe.data.source if settings.baselines == "shipped" else settings.baselines
    if name in (None, "imagenet") or name == recipe.data.source != "pictograms":
        return [], []  # there are none, or lines alone
    return table_rows(name, shifts, settings.transform)
