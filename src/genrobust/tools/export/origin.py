"""The search for a generated dataset among those of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genrobust.classifiers import with_dtype
from genrobust.core import FLOAT32, UserError
from genrobust.data import read_about
from genrobust.recipe import GENERATED, Recipe, load_recipe, recipe_yaml
from genrobust.study import GeneratedDataset, Study
from genrobust.tools.export.parts import Origin


def origin_of(folder: Path, name_or_path: str, load: Callable[[str], Recipe] = load_recipe) -> Origin:
    """Find the generated dataset in `folder` among those of the recipe called `name_or_path`, which `load` loads.

    Raises:
        UserError: None of them is that one; the message names the keys that differ.
    """
    about = read_about(folder)
    recipe = with_dtype(load(name_or_path), about.get("dtype", FLOAT32))  # what auto was, where it was made
    recipe_here = recipe.model_copy(update={"device": "cpu", "track": ()})  # what made it may not be on this machine
    study = Study(recipe_here, folder.parent.parent)  # where a study has its datasets; nothing is made there
    rows = []
    for name in [GENERATED, *recipe.datasets] if recipe.generator is not None else []:
        dataset = study.dataset(name)
        if dataset.user_provided:
            continue
        differing = _differing_keys(dataset, about)
        if not differing:
            return Origin(recipe_yaml(recipe), name)
        rows.append(f"{name} differs in {', '.join(differing)}")
    problem = f"--recipe {name_or_path}: it does not make {folder}: name the one that it came from"
    hint = "values that --set gave when it was generated, --set gives here too"
    raise UserError("\n".join([problem, f"  {'; '.join(rows) or 'it generates none'}", f"  {hint}"]))


def _differing_keys(dataset: GeneratedDataset, about: Mapping[str, Any]) -> list[str]:
    """The keys in which a dataset of a recipe is not what `about` says.

    Of weights the name alone is compared: they need not be here. One that the study trains itself has a name that
    says all that it depends on.
    """
    generator = dataset.drawn_with
    asked = {"plan": dataset.plan.fingerprint, **generator.sampling()}
    asked |= dataset.generate.model_dump(include={"shard_size"})
    differing = [key for key, value in asked.items() if about.get(key) != value]
    for key, places in generator.names.items():
        names: list[str | None] = [name for place in places for name in (place, Path(place).name)]
        differing += [key] if about.get(key) not in (names or [None]) else []
    return differing
