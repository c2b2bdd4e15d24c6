"""The checks of a recipe across its sections, in their order. Each section checks its own keys."""

from __future__ import annotations

from collections.abc import Callable, Collection

from genrobust.core import (
    EMBEDDED,
    NOT_GENERATED,
    RETRIEVED_BY_SEARCH,
    RETRIEVED_WITHHELD,
    ZERO_SHOT,
    UserError,
    group_reference,
    some_of,
)
from genrobust.recipe.arms import ArmConfig, MixturePart
from genrobust.recipe.evaluate import ClaimConfig
from genrobust.recipe.generate import GENERATED, DatasetConfig, FilterConfig, GenerateConfig, GeneratorConfig
from genrobust.recipe.recipe import Recipe

GENERATOR_KEYS = {"engine", "model"}  # one of them names the generator


def check_recipe(recipe: Recipe, where: str = "recipe") -> None:
    """Run all checks.

    Args:
        where: The start of the error message, such as the name of a file.

    Raises:
        UserError: A check fails. The message names the key.
    """
    for check in CHECKS:
        try:
            check(recipe)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None


def _check_arms(recipe: Recipe) -> None:
    _check_arm_names(recipe)
    _require_arm(recipe, "reference", recipe.reference)
    for arm in recipe.arms:
        _check_arm(recipe, arm)
    _check_sizes(recipe)
    for i, claim in enumerate(recipe.claims):
        _check_claim(recipe, f"claims.{i}", claim)
    _check_answer(recipe)


def _check_arm_names(recipe: Recipe) -> None:
    if not recipe.arms:
        raise ValueError("arms: a study needs one arm or more")
    if not recipe.seeds or len(set(recipe.seeds)) != len(recipe.seeds):
        raise ValueError("seeds: give one or more, each once")
    names = [*recipe.arm_names, *recipe.groups(), ZERO_SHOT]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"arms: {name!r} is the name of two arms, or of an arm and a group: rename one")


def _check_arm(recipe: Recipe, arm: ArmConfig) -> None:
    where = f"arm {arm.name!r}"
    train = recipe.train_of(arm)
    if arm.reference is not None:
        _require_arm(recipe, f"{where}: reference", arm.reference)
    if train.origin_arm is not None:
        _require_arm(recipe, f"{where}: train.init", train.origin_arm)
    if "architecture" in arm.train and recipe.train.model_kwargs and "model_kwargs" not in arm.train:
        raise ValueError(
            f"{where}: train.architecture: the recipe's model_kwargs are those of {recipe.train.architecture}: "
            "give the arm its own, {} for none"
        )
    if train.keep == "best" and recipe.data.holds_out_none:
        raise ValueError(
            f"{where}: train.keep: best chooses a checkpoint on validation images, and data.held_out is 0: set "
            "train.keep: last, or hold some out"
        )


def _check_sizes(recipe: Recipe) -> None:
    """Check that all classifiers are tested at one image size. Accuracies at different sizes do not compare."""
    sizes = {recipe.train_of(arm).image_size for arm in recipe.arms}
    if recipe.robustness.grid or recipe.zero_shot is not None:
        sizes.add(recipe.train.image_size)
    if recipe.evaluate.image_size is None and len(sizes) > 1:
        several = " or ".join(map(str, sorted(sizes)))
        raise ValueError(
            f"evaluate.image_size: images to train on have {several} px, and accuracies compare at one size: set it"
        )


def _check_answer(recipe: Recipe) -> None:
    """Check that the answer compares an arm with another. If the recipe has groups, it compares groups."""
    if recipe.groups():
        noun, references = "group", _group_references(recipe)
    else:
        noun, references = "arm", recipe.references()
    compared = [name for name, reference in references.items() if reference != name]
    if recipe.answer is not None and recipe.answer not in compared:
        known = some_of(compared) or "none"
        raise ValueError(f"answer: {recipe.answer!r} is no {noun} that is compared with another; there are {known}")


def _check_claim(recipe: Recipe, where: str, claim: ClaimConfig) -> None:
    """Check that a claim compares two arms, or a group with the references of its arms."""
    groups = recipe.groups()
    _require_arm(recipe, f"{where}.arm", claim.arm, groups)
    _require_arm(recipe, f"{where}.than", claim.than, groups)
    if not {claim.arm, claim.than} & groups.keys():
        return
    reference = _group_references(recipe).get(claim.arm, claim.arm)
    has_reference = reference != claim.arm
    # A group of one arm, the reference, may also be named.
    is_compared = claim.than == reference or groups.get(claim.than) == [reference]
    if not (has_reference and is_compared):
        raise ValueError(
            f"{where}.than: a claim about a group compares it with the references of its arms, an arm or a group; "
            f"the reference of {claim.arm!r} is {repr(reference) if has_reference else 'none'}"
        )


