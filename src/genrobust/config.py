"""Recipes: one YAML file a study, read into typed sections; an unknown key is refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from genrobust.errors import UserError

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a recipe. Frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Where the real images come from.

    `source: pictograms` is the embedded benchmark and needs no other key. `source: folders` reads image folders: one
    subfolder a class in `train`, `val` (None: a tenth of train is held back), `test` (the unshifted test set) and each
    of `shifts`. `class_names` maps a folder's name to the name shown and prompted; `same_class` maps a folder name of a
    shifted set to the training folder it means.
    """

    source: Literal["pictograms", "folders"] = "pictograms"
    train: Path | None = None
    val: Path | None = None
    test: Path | None = None
    shifts: dict[str, Path] = {}
    generated: Path | None = None
    retrieved: Path | None = None
    class_names: dict[str, str] = {}
    same_class: dict[str, str] = {}

    @model_validator(mode="after")
    def _folders_are_named(self) -> DataConfig:
        if self.source == "folders" and (self.train is None or self.test is None):
            raise ValueError("source: folders needs the keys train and test")
        return self


class GeneratorConfig(Section):
    """A text-to-image generator, as data: a diffusers folder or hub id, and how it is sampled.

    `model` is "pictograms" (the embedded one), a folder, or a hub id; `alternatives` are tried in order where it is not
    to be had. None keeps the pipeline's own value.
    """

    model: str = "pictograms"
    alternatives: tuple[str, ...] = ()
    revision: str | None = None
    variant: str | None = None
    scheduler: Literal["dpmsolver++", "ddim", "euler", "unipc", "lcm"] | None = "dpmsolver++"
    steps: Positive = 15
    guidance_scale: Annotated[float, Field(ge=0)] = 3.0
    width: Positive | None = None
    height: Positive | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    safety_checker: bool = False


class PromptConfig(Section):
    """How classes become prompts: `single` is one template for all, `diverse` deals out many in turn.

    `templates` is "pictograms", "openai" (the 80 of CLIP), or a list of texts with one ``{}`` each.
    """

    strategy: Literal["single", "diverse"] = "diverse"
    templates: str | tuple[str, ...] = "pictograms"
    negative_prompt: str = ""


class GenerateConfig(Section):
    """What is generated: `per_class` images of each class, `shard_size` a shard, `batch_size` at once."""

    per_class: Positive = 50
    shard_size: Positive = 500
    batch_size: Positive = 50
    prompts: PromptConfig = PromptConfig()
    max_redraws: Positive = 5  # a black, blank or NaN image is drawn again at most so often


class TrainConfig(Section):
    """How a classifier is trained; the same for every arm unless the arm says otherwise."""

    architecture: str = "resnet10t"  # any timm name
    model_kwargs: dict[str, Any] = {}  # passed on to timm's constructor, such as channels or drop_path_rate
    image_size: Positive = 64
    steps: Positive = 600
    batch_size: Positive = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    momentum: Fraction = 0.9  # SGD alone
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    label_smoothing: Fraction = 0.1
    ema_decay: Fraction = 0.99  # 0 turns the weight average off
    augmentation: Literal["standard", "none", "randaugment", "trivialaugment", "augmix"] = "standard"
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    validate_every: Positive = 200  # steps; the best checkpoint by validation top-1 is kept
    save_every: Positive = 200  # steps; a killed run loses at most these


class MixturePart(Section):
    """A share of an arm's training images.

    `source` is real, generated or retrieved. `per_class` takes at most so many of each class (a prefix of the generated
    ones); `fraction` takes that fraction of each class. `weight` is its share of every batch relative to the others';
    None means in proportion to its number of images, as plain concatenation would.
    """

    source: Literal["real", "generated", "retrieved"]
    per_class: Positive | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    weight: Annotated[float, Field(gt=0)] | None = None


class ArmConfig(Section):
    """A named mixture to train on. `train` overrides keys of the study's train section for this arm."""

    name: str
    mixture: tuple[MixturePart, ...]
    train: dict[str, Any] = {}

    @field_validator("mixture", mode="before")
    @classmethod
    def _names_are_parts(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return [{"source": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _sources_once(self) -> ArmConfig:
        sources = [p.source for p in self.mixture]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"arm {self.name!r}: the mixture names each source once, and at least one")
        return self


class EvaluateConfig(Section):
    """How predictions are made. `batch_size` changes no figure beyond rounding."""

    batch_size: Positive = 256
    tests: tuple[str, ...] | None = None  # None: every test set of the data
    min_images: Positive = 150  # a shifted set with fewer is reported and left out of the mean


class RobustnessConfig(Section):
    """The baseline line. `baselines` is "pictograms" (shipped), a CSV (model,test_set,clean,shifted), or None.

    `grid` trains that many small standard models on the real data where there is no table; 0 trains none.
    """

    baselines: str | None = "pictograms"
    transform: Literal["logit", "probit", "linear"] = "logit"
    grid: Annotated[int, Field(ge=0)] = 0
    bootstrap: Positive = 1000


class Recipe(Section):
    """A study: arms x seeds over one data source, one generator and one training setting.

    A recipe file may hold one key more: `quick`, a mapping of dotted keys to values that ``--quick`` sets.
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
    train: TrainConfig = TrainConfig()
    arms: tuple[ArmConfig, ...]
    reference: str = "real"
    evaluate: EvaluateConfig = EvaluateConfig()
    robustness: RobustnessConfig = RobustnessConfig()

    @model_validator(mode="after")
    def _arms_fit(self) -> Recipe:
        names = [a.name for a in self.arms]
        if not names:
            raise ValueError("a study needs one arm or more under arms")
        if len(set(names)) != len(names):
            raise ValueError("two arms share a name")
        if self.reference not in names:
            raise ValueError(f"reference: {self.reference!r} is no arm; the arms are {', '.join(names)}")
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ValueError("seeds: give one or more, each once")
        for arm in self.arms:
            self.train_of(arm)
        return self

    def train_of(self, arm: ArmConfig) -> TrainConfig:
        """The training section of `arm`: the study's with the arm's overrides."""
        return TrainConfig.model_validate({**self.train.model_dump(), **arm.train})

    def sources(self) -> set[str]:
        """Which sources the arms mix: a subset of real, generated, retrieved."""
        return {p.source for a in self.arms for p in a.mixture}


def recipe_names() -> list[str]:
    """The names of the installed recipes, sorted."""
    folder = resources.files("genrobust") / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def recipe_text(name_or_path: str) -> str:
    """The YAML text of an installed recipe, by name, or of a recipe file, by path."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the recipe {path}: {error}") from error
    if name_or_path not in recipe_names():
        near = difflib.get_close_matches(name_or_path, recipe_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(recipe_names())
        raise UserError(f"no recipe {name_or_path!r}{hint} Installed: {known}. A file's name ends in .yaml")
    return (resources.files("genrobust") / "recipes" / f"{name_or_path}.yaml").read_text(encoding="utf-8")


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


def parse_recipe(raw: dict[str, Any], where: str = "recipe") -> Recipe:
    """Check a mapping and return the Recipe; raises UserError with one line for each thing wrong."""
    try:
        return Recipe.model_validate(raw)
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


def _explain(where: str, error: dict[str, Any]) -> str:
    path = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        model: Any = Recipe
        for part in error["loc"][:-1]:
            model = _child(model, part)
        known = list(getattr(model, "model_fields", {}))
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
