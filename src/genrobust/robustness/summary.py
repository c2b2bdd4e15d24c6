"""From the predictions of a whole study to its Summary: every metric, with means and differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from genrobust.core import (
    ALL_SHIFTS,
    MEAN_OF_SHIFTS,
    BaselineModel,
    Line,
    Score,
    ScoreKey,
    Summary,
    UserError,
    group_reference,
    hashed_seed,
)
from genrobust.robustness.breakdown import (
    accuracy_by_group,
    class_reports,
    class_sizes,
    gains_without_groups,
    missed_images,
)
from genrobust.robustness.effective import fit_lines
from genrobust.robustness.grouping import Groups, require_names
from genrobust.robustness.metric import ImageMetric, Metric, find_metric, list_metrics
from genrobust.robustness.resampling import LEAST, Measured, mean_of, measure_accuracy, seed_weights
from genrobust.robustness.sets import MISTAKEN_FOR, StudyAnswers, StudyPredictions, answer_sets, arms_and_seeds

Table = dict[tuple[str, str], Measured]  # by metric and test set
COMPARED_ON_EACH = 12  # arms, up to which any two are compared on each test set; of more, on the mean of shifts alone


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparisons of a study, and how they are made.

    Attributes:
        reference: The arm that the others are compared with, where `references` maps an arm to no other (itself: none).
        groups: Arms that are averaged over, by the name of the group.
        pairs: Further differences: an arm, and what is subtracted.
        transform: The scale of baseline lines: "logit", "probit" or "linear".
        min_images: A shift with fewer images is left out of the means.
        pictures: By test set, the picture that each image was made from; for sets of copies, such as corrupted ones.
        beside: Shifts that are left out of the means, too, with the reason.
        bootstrap: Replicates of each interval.
        published: Lines of shifts that no baseline model was scored on.
        image_groups: By test set, the group of each image, such as its designer; for test sets whose groups are known.
        subsets: Parts of test sets on which top-1 accuracy is measured too, by a name and by test set: bool, which
            images are in it. It is the mean over the shifts in the mean, or that of the clean set where none has such
            a part.

    Raises:
        ValueError: `bootstrap` is below 20, a test set is named twice, or `image_groups`, `pictures`, `published` or
            `subsets` name another one; or a test set or a subset has a name that scores have already.
    """

    clean: str
    shifts: Sequence[str]
    reference: str
    references: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pairs: Sequence[tuple[str, str]] = ()
    transform: str = "logit"
    min_images: int = 150
    pictures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    bootstrap: int = 1000
    published: Mapping[str, Line] = field(default_factory=dict)
    image_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subsets: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bootstrap < LEAST:
            raise ValueError(f"bootstrap: {self.bootstrap} replicates give no 95 % interval: take {LEAST} or more")
        tests = (self.clean, *self.shifts)
        if len(set(tests)) < len(tests):
            raise ValueError(f"shifts: name each test set once, and {self.clean!r} as clean alone")
        if taken := {*self.subsets} & {*tests, MEAN_OF_SHIFTS} | {*tests} & {MEAN_OF_SHIFTS}:
            raise ValueError(f"{min(taken)!r} is what other scores are called: give this set another name")
        by_test = {name: getattr(self, name) for name in ("image_groups", "pictures", "published")}
        by_test["subsets"] = [name for masks in self.subsets.values() for name in masks]
        for argument, names in by_test.items():
            if unknown := [name for name in names if name not in tests]:
                raise ValueError(f"{argument}: no test set {unknown[0]!r}; there are {', '.join(tests)}")


