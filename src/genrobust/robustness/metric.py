"""Metrics: what can be measured of a study's predictions. Each is a class in a file of its own in `metrics`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from genrobust.core import Predictions, Registry, UserError, hashed_seed
from genrobust.robustness.answers import Answers
from genrobust.robustness.grouping import Groups
from genrobust.robustness.resampling import ANY, Measured, image_counts, measure_accuracy, over_groups
from genrobust.robustness.sets import AnsweredSet, StudyAnswers, answer_sets

EXPLAINED = 0.5  # the share of the baselines' variance that a line must explain for a mean over shifts to include it


class Metric(ABC):
    """A metric: how it is measured, and how it is shown.

    Attributes:
        title: Its name in tables ("Top-1 accuracy").
        note: How it is computed, in a sentence, with the paper where there is one.
        unit: "%", "points" or another, shown beside the title.
        higher_is_better: Whether the highest value of a column is the best, or the lowest.
        signed: Whether values have a sign, as differences do.
        digits: Decimals that are shown.
        needs_lines: Whether it is measured against baseline lines, on the shifts that have one.
        section: The place of a main metric, which has sections of its own in the report; None for the others, which
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
        return f"{self.title}, {'percent' if self.unit == '%' else self.unit}"

    @abstractmethod
    def measure(self, study: StudyAnswers) -> dict[str, Measured]:
        """Measure the metric, by test set, on those that have what it needs."""


class ImageMetric(Metric):
    """A metric computed from the predictions for a test set's images, with a bootstrap over the images.

    Attributes:
        adapted: Whether it is of the predictions that classifiers make once they are adapted to the test set.
        bounds: The lowest and the highest possible value.
        over_groups: Whether groups of images are resampled, where they are known; else single images always are.
    """

    adapted: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = ANY
    over_groups: ClassVar[bool] = True

    @abstractmethod
    def of_images(self, answers: Answers) -> np.ndarray:
        """Compute what `combine` needs of each image: [N], or [N, P] for P values."""

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        """Combine the values of images into the metric, by default as their mean.

        Args:
            values: What `of_images` computed for T checkpoints: [T, N] or [T, N, P].
            images: The test set, with the label of each image.
            weights: How often each image counts in each of B resamples: float32 [B, N].

        Returns:
            The metric of each resample and checkpoint: [B, T].
        """
        return weights @ values.T / weights.sum(axis=1, keepdims=True)

    def gap(self, images: AnsweredSet) -> str:
        """Return why the metric means nothing on a test set; "" if it is meaningful."""
        return ""

    def measure(self, study: StudyAnswers) -> dict[str, Measured]:
        measured = {}
        for name, images in study.sets.items():
            if self.name not in images.values:
                continue
            if not (reason := self.gap(images)):
                main = self.section is not None and name in study.paired
                rng = study.rng if main else np.random.default_rng(hashed_seed("images", name))
                found = self.resample(images.values[self.name], images, study.bootstrap, rng)
                if np.isfinite(found.point).all():
                    measured[name] = found
                    continue
                reason = "it is infinite: some classifier gives no probability at all to the label of an image"
            study.gaps.setdefault(self.name, {})[name] = reason
        return measured

    def value(
        self, predictions: Predictions, groups: Sequence[str] | None = None, pictures: Sequence[str] | None = None
    ) -> float:
        """Compute the metric of one checkpoint on one test set; NaN where it means nothing there.

        `groups` and `pictures` are those of its images, as in `ImageSet`.

        Raises:
            GenrobustError: A logit is NaN, or the highest of an image infinite.
            UserError: The parts of `predictions` do not fit each other.
        """
        test = predictions.test_set
        images = answer_sets({("", 0, test): predictions}, [test], {self.name: self.of_images})[0][test]
        images = replace(images, groups=Groups.of(groups, images.members), pictures=Groups.of(pictures, images.members))
        if self.gap(images):
            return float("nan")
        return float(self.resample(images.values[self.name], images, 1, np.random.default_rng(0)).point[0, 0])

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        """Measure the metric from `values`, [A, S, N] or [A, S, N, P], with replicates over the images or groups.

        Replicates are centered on the value itself: resampling adds to the bias of a metric that is no mean, such as
        the lowest of several accuracies.
        """
        arms, seeds, n = values.shape[:3]
        pictures, groups = images.pictures, images.groups if self.over_groups else None
        by_checkpoint = values.reshape(arms * seeds, *values.shape[2:])
        point = self.combine(by_checkpoint, images, np.ones((1, n), dtype=np.float32))[0].astype(float)

        def drawn(rng: np.random.Generator, units: Groups | None = pictures) -> np.ndarray:
            if not np.isfinite(point).all():
                return np.zeros((bootstrap, arms, seeds))
            weighed = image_counts(n, bootstrap, rng, units)
            draws = np.concatenate([self.combine(by_checkpoint, images, weights) for weights in weighed]).astype(float)
            draws += point - np.nanmean(draws, axis=0)
            return draws.reshape(bootstrap, arms, seeds)

        measured = Measured(
            point=point.reshape(arms, seeds),
            draws=drawn(rng, groups or pictures),
            n=n,
            classes=len(images.classes),
            over="images" if pictures is None else f"{len(pictures.names)} pictures",
            bounds=self.bounds,
        )
        return measured if groups is None else over_groups(measured, groups, drawn)


class Proportion(ImageMetric):
    """The share of images for which `of_images`, bool [N], holds, in percent; exact intervals for one checkpoint."""

    bounds = (0, 100)

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        return measure_accuracy(values, len(images.classes), bootstrap, rng, images.groups, images.pictures)


METRICS: Registry[type[Metric]] = Registry("metric", "genrobust.metrics", "genrobust.robustness.metrics")


def list_metrics() -> list[Metric]:
    """Return every metric: the main ones in their order, then the others, those where higher is better first."""
    metrics = [METRICS.get(name)(name) for name in METRICS.names()]
    return sorted(metrics, key=lambda f: (f.section is None, f.section or 0, not f.higher_is_better))


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