def _group_references(recipe: Recipe) -> dict[str, str]:
    """Return what each group is compared with. It is the group itself if its arms have no common reference."""
    groups = recipe.groups()
    references = recipe.references()
    return {group: group_reference(group, groups, references) for group in groups}


def _check_datasets(recipe: Recipe) -> None:
    _check_dataset_names(recipe)
    if recipe.datasets and recipe.generator is None:
        raise ValueError("datasets: each changes the recipe's generator, and generator is null")
    for name in recipe.datasets:
        recipe.class_model_of(name)
    for section, key in (("finetune", "finetuned"), ("class_model", "from_scratch")):
        is_used = any(getattr(dataset, key) for dataset in recipe.datasets.values())
        if getattr(recipe, section) is not None and not is_used:
            raise ValueError(f"{section}: it trains nothing: give a dataset {key}: true, or remove the section")
    _check_sources(recipe)


def _check_dataset_names(recipe: Recipe) -> None:
    """Check that no two sources have one name, and that images without labels are not called as a test set."""
    taken = {GENERATED, *NOT_GENERATED}
    _require_free("datasets", recipe.datasets, taken)
    taken |= recipe.datasets.keys()
    _require_free("data.extra", recipe.data.extra, taken)
    taken |= recipe.data.extra.keys() | recipe.data.shifts.keys()
    _require_free("data.unlabeled", recipe.data.unlabeled, taken)


def _require_free(section: str, names: Collection[str], taken: Collection[str]) -> None:
    """Raise ValueError if one of the `names` is taken."""
    clash = {*names} & {*taken}
    if clash:
        raise ValueError(f"{section}: the name {min(clash)} is taken; choose another")


def _check_sources(recipe: Recipe) -> None:
    """Check that the arms mix known sources, and no validation dataset."""
    known = dict.fromkeys([GENERATED, *recipe.not_generated, *recipe.datasets])
    generations = _generations(recipe)
    for arm in recipe.arms:
        for part in arm.mixture:
            source = part.source
            if source not in known:
                raise ValueError(f"arm {arm.name!r}: no source {source!r}; there are {some_of(known)}")
            _check_labels(recipe, arm, part)
            if source in generations and generations[source][1].split == "val":
                raise ValueError(
                    f"arm {arm.name!r} trains on {source!r}, which has split: val and is for evaluation; "
                    "mix a dataset with split: train"
                )


def _check_labels(recipe: Recipe, arm: ArmConfig, part: MixturePart) -> None:
    """Check that an arm predicts the labels of images without labels, and of no others."""
    where = f"arm {arm.name!r}: mixture: {part.source}: labels"
    if part.source in recipe.data.unlabeled:
        if part.labels is None:
            raise ValueError(f"{where}: these images have none: name the arm that predicts them")
        _require_arm(recipe, where, part.labels)
    elif part.labels is not None:
        raise ValueError(f"{where}: these images have labels: remove the key")


def _check_order(recipe: Recipe) -> None:
    """Check that no arm needs itself."""
    for name in recipe.arm_names:
        _all_needed(recipe, name)


def _check_generator(recipe: Recipe) -> None:
    """Check that the recipe names a generator for its images. The default generator draws icons."""
    generator = recipe.generator
    if recipe.data.own_prompts == EMBEDDED or generator is None or GENERATOR_KEYS & generator.model_fields_set:
        return
    for name in recipe.generated_sets():
        dataset = recipe.datasets.get(name, DatasetConfig())
        has_generator = dataset.from_scratch or GENERATOR_KEYS & dataset.generator.keys()
        has_images = name == GENERATED and recipe.data.generated is not None
        if not (has_generator or has_images):
            raise ValueError(f"generator.model: an arm mixes {name!r}, and the default generator draws icons: name one")


def _check_prompts(recipe: Recipe) -> None:
    """Check that each dataset has prompts of its kind: descriptions, instructions, or none.

    A dataset inherits the prompts of the recipe, which are of another kind if their modes differ.
    """
    if recipe.generator is None:
        return
    own_instructs = recipe.generator.reads_instructions
    for name, (generator, generate) in _generations(recipe).items():
        if not generator.reads_text:
            if name in recipe.datasets and recipe.datasets[name].generate.get("prompts"):
                raise ValueError(
                    f"datasets.{name}.generate.prompts: mode {generator.mode} draws without text: leave it out"
                )
            continue
        instructs = generator.reads_instructions
        prompts = generate.prompts
        is_inherited = instructs != own_instructs and prompts == recipe.generate.prompts
        if not (is_inherited or (instructs and prompts.names_a_set)):
            continue
        wanted = "no instructions, which those of the recipe are: name others"
        if instructs:
            wanted = "instructions: list some, such as 'turn this {} into a pencil sketch'"
        where = "" if name == GENERATED else f"datasets.{name}."
        raise ValueError(f"{where}generate.prompts.templates: mode {generator.mode} takes {wanted}")


