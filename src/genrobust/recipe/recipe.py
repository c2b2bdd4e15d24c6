"""The recipe of a study: its sections, and the checks across them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pydantic import Field, ValidationError, model_validator

from genrobust.core import (
    EMBEDDED,
    MEAN_OF_SHIFTS,
    NOT_GENERATED,
    RETRIEVED_BY_SEARCH,
    RETRIEVED_WITHHELD,
    ZERO_SHOT,
    Registry,
    UserError,
    group_reference,
    some_of,
)
from genrobust.recipe.classify import (
    LENGTHS,
    ArmConfig,
    EvaluateConfig,
    RobustnessConfig,
    TrainConfig,
    ZeroShotConfig,
)
from genrobust.recipe.data import DataConfig
from genrobust.recipe.diffusion import ClassModelConfig, FinetuneConfig
from genrobust.recipe.generate import (
    DatasetConfig,
    FilterConfig,
    GenerateConfig,
    GeneratorConfig,
    PromptConfig,
)
from genrobust.recipe.names import FolderName, Name
from genrobust.recipe.numbers import PerClass, Seed, Threads
from genrobust.recipe.section import Choice, Section, checked, later_key, merged
from genrobust.recipe.tune import TuneConfig

GENERATED = "generated"  # the name of the dataset that a recipe's own generator and generate sections describe


EXECUTORS: Registry[type[ExecuteConfig]] = Registry("executor", "genrobust.executors", "genrobust.study.executors")


class QualityConfig(Section):
    """Image quality of each source, measured on CLIP embeddings.

    `clip` is a folder, or "pictograms" for the embedded one.

    `per_class` is the number of images measured of each class and source, since FID and diversity depend on it.
    """

    clip: str
    per_class: PerClass = 50


class ClaimConfig(Section):
    """A claim that the study tests: `arm` is better than `than` in `metric` on `test_set`.

    Either may be a group; a group is compared with the references of its arms.

    `says` states the claim in words.

    `source` names who made it.
    """

    says: str
    arm: str
    than: str
    metric: str = "top1"
    test_set: str = MEAN_OF_SHIFTS
    source: str = ""

    @model_validator(mode="after")
    def _check_arms_differ(self) -> ClaimConfig:
        if self.arm == self.than:
            raise ValueError(f"than: the claim {self.says!r} compares {self.arm!r} with itself")
        return self


class ExecuteConfig(Choice):
    """Where the jobs of a study run, and what each takes there. It changes no results or folder names.

    `executor` is `local`, `slurm`, `ray`, or that of another package. ``--executor``, ``--workers`` and ``--address``
    set these keys for one command.
    """

    chosen_by = "executor"
    registry = EXECUTORS

    executor: str = "local"


class Recipe(Section):
    """A study: arms x seeds over one data source, one generator and one training setting.

    A recipe file may hold two more keys. `quick` maps dotted keys to the values that ``--quick`` sets. `sweep`
    describes further arms and datasets by templates, after ``--quick`` and ``--set``.

    `answer` is the arm, or group, that the report's answer is about. With None the validation images choose the best of
    those that train on generated images.

    `track` shows training curves in TensorBoard.
    """

    file_keys = ("quick", "sweep")

    name: FolderName
    title: str = ""
    question: str = ""
    data_seed: Seed = 0
    seeds: tuple[Seed, ...] = (0,)
    device: str = "auto"
    threads: Threads = 2  # CPU threads; part of the recipe, because sums in another order round differently
    data: DataConfig = Field(default_factory=DataConfig)
    generator: GeneratorConfig | None = Field(default_factory=GeneratorConfig)
    generate: GenerateConfig = GenerateConfig()
    datasets: dict[Name, DatasetConfig] = Field(default_factory=dict)
    finetune: FinetuneConfig | None = None
    class_model: ClassModelConfig | None = None
    train: TrainConfig = Field(default_factory=TrainConfig)
    arms: tuple[ArmConfig, ...]
    reference: Name = "real"
    answer: Name | None = None
    zero_shot: ZeroShotConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    quality: QualityConfig | None = None
    claims: tuple[ClaimConfig, ...] = ()
    track: bool = False
    execute: ExecuteConfig = Field(default_factory=ExecuteConfig)
    tune: TuneConfig | None = later_key(None)

    @model_validator(mode="before")
    @classmethod
    def _choose_templates(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Fill in the templates that suit the source of the images."""
        data, generate = given.get("data", {}), given.get("generate", {})
        prompts = generate.get("prompts", {}) if isinstance(generate, dict) else None
        if not isinstance(data, dict) or not isinstance(prompts, dict) or prompts.get("strategy") == "list":
            return given
        with suppress(ValidationError):  # the validation of `data` reports it
            own = DataConfig.chosen(data).own_prompts
            return {**given, "generate": {**generate, "prompts": {"templates": own, **prompts}}}
        return given

    @model_validator(mode="after")
    def _check_arms(self) -> Recipe:
        names, groups = self.arm_names, self.groups()
        if not names:
            raise ValueError("arms: a study needs one arm or more")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: give one or more, each once")
        if twice := [name for name in (*names, *groups, ZERO_SHOT) if [*names, *groups, ZERO_SHOT].count(name) > 1]:
            raise ValueError(f"arms: {twice[0]!r} is the name of two arms, or of an arm and a group: rename one")
        self._require_arm("reference", self.reference)
        for arm in self.arms:
            where, train = f"arm {arm.name!r}", self.train_of(arm)
            if arm.reference is not None:
                self._require_arm(f"{where}: reference", arm.reference)
            if "architecture" in arm.train and self.train.model_kwargs and "model_kwargs" not in arm.train:
                raise ValueError(
                    f"{where}: train.architecture: the recipe's model_kwargs are those of {self.train.architecture}: "
                    "give the arm its own, {} for none"
                )
            if train.keep == "best" and self.data.holds_out_none:
                raise ValueError(
                    f"{where}: train.keep: best chooses a checkpoint on validation images, and data.held_out is 0: set "
                    "train.keep: last, or hold some out"
                )
        self._check_sizes()
        for i, claim in enumerate(self.claims):
            self._check_claim(f"claims.{i}", claim)
        for name in names:
            self._started_from(name)
        self._check_answer()
        return self

    def _require_arm(self, where: str, name: str, others: Collection[str] = ()) -> None:
        if name not in self.arm_names and name not in others:
            known = f"; the groups are {some_of(others)}" if others else ""
            raise ValueError(f"{where}: {name!r} is no arm; the arms are {some_of(self.arm_names)}{known}")

    def _check_sizes(self) -> None:
        """Accuracies compare at one size of images: those of the arms, the models of a grid and a zero-shot CLIP."""
        sizes = {self.train_of(arm).image_size for arm in self.arms}
        if self.robustness.grid or self.zero_shot is not None:
            sizes.add(self.train.image_size)
        if self.evaluate.image_size is None and len(sizes) > 1:
            several = " or ".join(map(str, sorted(sizes)))
            raise ValueError(
                f"evaluate.image_size: images to train on have {several} px, and accuracies compare at one size: set it"
            )

    def _check_answer(self) -> None:
        """The answer compares an arm, or a group where there are groups, with another."""
        noun, others = ("group", self._group_references()) if self.groups() else ("arm", self.references())
        compared = [name for name, other in others.items() if other != name]
        if self.answer is not None and self.answer not in compared:
            known = some_of(compared) or "none"
            raise ValueError(f"answer: {self.answer!r} is no {noun} that is compared with another; there are {known}")

    def _group_references(self) -> dict[str, str]:
        """Return what each group is compared with: itself, if that has no name."""
        groups, references = self.groups(), self.references()
        return {group: group_reference(group, groups, references) for group in groups}

    def _check_claim(self, where: str, claim: ClaimConfig) -> None:
        """A claim compares two arms, or a group with the references of its arms."""
        groups = self.groups()
        self._require_arm(f"{where}.arm", claim.arm, groups)
        self._require_arm(f"{where}.than", claim.than, groups)
        if not {claim.arm, claim.than} & groups.keys():
            return
        other = self._group_references().get(claim.arm, claim.arm)
        if other == claim.arm or (claim.than != other and groups.get(claim.than) != [other]):
            raise ValueError(
                f"{where}.than: a claim about a group compares it with the references of its arms, an arm or a group; "
                f"that of {claim.arm!r} is {'none' if other == claim.arm else repr(other)}"
            )

    @model_validator(mode="after")
    def _check_datasets(self) -> Recipe:
        reserved = {GENERATED, *NOT_GENERATED}
        for section, names, taken in (
            ("datasets", self.datasets.keys(), reserved),
            ("data.extra", self.data.extra.keys(), reserved | self.datasets.keys()),
        ):
            if clash := names & taken:
                raise ValueError(f"{section}: the name {min(clash)} is taken; choose another")
        if self.datasets and self.generator is None:
            raise ValueError("datasets: each changes the recipe's generator, and generator is null")
        for name in self.datasets:
            self.class_model_of(name)
        for section, key in (("finetune", "finetuned"), ("class_model", "from_scratch")):
            if getattr(self, section) is not None and not any(getattr(d, key) for d in self.datasets.values()):
                raise ValueError(f"{section}: it trains nothing: give a dataset {key}: true, or remove the section")
        known, generations = dict.fromkeys([GENERATED, *self.not_generated, *self.datasets]), self._generations()
        for arm in self.arms:
            for source in (part.source for part in arm.mixture):
                if source not in known:
                    raise ValueError(f"arm {arm.name!r}: no source {source!r}; there are {some_of(known)}")
                if source in generations and generations[source][1].split == "val":
                    raise ValueError(
                        f"arm {arm.name!r} trains on {source!r}, which has split: val and is for evaluation; "
                        "mix a dataset with split: train"
                    )
        return self

    @model_validator(mode="after")
    def _check_generator(self) -> Recipe:
        """The default generator draws icons: for other images, the recipe names one."""
        naming, generator = {"engine", "model"}, self.generator
        if self.data.own_prompts == EMBEDDED or generator is None or naming & generator.model_fields_set:
            return self
        for name in self.generated_sets():
            own = self.datasets.get(name, DatasetConfig())
            if not (own.from_scratch or naming & own.generator.keys() or (name == GENERATED and self.data.generated)):
                raise ValueError(
                    f"generator.model: an arm mixes {name!r}, and the default generator draws icons: name one"
                )
        return self

    @model_validator(mode="after")
    def _check_prompts(self) -> Recipe:
        """A dataset inherits no instructions as descriptions, and no descriptions as instructions, or has no text."""
        for name, (generator, generate) in self._generations().items():
            if not generator.reads_text and name in self.datasets and self.datasets[name].generate.get("prompts"):
                raise ValueError(
                    f"datasets.{name}.generate.prompts: mode {generator.mode} draws without text: leave it out"
                )
            instructs, prompts = generator.reads_instructions, generate.prompts
            inherited = instructs != self._instructs and prompts == self.generate.prompts
            if generator.reads_text and (inherited or (instructs and prompts.names_a_set)):
                where = "" if name == GENERATED else f"datasets.{name}."
                wanted = (
                    "instructions: list some, such as 'turn this {} into a pencil sketch'"
                    if instructs
                    else "no instructions, which those of the recipe are: name others"
                )
                raise ValueError(f"{where}generate.prompts.templates: mode {generator.mode} takes {wanted}")
        return self

    @model_validator(mode="after")
    def _check_withheld(self) -> Recipe:
        parts = [part for arm in self.arms for part in arm.mixture]
        mixed = any(part.source == RETRIEVED_WITHHELD or part.cells == "withheld" for part in parts)
        if mixed and not self.data.retrieved.without.cells:
            raise ValueError("data.retrieved.without: an arm mixes what is withheld: name cells to withhold")
        return self

    @model_validator(mode="after")
    def _check_search(self) -> Recipe:
        if RETRIEVED_BY_SEARCH not in self.sources():
            return self
        if self.data.search_clip is None:
            raise ValueError(f"data.retrieved.clip: an arm mixes {RETRIEVED_BY_SEARCH}: name the folder of a CLIP")
        if self.data.retrieved.per_class is None and not self.generated_sets():
            raise ValueError(
                "data.retrieved.per_class: no arm mixes generated images, which would give the number of images to "
                "search for: set it"
            )
        return self

    @model_validator(mode="after")
    def _check_filters(self) -> Recipe:
        for name in self.datasets:
            rule = self.filter_of(name)
            if rule is None or rule.by != "classifier":
                continue
            where = f"datasets.{name}.filter.arm"
            self._require_arm(where, rule.arm)
            for arm in map(self.arm, self._started_from(rule.arm)):
                if any(self.filter_of(part.source) for part in arm.mixture):
                    raise ValueError(f"{where}: {arm.name!r} trains on filtered images itself; name another arm")
        return self

    @model_validator(mode="after")
    def _check_baselines(self) -> Recipe:
        settings = self.robustness
        if settings.grid and self.train.is_pretrained:
            raise ValueError(
                "robustness.grid: its models learn from scratch by the settings of train, which are those of a "
                "pretrained network: set grid to 0, or train.init in each arm"
            )
        published = self.data.has_published_lines and settings.baselines == "shipped" and not settings.grid
        if published and settings.transform != "logit":
            raise ValueError(
                f"robustness.transform: the published lines are fitted on logits, not on {settings.transform}: give "
                "robustness.baselines a table, or train your own baselines with robustness.grid"
            )
        return self

    @property
    def arm_names(self) -> list[str]:
        """The names of the arms, in order."""
        return [arm.name for arm in self.arms]

    @property
    def dataset_names(self) -> list[str]:
        """The names of the generated datasets: the recipe's own, and `datasets`."""
        return [GENERATED, *self.datasets]

    def arm(self, name: str) -> ArmConfig:
        """Return the arm called `name`.

        Raises:
            UserError: The recipe has no such arm.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserError(f"the recipe {self.name} has no arm {name!r}; the arms are {', '.join(self.arm_names)}")

    def filter_of(self, source: str) -> FilterConfig | None:
        """The filter of the dataset `source`; None without one."""
        return self.datasets[source].filter if source in self.datasets else None

    def generation(self, dataset: str) -> tuple[GeneratorConfig, GenerateConfig]:
        """The generator and generate sections of a dataset: the recipe's own, with the dataset's overrides.

        For a class model or a fine-tuned generator, `model` is still that of the base generator.

        Raises:
            UserError: The recipe has no generator.
            ValueError: The overrides of the dataset are wrong; the message names the key.
        """
        if self.generator is None:
            raise UserError(f"{dataset} needs a generator, and the recipe has none: set generator.model")
        if dataset == GENERATED:
            return self.generator, self.generate
        other = self.datasets[dataset]
        where = f"datasets.{dataset}"
        overrides = {**other.generator, "mode": "class"} if other.from_scratch else other.generator
        generator, generate = self.generator.model_dump(), self.generate.model_dump()
        nested = {key: merged(generator, overrides)[key] for key in overrides}
        own, prompts = self.generate.prompts, other.generate.get("prompts")
        from_file = isinstance(prompts, dict) and prompts.get("strategy", own.strategy) == "list"
        if isinstance(prompts, dict) and from_file != (own.strategy == "list"):  # a file, or templates, in its place
            templates = {} if from_file else {"templates": self.data.own_prompts}
            generate["prompts"] = {"negative_prompt": own.negative_prompt, **templates}
        return (
            self.generator.changed(nested, f"{where}.generator"),
            checked(GenerateConfig, merged(generate, other.generate), f"{where}.generate"),
        )

    def _generations(self) -> dict[str, tuple[GeneratorConfig, GenerateConfig]]:
        """Return what `generation` returns for each dataset; nothing without a generator."""
        return {} if self.generator is None else {name: self.generation(name) for name in self.dataset_names}

    @property
    def _instructs(self) -> bool:
        return self.generator is not None and self.generator.reads_instructions

    @property
    def class_prompts(self) -> PromptConfig:
        """The prompts that describe a class: the recipe's, or the usual ones where these are instructions."""
        return PromptConfig(templates=self.data.own_prompts) if self._instructs else self.generate.prompts

    def class_model_of(self, dataset: str) -> ClassModelConfig:
        """The class_model section of a dataset: the recipe's own, with the dataset's overrides."""
        own = (self.class_model or ClassModelConfig()).model_dump()
        overrides = self.datasets[dataset].class_model
        return checked(ClassModelConfig, {**own, **overrides}, f"datasets.{dataset}.class_model")

    def train_of(self, arm: ArmConfig) -> TrainConfig:
        """The train section of `arm`: the study's, with the arm's overrides; its `epochs` replace `steps`, and back."""
        replaced = {key for pair in LENGTHS if arm.train.keys() & set(pair) for key in pair}
        return self.train.changed(arm.train, f"the train section of arm {arm.name!r}", without=replaced)

    @property
    def not_generated(self) -> tuple[str, ...]:
        """The sources that are no generated datasets, whether arms mix them or not."""
        return (*NOT_GENERATED, *self.data.extra)

    def groups(self) -> dict[str, list[str]]:
        """The names of each group's arms, both in the recipe's order."""
        groups: dict[str, list[str]] = {}
        for arm in self.arms:
            if arm.group is not None:
                groups.setdefault(arm.group, []).append(arm.name)
        return groups

    def _started_from(self, name: str) -> list[str]:
        """Return the arm `name` and those that it starts from, directly or through others; none may be there twice."""
        arms = [name]
        while (origin := self.train_of(self.arm(arms[-1])).origin_arm) is not None:
            where = f"arm {arms[-1]!r}: train.init"
            self._require_arm(where, origin)
            arms.append(origin)
            if origin in arms[:-1]:
                raise ValueError(f"{where}: {' < '.join(arms[arms.index(origin) :])}: it needs itself first")
        return arms

    def learned_elsewhere(self, name: str) -> bool:
        """Return whether the weights of an arm, or of the arm that it starts from, began with those of other data."""
        return self.train_of(self.arm(self._started_from(name)[-1])).is_pretrained

    def references(self) -> dict[str, str]:
        """The arm that each arm is compared with: its own reference, or the recipe's."""
        return {arm.name: arm.reference or self.reference for arm in self.arms}

    def sources(self) -> set[str]:
        """The sources that the arms mix; see `MixturePart`."""
        return {part.source for arm in self.arms for part in arm.mixture}

    def generated_sets(self) -> list[str]:
        """The generated datasets that arms mix, in the recipe's order."""
        sources = self.sources()
        return [name for name in self.dataset_names if name in sources]

    @property
    def first_generated_set(self) -> str:
        """The first generated dataset that an arm mixes; the generator's own where none mixes any."""
        return next(iter(self.generated_sets()), GENERATED)
