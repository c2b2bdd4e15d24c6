"""Metrics: how each is measured and shown. A metric is a class in its own file in `metrics`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from genrobust.core import Predictions, Registry, UserError, hashed_seed
from genrobust.robustness.answers import Answers
from genrobust.robustness.image_groups import Groups
from genrobust.robustness.measured import ANY, Measured, measure_accuracy, spread_over_groups
from genrobust.robustness.resampling import image_counts
from genrobust.robustness.study_answers import AnsweredSet, StudyAnswers, answer_sets

# A mean over shifts includes a shift if its line explains at least this share of the baselines' variance.
EXPLAINED = 0.5


class Metric(ABC):
    """A metric: how it is measured, and how it is shown.

    Attributes:
        title: Its name in tables ("Top-1 accuracy").
        note: How it is computed, in a sentence, with the paper if there is one.
        unit: "%", "points" or another, shown after the title.
        higher_is_better: Whether the highest value of a column is the best one, or the lowest.
        signed: Whether values have a sign, as differences do.
        digits: Decimals that are shown.
        needs_lines: Whether it is measured against baseline lines, on the shifts that have one.
        section: The rank of a main metric, which has its own sections in the report. None for the others, which
            share a table. Main metrics are measured first, in this order.
    """

    title: ClassVar[str]
    note: ClassVar[str]
    unit: ClassVar[str] = "%"
    higher_is_better: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    digits: ClassVar[int] = 1
    needs_lines: ClassVar[bool] = False
    section: ClassVar[int | None] = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percents differ by points."""
        return "points" if self.unit == "%" else self.unit

    @property
    def caption(self) -> str:
        """Its title with its unit."""
        unit = "percent" if self.unit == "%" else self.unit
        return f"{self.title}, {unit}"

    @abstractmethod
    def measure(self, study: StudyAnswers) -> dict[str, Measured]:
        """Measure the metric on the test sets that have what it needs. Returns it by test set."""


class ImageMetric(Metric):
    """A metric computed from the predictions for a test set's images, with a bootstrap over the images.

    Attributes:
        adapted: Whether it is measured on the predictions of classifiers that were adapted to the test set.
        bounds: The lowest and the highest possible value.
        over_groups: Whether groups of images are resampled if they are known. If not, images always are.
    """

    adapted: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = ANY
    over_groups: ClassVar[bool] = True

    @abstractmethod
    def of_images(self, answers: Answers) -> np.ndarray:
        """Compute the values of each image that `combine` needs: [N], or [N, P] for P values."""

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        """Combine the values of images into the metric, by default as their mean.

        Args:
            values: The result of `of_images` for T checkpoints: [T, N] or [T, N, P].
            images: The test set, with the label of each image.
            weights: How often each image counts in each of B resamples: float32 [B, N].

        Returns:
            The metric of each resample and checkpoint: [B, T].
        """
        return weights @ values.T / weights.sum(axis=1, keepdims=True)

    def gap(self, images: AnsweredSet) -> str:
        """Return why the metric is meaningless on a test set; "" if it is meaningful."""
        return ""

    def measure(self, study: StudyAnswers) -> dict[str, Measured]:
        measured = {}
        for name, images in study.sets.items():
            if self.name not in images.values:
                continue
            reason = self.gap(images)
            if not reason:
                is_main = self.section is not None and name in study.paired
                if is_main:
                    rng = study.rng
                else:
                    rng = np.random.default_rng(hashed_seed("images", name))
                resampled = self.resample(images.values[self.name], images, study.bootstrap, rng)
                if np.isfinite(resampled.point).all():
                    measured[name] = resampled
                    continue
                reason = "it is infinite: some classifier gives no probability at all to the label of an image"
            study.gaps.setdefault(self.name, {})[name] = reason
        return measured

    def value(
        self, predictions: Predictions, groups: Sequence[str] | None = None, pictures: Sequence[str] | None = None
    ) -> float:
        """Compute the metric of one checkpoint on one test set. NaN if it is meaningless there.

        Args:
            groups: The group of each image, as in `ImageSet`.
            pictures: The picture that each image was made from, as in `ImageSet`.

        Raises:
            GenrobustError: A logit is NaN, or the highest of an image infinite.
            UserError: The fields of `predictions` do not fit each other.
        """
        test = predictions.test_set
        sets, _ = answer_sets({("", 0, test): predictions}, [test], {self.name: self.of_images})
        images = sets[test]
        images = replace(
            images,
            groups=Groups.of(groups, images.members),
            pictures=Groups.of(pictures, images.members),
        )
        if self.gap(images):
            return float("nan")
        measured = self.resample(images.values[self.name], images, 1, np.random.default_rng(0))
        return float(measured.point[0, 0])

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        """Measure the metric with replicates over the images or groups.

        Replicates are centered on the value itself: resampling adds to the bias of a metric that is no mean, such as
        the lowest of several accuracies.

        Args:
            values: [A, S, N] or [A, S, N, P].
        """
        arms, seeds, n = values.shape[:3]
        by_checkpoint = values.reshape(arms * seeds, *values.shape[2:])
        unweighted = np.ones((1, n), dtype=np.float32)
        point = self.combine(by_checkpoint, images, unweighted)[0].astype(float)

        def draw(rng: np.random.Generator, units: Groups | None) -> np.ndarray:
            if not np.isfinite(point).all():
                return np.zeros((bootstrap, arms, seeds))
            blocks = [
                self.combine(by_checkpoint, images, weights) for weights in image_counts(n, bootstrap, rng, units)
            ]
            draws = np.concatenate(blocks).astype(float)
            draws += point - np.nanmean(draws, axis=0)
            return draws.reshape(bootstrap, arms, seeds)

        pictures = images.pictures
        groups = images.groups if self.over_groups else None
        measured = Measured(
            point=point.reshape(arms, seeds),
            draws=draw(rng, groups or pictures),
            n=n,
            classes=len(images.classes),
            over="images" if pictures is None else f"{len(pictures.names)} pictures",
            bounds=self.bounds,
        )
        if groups is None:
            return measured
        return spread_over_groups(measured, groups, partial(draw, units=pictures))


class Proportion(ImageMetric):
    """The percentage of images for which `of_images`, bool [N], is true. The interval of a checkpoint is exact."""

    bounds = (0, 100)

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        return measure_accuracy(values, len(images.classes), bootstrap, rng, images.groups, images.pictures)


METRICS: Registry[type[Metric]] = Registry("metric", "genrobust.metrics", "genrobust.robustness.metrics")


def list_metrics() -> list[Metric]:
    """Return every metric: the main ones in their order, then those for which higher is better, then the others."""
    metrics = [metric(name) for name, metric in METRICS.members().items()]

    def rank(metric: Metric) -> tuple[bool, int, bool]:
        return metric.section is None, metric.section or 0, not metric.higher_is_better

    return sorted(metrics, key=rank)


def find_metric(name: str) -> Metric:
    """Return the metric `name`.

    Raises:
        UserError: There is no such metric; the message lists the known ones.
    """
    return METRICS.get(name)(name)


def image_metric(name: str) -> ImageMetric:
    """Return the metric `name`, which is computed from the predictions of one checkpoint.

    Raises:
        UserError: There is no such metric, or it needs the predictions of a study.
    """
    metric = find_metric(name)
    if not isinstance(metric, ImageMetric) or metric.adapted:
        raise UserError(f"metric {name}: it is computed from a whole study: the report shows it")
    return metric
