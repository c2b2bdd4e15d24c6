"""Names the keys of a recipe that have no effect because of another key."""

from __future__ import annotations

from genrobust.core import RETRIEVED_BY_SEARCH
from genrobust.recipe.fine_tuning import REPLACED
from genrobust.recipe.generate import count_dropped
from genrobust.recipe.recipe import Recipe


def idle_keys(recipe: Recipe) -> list[str]:
    """Return a sentence for each key that has no effect because of another key."""
    return [*_replaced_by_init(recipe), *_unused_images(recipe), *_empty_filters(recipe)]


def _replaced_by_init(recipe: Recipe) -> list[str]:
    """Name the keys of a network that a pretrained network replaces.

    An arm may inherit such keys from the recipe, which other arms need. So they count only in the section that has
    the key `init`, or in an arm of its own.
    """
    notices = []
    if recipe.train.is_pretrained:
        keys = [key for key in REPLACED if recipe.train.differs(key)]
        if keys:
            notices.append(f"train.init names the network {recipe.train.init}, so {_idle(keys, 'train')}")
    for arm in recipe.arms:
        train = recipe.train_of(arm)
        keys = [key for key in REPLACED if key in arm.train and train.differs(key)]
        if train.is_pretrained and keys:
            idle = _idle(keys, "train")
            notices.append(f"arm {arm.name!r}: train.init names the network {train.init}, so {idle}")
    return notices


def _unused_images(recipe: Recipe) -> list[str]:
    """Name images, and settings of images, that no arm uses."""
    notices = [
        f"data.extra.{name}: no arm mixes these images" for name in recipe.data.extra if name not in recipe.sources()
    ]
    retrieved = recipe.data.retrieved
    if RETRIEVED_BY_SEARCH not in recipe.sources():
        keys = [key for key in ("search", "clip") if getattr(retrieved, key) is not None]
        if keys:
            notices.append(f"no arm mixes {RETRIEVED_BY_SEARCH}, so {_idle(keys, 'data.retrieved')}")
    if recipe.data.packed and not any(recipe.train_of(arm).crop == "random-resized" for arm in recipe.arms):
        notices.append(f"no arm has train.crop: random-resized, so {_idle(['packed'], 'data')}")
    return notices


def _empty_filters(recipe: Recipe) -> list[str]:
    """Name filters whose share of the images of a class is less than one image."""
    notices = []
    for name in recipe.datasets:
        rule = recipe.filter_of(name)
        if rule is None or rule.drop is None:
            continue
        per_class = recipe.generation(name)[1].per_class
        if count_dropped(rule.drop, per_class) == 0:
            share = f"{rule.drop:g} of the {per_class} images of a class is none"
            notices.append(f"datasets.{name}.filter.drop: {share}, so the filter leaves out nothing")
    return notices


def _idle(keys: list[str], section: str) -> str:
    """Say that `keys` of a section have no effect: "train.architecture has no effect"."""
    names = " and ".join(f"{section}.{key}" for key in keys)
    return f"{names} {'have' if len(keys) > 1 else 'has'} no effect"
