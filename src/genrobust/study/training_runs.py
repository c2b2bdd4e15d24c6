"""The runs of a study: the classifiers that it trains, each by itself, for its arms and for its baseline line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from genrobust.core import UserError
from genrobust.recipe import COMBINED, FROM_SCRATCH, ArmConfig, MixturePart, Recipe, TrainConfig, is_recipe

# The study's own architecture is left out, so that no line has one architecture only.
SECOND = ("resnet14t", "resnet10t")
# Further ones, of other kinds; all are small enough for a CPU.
OTHERS: dict[str, dict[str, Any]] = {
    "regnetx_002": {},
    "densenet121": {"growth_rate": 12, "block_config": [3, 6, 12, 8]},
    "mobilenetv3_small_050": {},
    "vit_tiny_patch16_224": {"embed_dim": 128, "depth": 4, "num_heads": 4},
}
PATCHES = 8  # of a transformer, along a side
# Fractions of the real images and of the study's steps: strong models first, then ever weaker ones. The first train for
# longer than the study's arms, since data that help also raise clean accuracy, and beyond the models no line is known.
SPANS = ((1.0, 2.0), (1.0, 1.0), (0.5, 0.5), (0.25, 0.5), (1.0, 0.25), (0.5, 1.0), (0.12, 0.5), (0.25, 1.0))


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One classifier: what it trains on, how, and from which seed. `of` is the arm or the baseline model that it is.

    With an `alpha` below 1, its weights are a mean of the fine-tuned ones, with this weight, and the pretrained ones.
    """

    of: str
    parts: tuple[MixturePart, ...]
    train: TrainConfig
    seed: int
    baseline: bool = False
    alpha: float = 1.0

    def __hash__(self) -> int:
        # The settings hold dictionaries.
        return hash((self.of, self.seed, self.baseline))

    @property
    def name(self) -> str:
        """The name that the user knows it by."""
        mixed = "" if self.alpha == 1 else f", WiSE-FT {self.alpha:g}"
        if self.baseline:
            return f"baseline {self.of}"
        return f"{self.of}{mixed}, seed {self.seed}"

    @property
    def tuned(self) -> TrainingRun:
        """The run that is trained for this one."""
        return replace(self, alpha=1.0)


def run_of(recipe: Recipe, arm: ArmConfig, seed: int) -> TrainingRun:
    train = recipe.train_of(arm)
    alphas = train.wise_ft or ()
    # Mixing weights changes no training.
    settings = train.model_copy(update={"wise_ft": None})
    alpha = alphas[0] if len(alphas) == 1 else 1.0
    return TrainingRun(arm.name, arm.mixture, settings, seed, alpha=alpha)


def arm_runs(recipe: Recipe) -> list[TrainingRun]:
    """Return arms x seeds: all seeds of an arm before the next one."""
    return [run_of(recipe, arm, seed) for arm in recipe.arms for seed in recipe.seeds]


def curve_runs(recipe: Recipe) -> list[TrainingRun]:
    """Return the points of the arms that name several numbers under `wise_ft`, arm by arm and seed by seed."""
    points: list[TrainingRun] = []
    for arm in recipe.arms:
        alphas = recipe.train_of(arm).wise_ft or ()
        if len(alphas) > 1:
            for seed in recipe.seeds:
                run = run_of(recipe, arm, seed)
                points += [replace(run, alpha=alpha) for alpha in alphas]
    return points


def grid(train: TrainConfig, count: int, images: int) -> list[TrainingRun]:
    """Return `count` standard models around the study's own settings, from strong to weak, to span clean accuracies.

    They differ as the models of the robustness testbed do (Taori et al., 2020): in size, training length and amount of
    real data (of `images` in all). Larger grids have other kinds of networks, too. No model sees generated data or more
    than standard augmentation. A longer grid begins with the shorter one.
    """
    second = SECOND[train.architecture == SECOND[0]]
    second_kwargs = train.model_kwargs if train.architecture.startswith("resnet") else {}
    others: list[tuple[str, dict[str, Any]]] = []
    for name, kwargs in OTHERS.items():
        if name.startswith("vit"):
            kwargs = {**kwargs, "patch_size": max(1, train.image_size // PATCHES)}
        if name != train.architecture:
            others.append((name, kwargs))
    first = [(train.architecture, train.model_kwargs), (second, second_kwargs)]
    runs: list[TrainingRun] = []
    for networks, (fraction, length) in product((first, others), SPANS):
        parts = (MixturePart(source="real", fraction=None if fraction == 1 else fraction),)
        steps = max(20, round(train.steps_for(images) * length))
        standard = {
            **FROM_SCRATCH,
            "steps": steps,
            "epochs": None,
            "warmup_steps": min(train.warmup_for(images), steps // 10),
            "warmup_epochs": None,
            "augmentation": "standard",
            "augmentation_share": 1.0,
            **dict.fromkeys(COMBINED, 0.0),
        }
        for architecture, model_kwargs in networks:
            network = {"architecture": architecture, "model_kwargs": model_kwargs}
            settings = train.changed(standard | network, "a baseline")
            name = f"{architecture}, {fraction:g} of real, {steps} steps"
            runs.append(TrainingRun(name, parts, settings, 0, baseline=True))
    # The shortest trainings are equally long.
    runs = list(dict.fromkeys(runs))
    if count > len(runs):
        raise UserError(
            f"robustness.grid: {count} asks for more than the {len(runs)} models that the grid holds; longer trainings "
            "differ in more ways"
        )
    return runs[:count]


def recipe_and_name(spec: str) -> tuple[str, str]:
    """Return the recipe in ``RECIPE`` or ``RECIPE:NAME``, and the name, such as an arm. Missing ones are "".

    Both may hold colons themselves: the longest text that is a recipe counts.
    """
    recipe = spec
    while recipe and not is_recipe(recipe):
        recipe, _, _ = recipe.rpartition(":")
    return recipe, spec[len(recipe) + 1 :] if recipe else ""