def summarize(
    predictions: StudyPredictions,
    comparison: Comparison,
    baselines: Sequence[BaselineModel] = (),
    metrics: Sequence[Metric] | None = None,
    adapted: StudyPredictions | None = None,
) -> Summary:
    """Measure top-1 and `metrics` (None: all) of each arm, seed and test set, with their means and differences.

    `predictions` are by arm, seed and test set, and may come from anywhere. Without `baselines` there is no line, and
    so no effective robustness. `adapted` are those of the same classifiers, adapted to each test set.

    A shifted set is scored over its own classes, logits restricted to them, and paired with the clean set restricted to
    the same classes. Means over shifts are over those that have the metric, and say over how many; effective robustness
    has no mean over shifts whose line explains less than half, and none for an arm that extrapolates a line.

    Intervals are 95 %: Clopper-Pearson for a proportion of one checkpoint, else percentile bootstraps (deterministic)
    of images, or of their groups where they have some, the same for all arms; baseline models, the same for all shifts;
    seeds, the same for all arms and sets, where there are several; and the arms of a group of three or more.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: A prediction is missing or of other images than the others, or a line cannot be fitted.
        ValueError: An image has no name in `image_groups` or `pictures`, or none that says whether it is in `subsets`.
    """
    arms, seeds = arms_and_seeds(predictions, (comparison.clean, *comparison.shifts))
    references = _references(comparison, arms)
    weights = seed_weights(len(seeds), comparison.bootstrap, rng := np.random.default_rng(0))
    metrics = list_metrics() if metrics is None else [find_metric("top1"), *(f for f in metrics if f.name != "top1")]
    study = _measure_metrics(predictions, baselines, comparison, metrics, rng, adapted)
    left_out = _left_out(study, comparison)
    in_mean = tuple(shift for shift in comparison.shifts if shift not in left_out)
    parts = {name: _parts(study, name, comparison, in_mean) for name in comparison.subsets}
    subsets = {name: mean_of(list(of.values()), _mean_of_sets(len(of), len(of))) for name, of in parts.items() if of}
    table = study.measured | _means_over_shifts(study.measured, in_mean)
    table |= {("top1", name): measured for name, measured in subsets.items()}
    tested = {test: study.sets[test] for test in (comparison.clean, *comparison.shifts)}
    missed = {test: missed_images(answered) for test, answered in tested.items()}
    members = {arm: [a] for a, arm in enumerate(arms)}
    members |= {group: [arms.index(arm) for arm in of_group] for group, of_group in comparison.groups.items()}
    by_side = {comparison.clean: [comparison.clean]} | ({ALL_SHIFTS: in_mean} if in_mean else {})
    return Summary(
        arms=arms,
        reference=comparison.reference,
        seeds=seeds,
        clean=comparison.clean,
        shifts=in_mean,
        left_out=left_out,
        scores=dict(_score_rows(table, arms, seeds, references, comparison, weights)),
        paired=study.paired,
        lines=dict(study.lines),
        protocols={test: study.sets[test].protocol for test in study.paired},
        gaps=study.gaps,
        references=references,
        groups={group: tuple(members) for group, members in comparison.groups.items()},
        by_group={test: accuracies for test, of in tested.items() if (accuracies := accuracy_by_group(of, arms))},
        without_group=gains_without_groups(
            [study.sets[test] for test in in_mean], comparison.image_groups, arms, references
        ),
        missed=tuple(image for images, _ in missed.values() for image in images),
        missed_counts={test: count for test, (_, count) in missed.items()},
        class_reports={
            side: class_reports([study.sets[test] for test in of_side], members) for side, of_side in by_side.items()
        },
        class_sizes={side: class_sizes([study.sets[test] for test in of_side]) for side, of_side in by_side.items()},
        commonest={test: 100 * float(np.bincount(of.labels).max()) / len(of.labels) for test, of in tested.items()},
        subsets={name: {test: part.n for test, part in parts[name].items()} for name in subsets},
    )


