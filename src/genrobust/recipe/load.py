"""Recipes: one YAML file a study, read into typed sections; an unknown key is refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from genrobust.core import NOT_GENERATED, ZERO_SHOT, UserError
from genrobust.recipe.asked import ClaimConfig, QualityConfig
from genrobust.recipe.classify import ArmConfig, EvaluateConfig, RobustnessConfig, TrainConfig, ZeroShotConfig
from genrobust.recipe.data import DataConfig
from genrobust.recipe.diffusion import ClassModelConfig, FinetuneConfig
from genrobust.recipe.execute import ExecuteConfig
from genrobust.recipe.generate import UNUSED_BY_MODE, DatasetConfig, FilterConfig, GenerateConfig, GeneratorConfig
from genrobust.recipe.section import Positive, Section
from genrobust.recipe.sweep import expand

GENERATED = "generated"  # the name of the dataset that a recipe's own generator and generate sections make
READ_FIRST = ("quick", "sweep")  # keys of a recipe file that are no fields of a Recipe
Checked = TypeVar("Checked", bound=Section)


class Recipe(Section):
    """A study: arms x seeds over one data source, one generator and one training setting.

    A recipe file may hold two keys more: `quick`, a mapping of dotted keys to values that ``--quick`` sets, and
    `sweep`, from which further arms and datasets are made (see `sweep.py`) after ``--quick`` and ``--set``.

    `track` names what shows the curves of the trainings as they run, and then scores and pictures: TensorBoard, from
    files beside the report, or Weights & Biases, which sends them to its server unless its own settings say offline.
    """

    name: str
    title: str = ""
    question: str = ""
    data_seed: int = 0
    seeds: tuple[int, ...] = (0,)
    device: str = "auto"
    threads: Positive = 2  # CPU threads; part of the recipe, because sums in another order round differently
    data: DataConfig = DataConfig()
    generator: GeneratorConfig | None = GeneratorConfig()
    generate: GenerateConfig = GenerateConfig()
    datasets: dict[str, DatasetConfig] = Field(default_factory=dict)
    finetune: FinetuneConfig | None = None
    class_model: ClassModelConfig | None = None
    train: TrainConfig = TrainConfig()
    arms: tuple[ArmConfig, ...]
    reference: str = "real"
    zero_shot: ZeroShotConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    quality: QualityConfig | None = None
    claims: tuple[ClaimConfig, ...] = ()
    track: tuple[Literal["tensorboard", "wandb"], ...] = ()
    execute: ExecuteConfig = ExecuteConfig()

    @model_validator(mode="after")
    def _arms_fit(self) -> Recipe:
        names = [a.name for a in self.arms]
        if not names:
            raise ValueError("a study needs one arm or more under arms")
        if len(set(names)) != len(names):
            raise ValueError("two arms share a name")
        if ZERO_SHOT in names:
            raise ValueError(f"arms: the name {ZERO_SHOT!r} is taken by what zero_shot adds; give this arm another")
        if self.reference not in names:
            raise ValueError(f"reference: {self.reference!r} is no arm; the arms are {', '.join(names)}")
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ValueError("seeds: give one or more, each once")
        for arm in self.arms:
            weighted = all(part.weight is not None for part in arm.mixture)
            if why := self.train_of(arm).unsplittable([part.source for part in arm.mixture], weighted):
                raise ValueError(f"arm {arm.name!r}: {why}")
        for i, claim in enumerate(self.claims):
            self._require_comparison(f"claims.{i}", claim, names)
        return self

    def _require_comparison(self, where: str, claim: ClaimConfig, names: Sequence[str]) -> None:
        """A claim is about two arms, or about a group and what its arms are compared with."""
        groups = self.groups()
        for key, name in (("arm", claim.arm), ("than", claim.than)):
            if name not in names and name not in groups:
                known = f"; the groups are {', '.join(groups)}" if groups else ""
                raise ValueError(f"{where}.{key}: {name!r} is no arm; the arms are {', '.join(names)}{known}")
        if not {claim.arm, claim.than} & groups.keys():
            return
        compared = {self.references()[arm] for arm in groups.get(claim.arm, ())}
        if compared != set(groups.get(claim.than, (claim.than,))):
            raise ValueError(
                f"{where}: a claim about a group names under than what the references of the group's arms are, a group "
                f"or an arm; those of {claim.arm!r} are {', '.join(sorted(compared)) or 'none'}"
            )

    @model_validator(mode="after")
    def _references_fit(self) -> Recipe:
        names = [arm.name for arm in self.arms]
        if both := self.groups().keys() & names:
            raise ValueError(f"{min(both)!r} is the name of an arm and of a group: rename one")
        for arm in self.arms:
            if arm.reference is not None and arm.reference not in names:
                known = f"the arms are {', '.join(names)}"
                raise ValueError(f"arm {arm.name!r}: reference: {arm.reference!r} is no arm; {known}")
        return self

    @model_validator(mode="after")
    def _datasets_fit(self) -> Recipe:
        reserved = {GENERATED, *NOT_GENERATED}
        for section, names, taken in (
            ("datasets", self.datasets.keys(), reserved),
            ("data.extra", self.data.extra.keys(), reserved | self.datasets.keys()),
        ):
            if clash := names & taken:
                raise ValueError(f"{section}: the name {min(clash)} is taken; give this one another")
        if self.datasets and self.generator is None:
            raise ValueError("datasets: each changes the recipe's generator, and there is none")
        for name in self.datasets:
            self.generation(name)
        known = [GENERATED, *self.not_generated, *self.datasets]
        for arm in self.arms:
            for part in arm.mixture:
                if part.source not in known:
                    raise ValueError(f"arm {arm.name!r}: no source {part.source!r}; there are {', '.join(known)}")
                if part.source not in self.not_generated and self._is_val(part.source):
                    raise ValueError(
                        f"arm {arm.name!r} trains on {part.source!r}, which is generated with split: val, to be scored "
                        "on; mix one of split: train"
                    )
        return self

    @model_validator(mode="after")
    def _filters_fit(self) -> Recipe:
        for name in self.datasets:
            rule = self.filter_of(name)
            if rule is None or rule.by != "classifier":
                continue
            where = f"datasets.{name}.filter.arm"
            if rule.arm not in [arm.name for arm in self.arms]:
                raise ValueError(f"{where}: no arm {rule.arm!r}; the arms are {', '.join(a.name for a in self.arms)}")
            if any(self.filter_of(part.source) for part in self.arm(rule.arm).mixture):
                raise ValueError(f"{where}: {rule.arm!r} learns from filtered images itself; name another arm")
        return self

    @model_validator(mode="after")
    def _baselines_fit(self) -> Recipe:
        settings, source = self.robustness, self.data.source
        if settings.baselines in ("pictograms", "imagenet") and settings.baselines != source:
            raise ValueError(f"robustness.baselines: those of {settings.baselines} say nothing about source: {source}")
        published = source == "imagenet" and settings.baselines in ("shipped", "imagenet") and not settings.grid
        if published and settings.transform != "logit":
            raise ValueError(
                f"robustness.transform: the published lines are of the logit, not {settings.transform}: give "
                "robustness.baselines a table, or train your own with robustness.grid"
            )
        return self

    def _is_val(self, source: str) -> bool:
        return self.generator is not None and self.generation(source)[1].split == "val"

    def arm(self, name: str) -> ArmConfig:
        """The arm called `name`, which must be there."""
        return next(arm for arm in self.arms if arm.name == name)

    def filter_of(self, source: str) -> FilterConfig | None:
        """What is left out of the images that arms mix under the name `source`; None where nothing is."""
        return self.datasets[source].filter if source in self.datasets else None

    def generation(self, dataset: str) -> tuple[GeneratorConfig, GenerateConfig]:
        """The generator and the generate section of a dataset: the recipe's own, with what `datasets` overrides.

        What is drawn from scratch or fine-tuned has the base generator's `model` here.
        """
        if self.generator is None:
            raise UserError(f"{dataset} needs a generator, and the recipe has none: name one under generator.model")
        if dataset == GENERATED:
            return self.generator, self.generate
        other = self.datasets[dataset]
        where = f"datasets.{dataset}"
        own = {**other.generator, "mode": "class"} if other.from_scratch else other.generator
        unused = UNUSED_BY_MODE.get(str(own.get("mode", self.generator.mode)), ())
        inherited = self.generator.model_dump(exclude=set(unused))
        return (
            _checked(GeneratorConfig, merged(inherited, own), f"{where}.generator"),
            _checked(GenerateConfig, merged(self.generate.model_dump(), other.generate), f"{where}.generate"),
        )

    def train_of(self, arm: ArmConfig) -> TrainConfig:
        """The training section of `arm`: the study's with the arm's overrides, `epochs` in place of `steps` or back."""
        lengths = {"steps", "epochs"}
        inherited = self.train.model_dump(exclude=lengths if lengths & arm.train.keys() else None)
        return _checked(TrainConfig, {**inherited, **arm.train}, f"the train section of arm {arm.name!r}")

    @property
    def not_generated(self) -> tuple[str, ...]:
        """The sources that are no generated dataset, whether arms mix them or not."""
        return (*NOT_GENERATED, *self.data.extra)

    def groups(self) -> dict[str, list[str]]:
        """The arms of each group, both in the recipe's order; none where no arm has one."""
        found: dict[str, list[str]] = {}
        for arm in self.arms:
            if arm.group is not None:
                found.setdefault(arm.group, []).append(arm.name)
        return found

    def references(self) -> dict[str, str]:
        """What each arm is compared with: its own reference, or the recipe's."""
        return {arm.name: arm.reference or self.reference for arm in self.arms}

    def sources(self) -> set[str]:
        """Which sources the arms mix; see `MixturePart`."""
        return {p.source for a in self.arms for p in a.mixture}

    def generated_sets(self) -> list[str]:
        """The generated datasets that the arms mix, in the recipe's order; "generated" is the recipe's own."""
        return [name for name in (GENERATED, *self.datasets) if name in self.sources()]

    def unmixed_sets(self) -> list[str]:
        """The datasets that could be generated and that no arm mixes."""
        own = [] if self.generator is None or self.data.generated is not None else [GENERATED]
        return [name for name in (*own, *self.datasets) if name not in self.sources()]


def merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `other`; mappings that both hold are merged in turn."""
    both = {k: merged(base[k], v) for k, v in other.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **other, **both}


def recipe_names() -> list[str]:
    """The names of the installed recipes, sorted."""
    folder = resources.files("genrobust.recipe") / "builtin"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def is_recipe(word: str) -> bool:
    """Whether `word` names a recipe: an installed one, before a folder of the same name (``./name``), or a file."""
    return word in recipe_names() or (Path(word).suffix in (".yaml", ".yml") and not Path(word).is_dir())


def recipe_text(name_or_path: str) -> str:
    """The YAML text of an installed recipe, by name, or of a recipe file, by path."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"cannot read the recipe {path}: {why}") from error
    if name_or_path not in recipe_names():
        near = difflib.get_close_matches(name_or_path, recipe_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(recipe_names())
        raise UserError(f"no recipe {name_or_path!r}{hint} Installed: {known}. A file's name ends in .yaml")
    return (resources.files("genrobust.recipe") / "builtin" / f"{name_or_path}.yaml").read_text(encoding="utf-8")


def load_recipe(name_or_path: str, overrides: Iterable[str] = (), quick: bool = False) -> Recipe:
    """Read a recipe by name or path and apply ``key.sub=value`` overrides, in order.

    `quick` first applies the recipe's own `quick` section; a recipe without one is refused.

    Raises UserError that names the file and the key: unreadable YAML, an unknown key, a value out of range.
    """
    text = recipe_text(name_or_path)
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name_or_path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{name_or_path}: a recipe is a mapping of keys; this is {type(raw).__name__}")
    short = raw.pop("quick", None) or {}
    if quick and not short:
        raise UserError(f"{name_or_path} has no quick section: run it without --quick, or shorten it with --set")
    if quick:
        raw["name"] = f"{raw.get('name', 'study')}-quick"
        for key, value in short.items():
            _apply(raw, key, value)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise UserError(f"--set {override}: write key=value, such as --set train.steps=200")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {override}: the value is not valid YAML: {error}") from error
        _apply(raw, key, value)
    return parse_recipe(raw, where=name_or_path)


def recipe_yaml(recipe: Recipe) -> str:
    """All values of `recipe`, as a recipe's file that says the same."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def parse_recipe(raw: dict[str, Any], where: str = "recipe") -> Recipe:
    """Expand the sweeps of a mapping, check it and return the Recipe.

    Raises UserError with one line for each thing wrong, and what `sweep.expand` raises.
    """
    try:
        return Recipe.model_validate(expand(raw, where))
    except ValidationError as error:
        raise UserError("\n".join(_explain(where, dict(e)) for e in error.errors())) from None


def _apply(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` of a raw recipe; a number in it is a place in a list."""
    *parents, last = key.split(".")
    node: Any = raw
    for part in parents:
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        else:
            raise UserError(f"{key}: {part!r} is no section of the recipe")
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"{key}: {last!r} is no key here")


def _checked(section: type[Checked], values: dict[str, Any], where: str) -> Checked:
    """`values` as a `section`; raises ValueError with what is wrong in one line."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(where, dict(e), section) for e in error.errors())) from None


def _explain(where: str, error: dict[str, Any], root: type[Section] | None = None) -> str:
    path = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        model: Any = root or Recipe
        for part in error["loc"][:-1]:
            model = _child(model, part)
        known = [*getattr(model, "model_fields", {}), *(READ_FIRST if model is Recipe else ())]
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key {path}; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    got = "" if error["type"] in {"missing", "value_error"} else f" (got {error['input']!r})"
    return f"{where}: {path + ': ' if path else ''}{message[:1].lower() + message[1:]}{got}"


def _child(model: Any, part: str | int) -> Any:
    if isinstance(part, int) or not hasattr(model, "model_fields"):
        return model
    field = model.model_fields.get(part)
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return model
