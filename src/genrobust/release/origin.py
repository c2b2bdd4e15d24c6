"""The recipe that a generated dataset came from: it is checked, and goes along with an export."""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.data import StudyData
from genrobust.errors import UserError
from genrobust.generate.pipeline import sampling
from genrobust.prompts.plan import plan_of
from genrobust.recipe import GENERATED, Recipe, load_recipe, recipe_yaml
from genrobust.sources.load import load_data
from genrobust.store import ShardDataset

RECIPE = "recipe.yaml"  # the name of its file in an export


@dataclass(frozen=True, slots=True)
class Found:
    """A recipe with all its values, as `text`, and the name that it gives to the dataset."""

    text: str
    dataset: str


def recipe_of(name_or_path: str, dataset: ShardDataset) -> Found:
    """The recipe called so; raises UserError where none of its datasets is `dataset`, naming what differs."""
    recipe = load_recipe(name_or_path)
    data = load_data(recipe.data)
    differing: dict[str, list[str]] = {}
    for name in [GENERATED, *recipe.datasets]:
        if recipe.generator is None:
            break
        wanted = _asked(recipe, name, data)
        differing[name] = [key for key, value in wanted.items() if dataset.manifest.get(key) != value]
        if not differing[name]:
            return Found(recipe_yaml(recipe), name)
    rows = [f"  {name}: differs in {', '.join(keys)}" for name, keys in differing.items()] or ["  it generates none"]
    what = f"--recipe {name_or_path}: it does not make {dataset.folder}: name the one that it came from"
    raise UserError("\n".join([what, *rows, "values that --set gave are in what genrobust show RECIPE --yaml prints"]))


def _asked(recipe: Recipe, name: str, data: StudyData) -> dict[str, object]:
    """What the manifest of a dataset of `recipe` says of its requests and how they are drawn.

    The generator's weights are left out: one that was fine-tuned may not be at hand.
    """
    generator, generate = recipe.generation(name)
    real = data.train if generate.split == "train" else data.val
    plan = plan_of(generator, generate, data.labels, real, recipe.data_seed)
    return {"plan": plan.fingerprint, "shard_size": generate.shard_size, **sampling(generator)}
