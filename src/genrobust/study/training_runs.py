"""The runs of a study: the classifiers that it trains, each by itself, for its arms and for its baseline line."""

from __future__ import annotations

from dataclasses import dataclass, replace

from genrobust.recipe import ArmConfig, MixturePart, Recipe, TrainConfig, is_recipe


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One classifier: what it trains on, how, and from which seed. `of` is the arm or the baseline model that it is.

    With an `alpha` below 1 its weights lie so far on the way from the pretrained network to the fine-tuned one.
    """

    of: str
    parts: tuple[MixturePart, ...]
    train: TrainConfig
    seed: int
    baseline: bool = False
    alpha: float = 1.0

    def __hash__(self) -> int:
        return hash((self.of, self.seed, self.baseline))  # settings hold dictionaries

    @property
    def name(self) -> str:
        """The name that the user knows it by."""
        mixed = "" if self.alpha == 1 else f", WiSE-FT {self.alpha:g}"
        return f"baseline {self.of}" if self.baseline else f"{self.of}{mixed}, seed {self.seed}"

    @property
    def tuned(self) -> TrainingRun:
        """The run that is trained for this one."""
        return replace(self, alpha=1.0)


def run_of(recipe: Recipe, arm: ArmConfig, seed: int) -> TrainingRun:
    """Return the run of one arm and seed."""
    train = recipe.train_of(arm)
    alphas = train.wise_ft or ()
    settings = train.model_copy(update={"wise_ft": None})  # it decides no training
    return TrainingRun(arm.name, arm.mixture, settings, seed, alpha=alphas[0] if len(alphas) == 1 else 1.0)


def arm_runs(recipe: Recipe) -> list[TrainingRun]:
    """Return arms x seeds: all seeds of an arm before the next one."""
    return [run_of(recipe, arm, seed) for arm in recipe.arms for seed in recipe.seeds]


def curve_runs(recipe: Recipe) -> list[TrainingRun]:
    """Return the points of the arms that name several numbers under `wise_ft`, arm by arm and seed by seed."""
    curves = [(arm, recipe.train_of(arm).wise_ft or ()) for arm in recipe.arms]
    return [
        replace(run_of(recipe, arm, seed), alpha=alpha)
        for arm, alphas in curves
        if len(alphas) > 1
        for seed in recipe.seeds
        for alpha in alphas
    ]


def recipe_and_name(spec: str) -> tuple[str, str]:
    """Return the recipe in ``RECIPE`` or ``RECIPE:NAME``, and the name of what is meant of it, such as an arm.

    "" is for what is not there. Both may hold colons themselves: the longest text that is a recipe counts.
    """
    ends = [len(spec), *(place for place in range(len(spec) - 1, -1, -1) if spec[place] == ":")]
    recipe_end = next((end for end in ends if is_recipe(spec[:end])), None)
    return ("", "") if recipe_end is None else (spec[:recipe_end], spec[recipe_end + 1 :])
