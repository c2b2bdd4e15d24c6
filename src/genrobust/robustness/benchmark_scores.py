"""The figures of a benchmark: accuracy on a generated and a real set, the drop between them, and the hardest images.

A drop over all images is one of style, too, where a set has styles that the other lacks or has less of. So drops are
measured within the styles of both sets as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.core import Score


@dataclass(frozen=True, slots=True)
class OnBothSets:
    """Accuracy in percent on both sets over the same classes, and the `drop`: real minus generated, in points."""

    generated: Score
    real: Score
    drop: Score


@dataclass(frozen=True, slots=True)
class Compared:
    """How a model did on both sets, as the mean over its checkpoints; `each` is a checkpoint alone.

    `beyond` is its drop minus that of the first model, None for that one.
    """

    scores: OnBothSets
    each: tuple[OnBothSets, ...]
    beyond: Score | None


@dataclass(frozen=True, slots=True)
class StyleScores:
    """Accuracy in percent on the images of one style, None for a set without any, and the drop where both have some."""

    generated: Score | None
    real: Score | None
    drop: Score | None


@dataclass(frozen=True, slots=True)
class ModelScores(Compared):
    """The scores of one model: first of all, how it did over all images.

    `classes` are the accuracies in percent on both sets by label, `styles` the scores by style, where it is known.
    `within` is how it did within the styles of both sets: every figure is the mean over these styles, each with the
    same weight. None where the sets have no style in common.
    """

    name: str
    classes: tuple[tuple[float, float], ...]
    styles: dict[str, StyleScores]
    within: Compared | None

    @property
    def leading(self) -> Compared:
        """The comparison within styles, or over all images where there is none."""
        return self.within or self


@dataclass(frozen=True, slots=True)
class HardImage:
    """A generated image that most models get wrong: `wrong` is the share of them, each weighing the same.

    `said` holds the label that each checkpoint of each model gave.
    """

    index: int
    key: str
    label: int
    wrong: float
    said: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything measured, over K classes.

    `sizes` are the numbers of images by label in the generated and the real set, `styles` those by style, "" where it
    is unknown.
    """

    models: tuple[ModelScores, ...]
    sizes: tuple[tuple[int, int], ...]
    styles: dict[str, tuple[int, int]]
    hardest: tuple[HardImage, ...]

    @property
    def shared(self) -> list[str]:
        """The styles of both sets."""
        return [style for style, sizes in self.styles.items() if style and all(sizes)]
