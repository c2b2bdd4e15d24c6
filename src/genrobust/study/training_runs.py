"""The runs of a study: the classifiers that it trains, each by itself, for its arms and for its baseline line."""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.recipe import ArmConfig, MixturePart, Recipe, TrainConfig


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One classifier: what it trains on, how, and from which seed. `of` is the arm or the baseline model that it is."""

    of: str
    parts: tuple[MixturePart, ...]
    train: TrainConfig
    seed: int
    baseline: bool = False

    def __hash__(self) -> int:
        return hash((self.of, self.seed, self.baseline))  # settings hold dictionaries

    @property
    def name(self) -> str:
        """What the user knows it by."""
        return f"baseline {self.of}" if self.baseline else f"{self.of}, seed {self.seed}"


def run_of(recipe: Recipe, arm: ArmConfig, seed: int) -> TrainingRun:
    """Return the run of one arm and seed."""
    return TrainingRun(arm.name, arm.mixture, recipe.train_of(arm), seed)


def arm_runs(recipe: Recipe) -> list[TrainingRun]:
    """Return arms x seeds: all seeds of an arm before the next one."""
    return [run_of(recipe, arm, seed) for arm in recipe.arms for seed in recipe.seeds]
