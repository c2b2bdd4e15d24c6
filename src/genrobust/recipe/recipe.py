"""The recipe of a study: its sections, and the checks across sections."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pydantic import Field, ValidationError, model_validator

from genrobust.core import (
    EMBEDDED,
    NOT_GENERATED,
    RETRIEVED_BY_SEARCH,
    RETRIEVED_WITHHELD,
    ZERO_SHOT,
    Registry,
    UserError,
    group_reference,
    some_of,
)
from genrobust.recipe.arms import ArmConfig, MixturePart
from genrobust.recipe.data import DataConfig
from genrobust.recipe.evaluate import ClaimConfig, EvaluateConfig, QualityConfig, RobustnessConfig, ZeroShotConfig
from genrobust.recipe.fine_tuning import REPLACED
from genrobust.recipe.generate import (
    DatasetConfig,
    FilterConfig,
    GenerateConfig,
    GeneratorConfig,
    PromptConfig,
    count_dropped,
)
from genrobust.recipe.generator_training import ClassModelConfig, FinetuneConfig
from genrobust.recipe.names import FolderName, Name
from genrobust.recipe.numbers import Seed, Threads
from genrobust.recipe.section import Choice, Section, checked, later_key, merged
from genrobust.recipe.train import LENGTHS, TrainConfig
from genrobust.recipe.tune import TuneConfig

GENERATED = "generated"  # the dataset of the recipe's own sections generator and generate
GENERATOR_KEYS = {"engine", "model"}  # one of them names the generator


EXECUTORS: Registry[type[ExecuteConfig]] = Registry("executor", "genrobust.executors", "genrobust.study.executors")


class ExecuteConfig(Choice):
    """Where the jobs of a study run, and what a job needs there. It changes no results and no folder names.

    `executor` is `local`, `slurm`, `ray`, or one of another package. ``--executor``, ``--workers`` and ``--address``
    set these keys for one command.
    """

    chosen_by = "executor"
    registry = EXECUTORS

    executor: str = "local"


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

    @model_validator(mode="after")
    def _check_arms(self) -> Recipe:
        self._check_arm_names()
        self._require_arm("reference", self.reference)
        for arm in self.arms:
            self._check_arm(arm)
        self._check_sizes()
        for i, claim in enumerate(self.claims):
            self._check_claim(f"claims.{i}", claim)
        for name in self.arm_names:
            self._started_from(name)
        self._check_answer()
        return self

    def _check_arm_names(self) -> None:
        if not self.arms:
            raise ValueError("arms: a study needs one arm or more")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: give one or more, each once")
        names = [*self.arm_names, *self.groups(), ZERO_SHOT]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"arms: {name!r} is the name of two arms, or of an arm and a group: rename one")

    def _check_arm(self, arm: ArmConfig) -> None:
        where = f"arm {arm.name!r}"
        train = self.train_of(arm)
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

    def _require_arm(self, where: str, name: str, others: Collection[str] = ()) -> None:
        """Raise ValueError if `name` is neither an arm nor one of the `others`."""
        if name not in self.arm_names and name not in others:
            known = f"; the groups are {some_of(others)}" if others else ""
            raise ValueError(f"{where}: {name!r} is no arm; the arms are {some_of(self.arm_names)}{known}")

    def _check_sizes(self) -> None:
        """Check that all classifiers are tested at one image size. Accuracies at different sizes do not compare."""
        sizes = {self.train_of(arm).image_size for arm in self.arms}
        if self.robustness.grid or self.zero_shot is not None:
            sizes.add(self.train.image_size)
        if self.evaluate.image_size is None and len(sizes) > 1:
            several = " or ".join(map(str, sorted(sizes)))
            raise ValueError(
                f"evaluate.image_size: images to train on have {several} px, and accuracies compare at one size: set it"
            )

    def _check_answer(self) -> None:
        """Check that the answer compares an arm with another. If the recipe has groups, it compares groups."""
        if self.groups():
            noun, references = "group", self._group_references()
        else:
            noun, references = "arm", self.references()
        compared = [name for name, reference in references.items() if reference != name]
        if self.answer is not None and self.answer not in compared:
            known = some_of(compared) or "none"
            raise ValueError(f"answer: {self.answer!r} is no {noun} that is compared with another; there are {known}")

    def _group_references(self) -> dict[str, str]:
        """Return what each group is compared with. It is the group itself if its arms have no common reference."""
        groups, references = self.groups(), self.references()
        return {group: group_reference(group, groups, references) for group in groups}

    def _check_claim(self, where: str, claim: ClaimConfig) -> None:
        """Check that a claim compares two arms, or a group with the references of its arms."""
        groups = self.groups()
        self._require_arm(f"{where}.arm", claim.arm, groups)
        self._require_arm(f"{where}.than", claim.than, groups)
        if not {claim.arm, claim.than} & groups.keys():
            return
        reference = self._group_references().get(claim.arm, claim.arm)
        has_reference = reference != claim.arm
        # A group of one arm, the reference, may also be named.
        is_compared = claim.than == reference or groups.get(claim.than) == [reference]
        if not (has_reference and is_compared):
            raise ValueError(
                f"{where}.than: a claim about a group compares it with the references of its arms, an arm or a group; "
                f"the reference of {claim.arm!r} is {repr(reference) if has_reference else 'none'}"
            )

    @model_validator(mode="after")
    def _check_datasets(self) -> Recipe:
        self._check_dataset_names()
        if self.datasets and self.generator is None:
            raise ValueError("datasets: each changes the recipe's generator, and generator is null")
        for name in self.datasets:
            self.class_model_of(name)
        for section, key in (("finetune", "finetuned"), ("class_model", "from_scratch")):
            is_used = any(getattr(dataset, key) for dataset in self.datasets.values())
            if getattr(self, section) is not None and not is_used:
                raise ValueError(f"{section}: it trains nothing: give a dataset {key}: true, or remove the section")
        self._check_sources()
        return self

    def _check_dataset_names(self) -> None:
        reserved = {GENERATED, *NOT_GENERATED}
        for section, names, taken in (
            ("datasets", self.datasets.keys(), reserved),
            ("data.extra", self.data.extra.keys(), reserved | self.datasets.keys()),
            (
                "data.unlabeled",
                self.data.unlabeled.keys(),
                reserved | self.datasets.keys() | self.data.extra.keys() | self.data.shifts.keys(),
            ),
        ):
            clash = names & taken
            if clash:
                raise ValueError(f"{section}: the name {min(clash)} is taken; choose another")

    def _check_sources(self) -> None:
        """Check that the arms mix known sources, and no validation dataset."""
        known = dict.fromkeys([GENERATED, *self.not_generated, *self.datasets])
        generations = self._generations()
        for arm in self.arms:
            for part in arm.mixture:
                source = part.source
                if source not in known:
                    raise ValueError(f"arm {arm.name!r}: no source {source!r}; there are {some_of(known)}")
                self._check_labels(arm, part)
                if source in generations and generations[source][1].split == "val":
                    raise ValueError(
                        f"arm {arm.name!r} trains on {source!r}, which has split: val and is for evaluation; "
                        "mix a dataset with split: train"
                    )

    def _check_labels(self, arm: ArmConfig, part: MixturePart) -> None:
        """Check that an arm predicts the labels of images without labels, and of no others."""
        where = f"arm {arm.name!r}: mixture: {part.source}: labels"
        if part.source in self.data.unlabeled:
            if part.labels is None:
                raise ValueError(f"{where}: these images have none: name the arm that predicts them")
            self._require_arm(where, part.labels)
        elif part.labels is not None:
            raise ValueError(f"{where}: these images have labels: remove the key")

    @model_validator(mode="after")
    def _check_order(self) -> Recipe:
        for name in self.arm_names:
            self._all_needed(name)
        return self

    def _needed_by(self, name: str) -> list[str]:
        """Return the arms that are trained before the arm `name`: the one it starts from, and those that label."""
        arm = self.arm(name)
        origin = self.train_of(arm).origin_arm
        needed = [] if origin is None else [origin]
        return needed + [part.labels for part in arm.mixture if part.labels is not None]

    def _all_needed(self, name: str, before: tuple[str, ...] = ()) -> list[str]:
        """Return the arm `name` and all arms that are trained before it.

        Raises:
            ValueError: An arm needs itself.
        """
        if name in before:
            circle = [*before[before.index(name) :], name]
            raise ValueError(f"arms: {' < '.join(circle)}: it needs itself first")
        found = [name]
        for needed in self._needed_by(name):
            found += self._all_needed(needed, (*before, name))
        return list(dict.fromkeys(found))

    @model_validator(mode="after")
    def _check_generator(self) -> Recipe:
        """Check that the recipe names a generator for its images. The default generator draws icons."""
        generator = self.generator
        if self.data.own_prompts == EMBEDDED or generator is None or GENERATOR_KEYS & generator.model_fields_set:
            return self
        for name in self.generated_sets():
            dataset = self.datasets.get(name, DatasetConfig())
            has_generator = dataset.from_scratch or GENERATOR_KEYS & dataset.generator.keys()
            has_images = name == GENERATED and self.data.generated is not None
            if not (has_generator or has_images):
                raise ValueError(
                    f"generator.model: an arm mixes {name!r}, and the default generator draws icons: name one"
                )
        return self

    @model_validator(mode="after")
    def _check_prompts(self) -> Recipe:
        """Check that each dataset has prompts of its kind: descriptions, instructions, or none.

        A dataset inherits the prompts of the recipe, which are of another kind if their modes differ.
        """
        for name, (generator, generate) in self._generations().items():
            if not generator.reads_text:
                if name in self.datasets and self.datasets[name].generate.get("prompts"):
                    raise ValueError(
                        f"datasets.{name}.generate.prompts: mode {generator.mode} draws without text: leave it out"
                    )
                continue
            instructs, prompts = generator.reads_instructions, generate.prompts
            is_inherited = instructs != self._instructs and prompts == self.generate.prompts
            if is_inherited or (instructs and prompts.names_a_set):
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
            raise ValueError("data.retrieved.without: an arm mixes withheld images: name cells to withhold")
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
            if rule is not None and rule.by == "classifier":
                self._check_judge(f"datasets.{name}.filter.arm", rule)
        return self

    def _check_judge(self, where: str, rule: FilterConfig) -> None:
        """Check that the arm of a filter is trained without filtered images."""
        self._require_arm(where, rule.arm)
        for name in self._all_needed(rule.arm):
            if any(self.filter_of(part.source) for part in self.arm(name).mixture):
                raise ValueError(f"{where}: {name!r} trains on filtered images itself; name another arm")

    @model_validator(mode="after")
    def _check_baselines(self) -> Recipe:
        settings = self.robustness
        if settings.grid and self.train.is_pretrained:
            raise ValueError(
                "robustness.grid: its models learn from scratch by the settings of train, which are those of a "
                "pretrained network: set grid to 0, or train.init in each arm"
            )
        is_published = self.data.has_published_lines and settings.baselines == "shipped" and not settings.grid
        if is_published and settings.transform != "logit":
            raise ValueError(
                f"robustness.transform: the published lines are fitted on logits, not on {settings.transform}: give "
                "robustness.baselines a table, or train your own baselines with robustness.grid"
            )
        return self

    def notices(self) -> list[str]:
        """Return a sentence for each key that has no effect because of another key."""
        return [*self._replaced_by_init(), *self._unused_images(), *self._empty_filters()]

    def _replaced_by_init(self) -> list[str]:
        """Name the keys of a network that a pretrained network replaces.

        An arm may inherit such keys from the recipe, which other arms need. So they count only in the section that has
        the key `init`, or in an arm of its own.
        """
        notices = []
        if self.train.is_pretrained:
            keys = [key for key in REPLACED if self.train.differs(key)]
            if keys:
                notices.append(f"train.init names the network {self.train.init}, so {_idle(keys, 'train')}")
        for arm in self.arms:
            train = self.train_of(arm)
            keys = [key for key in REPLACED if key in arm.train and train.differs(key)]
            if train.is_pretrained and keys:
                idle = _idle(keys, "train")
                notices.append(f"arm {arm.name!r}: train.init names the network {train.init}, so {idle}")
        return notices

    def _unused_images(self) -> list[str]:
        """Name images, and settings of images, that no arm uses."""
        notices = [
            f"data.extra.{name}: no arm mixes these images" for name in self.data.extra if name not in self.sources()
        ]
        retrieved = self.data.retrieved
        if RETRIEVED_BY_SEARCH not in self.sources():
            keys = [key for key in ("search", "clip") if getattr(retrieved, key) is not None]
            if keys:
                notices.append(f"no arm mixes {RETRIEVED_BY_SEARCH}, so {_idle(keys, 'data.retrieved')}")
        if self.data.packed and not any(self.train_of(arm).crop == "random-resized" for arm in self.arms):
            notices.append(f"no arm has train.crop: random-resized, so {_idle(['packed'], 'data')}")
        return notices

    def _empty_filters(self) -> list[str]:
        """Name filters whose share of the images of a class is less than one image."""
        notices = []
        for name in self.datasets:
            rule = self.filter_of(name)
            if rule is None or rule.drop is None:
                continue
            per_class = self.generation(name)[1].per_class
            if count_dropped(rule.drop, per_class) == 0:
                share = f"{rule.drop:g} of the {per_class} images of a class is none"
                notices.append(f"datasets.{name}.filter.drop: {share}, so the filter leaves out nothing")
        return notices

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
        return self.datasets[source].filter if source in self.datasets else None

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

    def _generations(self) -> dict[str, tuple[GeneratorConfig, GenerateConfig]]:
        """Return the result of `generation` for each dataset. Empty if the recipe has no generator."""
        if self.generator is None:
            return {}
        return {name: self.generation(name) for name in self.dataset_names}

    @property
    def _instructs(self) -> bool:
        return self.generator is not None and self.generator.reads_instructions

    @property
    def class_prompts(self) -> PromptConfig:
        """The prompts that describe a class: the recipe's, or the default ones if the recipe's are instructions."""
        return PromptConfig(templates=self.data.own_prompts) if self._instructs else self.generate.prompts

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

    def _started_from(self, name: str) -> list[str]:
        """Return the arm `name` and the arms that it starts from, directly or through others.

        Raises:
            ValueError: An arm starts from itself, or from an unknown arm.
        """
        arms = [name]
        while True:
            where = f"arm {arms[-1]!r}: train.init"
            origin = self.train_of(self.arm(arms[-1])).origin_arm
            if origin is None:
                return arms
            self._require_arm(where, origin)
            if origin in arms:
                circle = [*arms[arms.index(origin) :], origin]
                raise ValueError(f"{where}: {' < '.join(circle)}: it needs itself first")
            arms.append(origin)

    def learned_elsewhere(self, name: str) -> bool:
        """Return whether an arm, or the arm that it starts from, begins with pretrained weights."""
        return self.train_of(self.arm(self._started_from(name)[-1])).is_pretrained

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


def _idle(keys: list[str], section: str) -> str:
    """Say that `keys` of a section have no effect: "train.architecture has no effect"."""
    names = " and ".join(f"{section}.{key}" for key in keys)
    return f"{names} {'have' if len(keys) > 1 else 'has'} no effect"
