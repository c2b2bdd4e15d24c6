"""The recipe of a study: its sections, and the questions that it answers about arms and datasets."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import Field, ValidationError, model_validator

from genrobust.core import (
    NOT_GENERATED,
    Registry,
    UserError,
)
from genrobust.recipe.arms import ArmConfig
from genrobust.recipe.data import DataConfig
from genrobust.recipe.evaluate import ClaimConfig, EvaluateConfig, QualityConfig, RobustnessConfig, ZeroShotConfig
from genrobust.recipe.generate import (
    GENERATED,
    DatasetConfig,
    FilterConfig,
    GenerateConfig,
    GeneratorConfig,
    PromptConfig,
)
from genrobust.recipe.generator_training import ClassModelConfig, FinetuneConfig
from genrobust.recipe.names import FolderName, Name
from genrobust.recipe.numbers import Seed, Threads
from genrobust.recipe.section import Choice, Section, checked, later_key, merged
from genrobust.recipe.train import LENGTHS, TrainConfig
from genrobust.recipe.tune import TuneConfig

EXECUTORS: Registry[type[ExecuteConfig]] = Registry("executor", "genrobust.executors", "genrobust.study.executors")


class ExecuteConfig(Choice):
    """Where the jobs of a study run, and what a job needs there. It changes no results and no folder names.

    `executor` is `local`, `slurm`, `ray`, or one of another package. ``--executor``, ``--workers`` and ``--address``
    set these keys for one command.
    """

    chosen_by = "executor"
    registry = EXECUTORS

    executor: str = "local"


# Checks across its sections are in checks.py, and `parse_recipe` runs them.
class Recipe(Section):
    """A study: arms x seeds on one data source, with one generator and one training setting.

    A recipe file may have two more keys. `quick` maps dotted keys to the values that ``--quick`` sets. `sweep`
    describes more arms and datasets by templates. It is applied after ``--quick`` and ``--set``.

    `name` is the name of the study and of the folder of its report.

    `title` is the title of the report.

    `question` is the question that the report answers.

    `data_seed` chooses the prompts and the seeds of the generated images.

    `seeds` are the seeds of the trainings. Each arm is trained once with each seed.

    `device` is `cuda`, `mps`, `cpu` or `auto`.

    `threads` is the number of CPU threads of a worker. It changes results, because sums in another order round
    differently.

    `datasets` are more generated datasets, by name.

    `reference` is the arm that all others are compared with, unless they name another one.

    `answer` is the arm or group in the report's answer. With `null`, it is the arm with generated images that is best
    on the validation images.

    `track` writes training curves for TensorBoard.
    """

    file_keys = ("quick", "sweep")

    name: FolderName
    title: str = ""
    question: str = ""
    data_seed: Seed = 0
    seeds: tuple[Seed, ...] = (0,)
    device: str = "auto"
    threads: Threads = 2
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
        """Fill in the templates that suit the source of the images, if the recipe has none."""
        data, generate = given.get("data", {}), given.get("generate", {})
        prompts = generate.get("prompts", {}) if isinstance(generate, dict) else None
        if not isinstance(data, dict) or not isinstance(prompts, dict) or prompts.get("strategy") == "list":
            return given
        # The validation of `data` reports a ValidationError.
        with suppress(ValidationError):
            templates = DataConfig.chosen(data).own_prompts
            return {**given, "generate": {**generate, "prompts": {"templates": templates, **prompts}}}
        return given

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
        """Return the filter of the dataset `source`. None if it has no filter, or `source` is no dataset."""
        if source in self.datasets:
            return self.datasets[source].filter
        return None

    def generation(self, dataset: str) -> tuple[GeneratorConfig, GenerateConfig]:
        """Return the generator and generate sections of a dataset: the recipe's own, with the dataset's overrides.

        The key `model` of a class model or a fine-tuned generator still names the base generator.

        Raises:
            UserError: The recipe has no generator.
            ValueError: The overrides of the dataset are wrong. The message names the key.
        """
        if self.generator is None:
            raise UserError(f"{dataset} needs a generator, and the recipe has none: set generator.model")
        if dataset == GENERATED:
            return self.generator, self.generate
        return self._generator_of(self.generator, dataset), self._generate_of(dataset)

    def _generator_of(self, generator: GeneratorConfig, dataset: str) -> GeneratorConfig:
        overrides = self.datasets[dataset].generator
        if self.datasets[dataset].from_scratch:
            overrides = {**overrides, "mode": "class"}
        both = merged(generator.model_dump(), overrides)
        return generator.changed({key: both[key] for key in overrides}, f"datasets.{dataset}.generator")

    def _generate_of(self, dataset: str) -> GenerateConfig:
        inherited, overrides = self.generate.model_dump(), self.datasets[dataset].generate
        own, prompts = self.generate.prompts, overrides.get("prompts")
        if isinstance(prompts, dict):
            was_file = own.strategy == "list"
            is_file = prompts.get("strategy", own.strategy) == "list"
            if is_file != was_file:
                # A file of prompts replaces templates, or templates replace a file.
                templates = {} if is_file else {"templates": self.data.own_prompts}
                inherited["prompts"] = {"negative_prompt": own.negative_prompt, **templates}
        return checked(GenerateConfig, merged(inherited, overrides), f"datasets.{dataset}.generate")

    @property
    def class_prompts(self) -> PromptConfig:
        """The prompts that describe a class: the recipe's, or the default ones if the recipe's are instructions."""
        if self.generator is not None and self.generator.reads_instructions:
            return PromptConfig(templates=self.data.own_prompts)
        return self.generate.prompts

    def class_model_of(self, dataset: str) -> ClassModelConfig:
        """Return the class_model section of a dataset: the recipe's own, with the dataset's overrides."""
        own = (self.class_model or ClassModelConfig()).model_dump()
        overrides = self.datasets[dataset].class_model
        return checked(ClassModelConfig, {**own, **overrides}, f"datasets.{dataset}.class_model")

    def train_of(self, arm: ArmConfig) -> TrainConfig:
        """Return the train section of `arm`: the recipe's own, with the arm's overrides.

        A length in epochs replaces one in steps, and the other way round.
        """
        replaced = {key for pair in LENGTHS if arm.train.keys() & set(pair) for key in pair}
        return self.train.changed(arm.train, f"the train section of arm {arm.name!r}", without=replaced)

    @property
    def not_generated(self) -> tuple[str, ...]:
        """The sources of images that are not generated, whether arms mix them or not."""
        return (*NOT_GENERATED, *self.data.extra, *self.data.unlabeled)

    def groups(self) -> dict[str, list[str]]:
        """Return the names of the arms of each group, in the recipe's order."""
        groups: dict[str, list[str]] = {}
        for arm in self.arms:
            if arm.group is not None:
                groups.setdefault(arm.group, []).append(arm.name)
        return groups

    def learned_elsewhere(self, name: str) -> bool:
        """Return whether an arm, or the arm that it starts from, begins with pretrained weights."""
        train = self.train_of(self.arm(name))
        while train.origin_arm is not None:
            train = self.train_of(self.arm(train.origin_arm))
        return train.is_pretrained

    def references(self) -> dict[str, str]:
        """Return the arm that each arm is compared with: its own reference, or the recipe's."""
        return {arm.name: arm.reference or self.reference for arm in self.arms}

    def sources(self) -> set[str]:
        """Return the sources that the arms mix, see `MixturePart`."""
        return {part.source for arm in self.arms for part in arm.mixture}

    def generated_sets(self) -> list[str]:
        """Return the generated datasets that arms mix, in the recipe's order."""
        sources = self.sources()
        return [name for name in self.dataset_names if name in sources]

    @property
    def first_generated_set(self) -> str:
        """The first generated dataset that an arm mixes. The recipe's own if no arm mixes any."""
        return next(iter(self.generated_sets()), GENERATED)
