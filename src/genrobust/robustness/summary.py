"""The summary of a study, from the predictions of its classifiers: every metric, with means and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from genrobust.core import ALL_SHIFTS, MEAN_OF_SHIFTS, BaselineModel, MissedImage, Summary, hashed_seed
from genrobust.robustness.answers import OfImages
from genrobust.robustness.baseline_lines import fit_lines
from genrobust.robustness.breakdown import (
    accuracy_by_group,
    class_reports,
    class_sizes,
    gains_without_groups,
    missed_images,
)
from genrobust.robustness.comparison import Comparison
from genrobust.robustness.image_groups import Groups, require_names
from genrobust.robustness.measured import Measured, mean_of, measure_accuracy
from genrobust.robustness.metric import ImageMetric, Metric, find_metric, list_metrics
from genrobust.robustness.resampling import seed_weights
from genrobust.robustness.score_rows import ScoreTable
from genrobust.robustness.study_answers import (
    MISTAKEN_FOR,
    AnsweredSet,
    StudyAnswers,
    StudyPredictions,
    answer_sets,
    arms_and_seeds,
)

# By metric and test set.
Table = dict[tuple[str, str], Measured]


def summarize(
    predictions: StudyPredictions,
    comparison: Comparison,
    baselines: Sequence[BaselineModel] = (),
    metrics: Sequence[Metric] | None = None,
    adapted: StudyPredictions | None = None,
) -> Summary:
    """Measure top-1 and `metrics` (None: all) of each arm, seed and test set, with their means and differences.

    A shifted set is scored over its own classes, with logits restricted to them, and paired with the clean set
    restricted to the same classes. Means over shifts are over the shifts that have the metric, and say how many.
    Effective robustness has no mean over shifts whose line explains less than half, and none for an arm that
    extrapolates a line.

    Intervals are 95 %: Clopper-Pearson for a proportion of one checkpoint, else percentile bootstraps (deterministic)
    of images, or of their groups if they have some, the same for all arms; baseline models, the same for all shifts;
    seeds, the same for all arms and sets, if there are several; and the arms of a group of three or more.

    Args:
        predictions: By arm, seed and test set, from any source.
        baselines: The standard models of the lines. Without them there is no effective robustness.
        adapted: The predictions of the same classifiers, adapted to each test set.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: A prediction is missing or for other images than the others, or a line cannot be fitted.
        ValueError: An image has no name in `image_groups` or `pictures`, or a mask in `subsets` has another length than
            its test set.
    """
    arms, seeds = arms_and_seeds(predictions, comparison.tests)
    references = comparison.find_references(arms)
    rng = np.random.default_rng(0)
    weights = seed_weights(len(seeds), comparison.bootstrap, rng)
    study = _answer_study(predictions, adapted, comparison, baselines, _choose_metrics(metrics), rng)
    left_out = _left_out(study, comparison)
    in_mean = tuple(shift for shift in comparison.shifts if shift not in left_out)
    subsets = _measure_subsets(study, comparison, in_mean)
    measured = study.measured | _means_over_shifts(study.measured, in_mean)
    for name, by_test in subsets.items():
        measured["top1", name] = mean_of(list(by_test.values()), _mean_label(len(by_test), len(by_test)))
    table = ScoreTable(comparison, arms, seeds, references, weights)
    summary = Summary(
        arms=arms,
        reference=comparison.reference,
        seeds=seeds,
        clean=comparison.clean,
        shifts=in_mean,
        left_out=left_out,
        scores=dict(table.rows(measured)),
        paired=study.paired,
        lines=dict(study.lines),
        protocols={test: study.sets[test].protocol for test in study.paired},
        gaps=study.gaps,
        references=references,
        groups={group: tuple(members) for group, members in comparison.groups.items()},
        subsets={name: _sizes(by_test) for name, by_test in subsets.items()},
    )
    return _with_breakdowns(summary, study, comparison)


def score_baselines(predictions: StudyPredictions, clean: str, shifts: Sequence[str]) -> list[BaselineModel]:
    """Return each model of `predictions` as a baseline model on each of `shifts`, with its mean accuracies over seeds.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: A prediction is missing, or the models were not scored on the same images with the same protocol.
    """
    tests = (clean, *shifts)
    models, seeds = arms_and_seeds(predictions, tests)
    sets, paired = answer_sets(predictions, tests, {"top1": lambda answers: answers.correct})

    def top1(name: str, model: int) -> float:
        right = sets[name].values["top1"][model]
        return float((100 * right.sum(axis=1) / right.shape[1]).sum() / len(seeds))

    rows = []
    for m, model in enumerate(models):
        for shift in shifts:
            rows.append(BaselineModel(model, shift, top1(paired[shift], m), top1(shift, m)))
    return rows


def _choose_metrics(metrics: Sequence[Metric] | None) -> list[Metric]:
    """Return all metrics for None, else top-1 accuracy, which others build on, and then `metrics`."""
    if metrics is None:
        return list_metrics()
    others = [metric for metric in metrics if metric.name != "top1"]
    return [find_metric("top1"), *others]


def _answer_study(
    predictions: StudyPredictions,
    adapted: StudyPredictions | None,
    comparison: Comparison,
    baselines: Sequence[BaselineModel],
    metrics: Sequence[Metric],
    rng: np.random.Generator,
) -> StudyAnswers:
    """Return the answers of a study, with every metric that can be measured on them."""
    # Fit lines first: a mistake in the baselines is reported before predictions are read.
    lines = {**comparison.published, **fit_lines(baselines, comparison.shifts, comparison.transform)}
    of_images: dict[str, OfImages] = {MISTAKEN_FOR: lambda answers: answers.mistaken_for}
    of_adapted: dict[str, OfImages] = {}
    for metric in metrics:
        if isinstance(metric, ImageMetric):
            chosen = of_adapted if metric.adapted else of_images
            chosen[metric.name] = metric.of_images
    sets, paired = answer_sets(predictions, comparison.tests, of_images)
    if adapted is not None:
        adapted_sets, _ = answer_sets(adapted, comparison.tests, of_adapted)
        for name, answered in adapted_sets.items():
            sets[name].values.update(answered.values)
    for name, answered in sets.items():
        # The clean set restricted to the classes of a shift has the images of the clean set.
        test = name if name in paired else comparison.clean
        sets[name] = _with_groups(answered, comparison, test)
    study = StudyAnswers(sets, paired, lines, baselines, comparison.bootstrap, rng)
    for metric in metrics:
        if study.lines or not metric.needs_lines:
            for test, measured in metric.measure(study).items():
                study.measured[metric.name, test] = measured
    return study


def _with_groups(answered: AnsweredSet, comparison: Comparison, test: str) -> AnsweredSet:
    """Return the answers with the groups and the pictures of the images of `test`."""
    images = len(answered.members)
    if test in comparison.image_groups:
        require_names(comparison.image_groups[test], images, f"image_groups[{test!r}]")
    if test in comparison.pictures:
        require_names(comparison.pictures[test], images, f"pictures[{test!r}]")
    groups, pictures = _select_groups(comparison, test, answered.members)
    return replace(answered, groups=groups, pictures=pictures)


def _select_groups(comparison: Comparison, test: str, members: np.ndarray) -> tuple[Groups | None, Groups | None]:
    """Return the groups and the pictures of the images that `members`, bool [N], selects.

    If all images are in one group, or groups are unknown, the pictures are the groups.
    """
    pictures = Groups.of(comparison.pictures.get(test), members)
    groups = Groups.of(comparison.image_groups.get(test), members)
    return groups or pictures, pictures


def _left_out(study: StudyAnswers, comparison: Comparison) -> dict[str, str]:
    """Return the shifts that are left out of the means, with the reason."""
    reasons = {}
    for shift in comparison.shifts:
        answered = study.sets[shift]
        if answered.size < comparison.min_images:
            reasons[shift] = f"{answered.size} images, fewer than {comparison.min_images}"
    for shift in comparison.shifts:
        if len(study.sets[shift].classes) == 1:
            reasons[shift] = "all its images are of one class, so every prediction is right"
    for shift in comparison.shifts:
        if shift in comparison.beside:
            reasons[shift] = comparison.beside[shift]
    return reasons


def _measure_subsets(
    study: StudyAnswers, comparison: Comparison, in_mean: Sequence[str]
) -> dict[str, dict[str, Measured]]:
    """Return top-1 accuracy on the subsets of test sets that have images, by the subset's name and by test set."""
    subsets = {}
    for name in comparison.subsets:
        by_test = _measure_subset(study, name, comparison, in_mean)
        if by_test:
            subsets[name] = by_test
    return subsets