def _check_withheld(recipe: Recipe) -> None:
    """Check that withheld images are named if an arm mixes them."""
    parts = [part for arm in recipe.arms for part in arm.mixture]
    mixed = any(part.source == RETRIEVED_WITHHELD or part.cells == "withheld" for part in parts)
    if mixed and not recipe.data.retrieved.without.cells:
        raise ValueError("data.retrieved.without: an arm mixes withheld images: name cells to withhold")


def _check_search(recipe: Recipe) -> None:
    """Check that a search has a CLIP, and knows how many images to find."""
    if RETRIEVED_BY_SEARCH not in recipe.sources():
        return
    if recipe.data.search_clip is None:
        raise ValueError(f"data.retrieved.clip: an arm mixes {RETRIEVED_BY_SEARCH}: name the folder of a CLIP")
    if recipe.data.retrieved.per_class is None and not recipe.generated_sets():
        raise ValueError(
            "data.retrieved.per_class: no arm mixes generated images, which would give the number of images to "
            "search for: set it"
        )


def _check_filters(recipe: Recipe) -> None:
    """Check the arms that filter generated images."""
    for name in recipe.datasets:
        rule = recipe.filter_of(name)
        if rule is not None and rule.by == "classifier":
            _check_judge(recipe, f"datasets.{name}.filter.arm", rule)


def _check_judge(recipe: Recipe, where: str, rule: FilterConfig) -> None:
    """Check that the arm of a filter is trained without filtered images."""
    _require_arm(recipe, where, rule.arm)
    for name in _all_needed(recipe, rule.arm):
        if any(recipe.filter_of(part.source) for part in recipe.arm(name).mixture):
            raise ValueError(f"{where}: {name!r} trains on filtered images itself; name another arm")


def _check_baselines(recipe: Recipe) -> None:
    """Check that the baseline line belongs to the classifiers."""
    settings = recipe.robustness
    if settings.grid and recipe.train.is_pretrained:
        raise ValueError(
            "robustness.grid: its models learn from scratch by the settings of train, which are those of a "
            "pretrained network: set grid to 0, or train.init in each arm"
        )
    is_published = recipe.data.has_published_lines and settings.baselines == "shipped" and not settings.grid
    if is_published and settings.transform != "logit":
        raise ValueError(
            f"robustness.transform: the published lines are fitted on logits, not on {settings.transform}: give "
            "robustness.baselines a table, or train your own baselines with robustness.grid"
        )


def _all_needed(recipe: Recipe, name: str, before: tuple[str, ...] = ()) -> list[str]:
    """Return the arm `name` and all arms that are trained before it.

    Raises:
        ValueError: An arm needs itself.
    """
    if name in before:
        circle = [*before[before.index(name) :], name]
        raise ValueError(f"arms: {' < '.join(circle)}: it needs itself first")
    found = [name]
    for needed in _needed_by(recipe, name):
        found += _all_needed(recipe, needed, (*before, name))
    return list(dict.fromkeys(found))


def _needed_by(recipe: Recipe, name: str) -> list[str]:
    """Return the arms that are trained before the arm `name`: the one it starts from, and those that label."""
    arm = recipe.arm(name)
    origin = recipe.train_of(arm).origin_arm
    needed = [] if origin is None else [origin]
    return needed + [part.labels for part in arm.mixture if part.labels is not None]


def _require_arm(recipe: Recipe, where: str, name: str, others: Collection[str] = ()) -> None:
    """Raise ValueError if `name` is neither an arm nor one of the `others`."""
    if name not in recipe.arm_names and name not in others:
        known = f"; the groups are {some_of(others)}" if others else ""
        raise ValueError(f"{where}: {name!r} is no arm; the arms are {some_of(recipe.arm_names)}{known}")


def _generations(recipe: Recipe) -> dict[str, tuple[GeneratorConfig, GenerateConfig]]:
    """Return the generator and generate sections of each dataset. Empty if the recipe has no generator."""
    if recipe.generator is None:
        return {}
    return {name: recipe.generation(name) for name in recipe.dataset_names}


CHECKS: tuple[Callable[[Recipe], None], ...] = (
    _check_arms,
    _check_datasets,
    _check_order,
    _check_generator,
    _check_prompts,
    _check_withheld,
    _check_search,
    _check_filters,
    _check_baselines,
)