def score_baselines(predictions: StudyPredictions, clean: str, shifts: Sequence[str]) -> list[BaselineModel]:
    """Return each model of `predictions` as a baseline model on each of `shifts`: the mean accuracies over its seeds.

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

    return [
        BaselineModel(model, shift, top1(paired[shift], m), top1(shift, m))
        for m, model in enumerate(models)
        for shift in shifts
    ]


def _references(comparison: Comparison, arms: Sequence[str]) -> dict[str, str]:
    """Return what each arm and group is compared with.

    Raises:
        UserError: A name that is no arm, or a group that is called like one.
    """
    references = dict.fromkeys(arms, comparison.reference) | dict(comparison.references)
    compared = [name for pair in (*comparison.pairs, *references.items()) for name in pair]
    for role, names in (
        ("reference", [comparison.reference]),
        ("a difference", compared),
        *((f"group {group!r}", members) for group, members in comparison.groups.items()),
    ):
        for name in names:
            if name not in arms:
                raise UserError(f"{role}: {name!r} is no arm with predictions; the arms are {', '.join(arms)}")
    groups = comparison.groups
    if taken := [group for group in groups if group in arms]:
        raise UserError(f"group {taken[0]!r} is called like an arm: give it another name")
    return references | {group: group_reference(group, groups, references) for group in groups}


def _measure_metrics(
    predictions: StudyPredictions,
    baselines: Sequence[BaselineModel],
    comparison: Comparison,
    metrics: Sequence[Metric],
    rng: np.random.Generator,
    adapted: StudyPredictions | None,
) -> StudyAnswers:
    """The answers, with every metric that can be measured of them."""
    clean, shifts = comparison.clean, comparison.shifts
    lines = {**comparison.published, **fit_lines(baselines, shifts, comparison.transform)}
    of_images, of_adapted = (
        {f.name: f.of_images for f in metrics if isinstance(f, ImageMetric) and f.adapted is is_adapted}
        for is_adapted in (False, True)
    )
    of_images[MISTAKEN_FOR] = lambda answers: answers.mistaken_for
    sets, paired = answer_sets(predictions, (clean, *shifts), of_images)
    if adapted is not None:
        for name, answered in answer_sets(adapted, (clean, *shifts), of_adapted)[0].items():
            sets[name].values.update(answered.values)
    for name, answered in sets.items():
        test = name if name in paired else clean
        for argument, names in (("image_groups", comparison.image_groups), ("pictures", comparison.pictures)):
            if test in names:
                require_names(names[test], len(answered.members), f"{argument}[{test!r}]")
        groups, pictures = _groups(comparison, test, answered.members)
        sets[name] = replace(answered, groups=groups, pictures=pictures)
    study = StudyAnswers(sets, paired, lines, baselines, comparison.bootstrap, rng)
    for metric in metrics:
        if study.lines or not metric.needs_lines:
            study.measured.update({(metric.name, test): m for test, m in metric.measure(study).items()})
    return study


def _groups(comparison: Comparison, test: str, chosen: np.ndarray) -> tuple[Groups | None, Groups | None]:
    """The groups of the `chosen` images of a test set, and the pictures, which stand for groups where these are one."""
    pictures = Groups.of(comparison.pictures.get(test), chosen)
    return Groups.of(comparison.image_groups.get(test), chosen) or pictures, pictures


def _left_out(study: StudyAnswers, comparison: Comparison) -> dict[str, str]:
    """Why shifts are left out of the means."""
    sizes = {shift: study.sets[shift].size for shift in comparison.shifts}
    few = comparison.min_images
    reasons = {shift: f"{n} images, fewer than {few}" for shift, n in sizes.items() if n < few}
    alone = [shift for shift in comparison.shifts if len(study.sets[shift].classes) == 1]
    reasons |= dict.fromkeys(alone, "its images are of one class, where every answer is right")
    return reasons | {shift: comparison.beside[shift] for shift in comparison.shifts if shift in comparison.beside}


def _parts(study: StudyAnswers, name: str, comparison: Comparison, shifts: Sequence[str]) -> dict[str, Measured]:
    """The top-1 accuracy on the subset `name` of each of `shifts`, or of the clean set, that has such images."""
    subset = {test: np.asarray(mask, dtype=bool) for test, mask in comparison.subsets[name].items()}
    measured = {}
    for test in [shift for shift in shifts if shift in subset] or [comparison.clean]:
        answered = study.sets[test]
        mask = subset.get(test, np.zeros_like(answered.members))
        if mask.shape != answered.members.shape:
            raise ValueError(f"subsets[{name!r}][{test!r}]: {len(mask)} of {len(answered.members)} images")
        chosen = mask & answered.members
        if chosen.any():
            right = answered.values["top1"][:, :, chosen[answered.members]]
            groups, pictures = _groups(comparison, test, chosen)
            rng = np.random.default_rng(hashed_seed("subset", name, test))
            classes = len(answered.classes)
            measured[test] = measure_accuracy(right, classes, comparison.bootstrap, rng, groups, pictures)
    return measured


def _means_over_shifts(measured: Table, shifts: Sequence[str]) -> Table:
    means = {}
    for metric in dict.fromkeys(metric for metric, _ in measured):
        parts = [m for shift in shifts if (m := measured.get((metric, shift))) is not None and m.in_mean]
        if parts:
            means[metric, MEAN_OF_SHIFTS] = mean_of(parts, _mean_of_sets(len(parts), len(shifts)))
    return means


def _mean_of_sets(measured: int, shifts: int) -> str:
    return f"mean of {measured if measured == shifts else f'{measured} of {shifts}'} shift{'s' * (shifts > 1)}"


def _score_rows(
    table: Table,
    arms: Sequence[str],
    seeds: Sequence[int],
    references: Mapping[str, str],
    comparison: Comparison,
    weights: np.ndarray,
) -> Iterator[tuple[ScoreKey, Score]]:
    """The scores of each checkpoint, arm, difference and group; `weights` [B, S] are those of the seeds."""
    at = {arm: a for a, arm in enumerate(arms)}
    asked = [*((arm, references[arm]) for arm in arms if references[arm] != arm), *comparison.pairs]
    for (metric, test), measured in table.items():
        for arm, a in at.items():
            for s, seed in enumerate(seeds if test != MEAN_OF_SHIFTS else ()):
                yield ScoreKey(metric, arm, test, seed), measured.one(a, s)
            if _has_mean(test, measured, a):
                yield ScoreKey(metric, arm, test), measured.arm(a, weights)
        every = _compares_any(metric, test, comparison, len(arms))
        for arm, other in _pairs(asked, arms if every else ()):
            if _has_mean(test, measured, at[arm], at[other]):
                yield ScoreKey(metric, arm, test, minus=other), measured.difference(at[arm], at[other], weights)
        yield from _group_rows(metric, test, measured, at, references, comparison.groups, weights, every)


def _group_rows(
    metric: str,
    test: str,
    measured: Measured,
    at: Mapping[str, int],
    references: Mapping[str, str],
    groups: Mapping[str, Sequence[str]],
    weights: np.ndarray,
    every: bool,
) -> Iterator[tuple[ScoreKey, Score]]:
    """The scores of groups and their differences from their references; with `every`, of any two of one size too."""
    differences: dict[tuple[str, str], Score] = {}
    for group, members in groups.items():
        indices = [at[arm] for arm in members]
        if _has_mean(test, measured, *indices):
            yield ScoreKey(metric, group, test), measured.over_arms(indices).arm(0, weights)
        minus = [at[references[arm]] for arm in members]
        if (reference := references[group]) != group and _has_mean(test, measured, *indices, *minus):
            score = measured.over_arms(indices, minus).difference(0, None, weights)
            alone = [name for name, arms in groups.items() if list(arms) == [reference]]  # the arm itself
            differences |= {(group, name): score for name in (reference, *alone)}
    for group, other in _pairs(list(differences), list(groups) if every else ())[len(differences) :]:
        if len(groups[group]) == len(groups[other]):
            indices, minus = ([at[arm] for arm in groups[name]] for name in (group, other))
            differences[group, other] = measured.over_arms(indices, minus).difference(0, None, weights)
    yield from ((ScoreKey(metric, group, test, minus=other), score) for (group, other), score in differences.items())


def _pairs(asked: Sequence[tuple[str, str]], names: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs that are `asked`, each once, and any two of `names` that are not among them."""
    first = dict.fromkeys(asked)
    others = ((name, other) for other, name in combinations(names, 2))
    return [*first, *(pair for pair in others if not {pair, pair[::-1]} & first.keys())]


def _compares_any(metric: str, test: str, comparison: Comparison, arms: int) -> bool:
    """Whether any two arms are compared, and not only those with their references."""
    each = arms <= COMPARED_ON_EACH and test in (comparison.clean, *comparison.shifts)
    return metric == "top1" and (test == MEAN_OF_SHIFTS or each)


def _has_mean(test: str, measured: Measured, *arms: int) -> bool:
    """Whether a mean over shifts says something of `arms`: none does of values that extrapolate a line."""
    return test != MEAN_OF_SHIFTS or not measured.extrapolates(*arms)