def _sizes(measured: Mapping[str, Measured]) -> dict[str, int]:
    """Return the number of images by test set."""
    return {test: of_test.n for test, of_test in measured.items()}


def _measure_subset(
    study: StudyAnswers, name: str, comparison: Comparison, in_mean: Sequence[str]
) -> dict[str, Measured]:
    """Return top-1 accuracy on the subset `name` of each shift in the mean, or of the clean set if none has one."""
    masks = comparison.subsets[name]
    measured = {}
    for test in [shift for shift in in_mean if shift in masks] or [comparison.clean]:
        answered = study.sets[test]
        mask = np.asarray(masks.get(test, np.zeros_like(answered.members)), dtype=bool)
        if mask.shape != answered.members.shape:
            raise ValueError(f"subsets[{name!r}][{test!r}]: {len(mask)} of {len(answered.members)} images")
        chosen = mask & answered.members
        if chosen.any():
            right = answered.values["top1"][:, :, chosen[answered.members]]
            groups, pictures = _select_groups(comparison, test, chosen)
            rng = np.random.default_rng(hashed_seed("subset", name, test))
            classes = len(answered.classes)
            measured[test] = measure_accuracy(right, classes, comparison.bootstrap, rng, groups, pictures)
    return measured


def _means_over_shifts(measured: Table, shifts: Sequence[str]) -> Table:
    """Return the mean of each metric over the `shifts` on which it was measured and enters the mean."""
    means = {}
    for metric in dict.fromkeys(metric for metric, _ in measured):
        parts = []
        for shift in shifts:
            part = measured.get((metric, shift))
            if part is not None and part.in_mean:
                parts.append(part)
        if parts:
            means[metric, MEAN_OF_SHIFTS] = mean_of(parts, _mean_label(len(parts), len(shifts)))
    return means


def _mean_label(measured: int, shifts: int) -> str:
    """Name a mean: "mean of 3 shifts", "mean of 2 of 3 shifts"."""
    number = str(shifts) if measured == shifts else f"{measured} of {shifts}"
    return f"mean of {number} shift{'s' * (shifts > 1)}"


def _with_breakdowns(summary: Summary, study: StudyAnswers, comparison: Comparison) -> Summary:
    """Return the summary with its fields about single groups, classes and images."""
    arms = summary.arms
    by_group: dict[str, dict[str, tuple[float, ...]]] = {}
    missed: list[MissedImage] = []
    missed_counts: dict[str, int] = {}
    commonest: dict[str, float] = {}
    for test in comparison.tests:
        answered = study.sets[test]
        accuracies = accuracy_by_group(answered, arms)
        if accuracies:
            by_group[test] = accuracies
        images, missed_counts[test] = missed_images(answered)
        missed += images
        commonest[test] = 100 * float(np.bincount(answered.labels).max()) / len(answered.labels)
    shifted = [study.sets[test] for test in summary.shifts]
    sides = {comparison.clean: [study.sets[comparison.clean]]}
    if shifted:
        sides[ALL_SHIFTS] = shifted
    members = {arm: [a] for a, arm in enumerate(arms)}
    for group, names in comparison.groups.items():
        members[group] = [arms.index(arm) for arm in names]
    return replace(
        summary,
        by_group=by_group,
        without_group=gains_without_groups(shifted, comparison.image_groups, arms, summary.references),
        missed=tuple(missed),
        missed_counts=missed_counts,
        class_reports={side: class_reports(sets, members) for side, sets in sides.items()},
        class_sizes={side: class_sizes(sets) for side, sets in sides.items()},
        commonest=commonest,
    )
