"""Generators, prompts, generated datasets and their filters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from genrobust.core import FLOAT32, Registry, UserError
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import PerClass, Seed
from genrobust.recipe.section import Choice, Place, PlainValues, Section, later_key

ENGINES: Registry[Any] = Registry("engine", "genrobust.engines", "genrobust.generate.engines")


class GeneratorConfig(Choice):
    """A generator: the library that draws, what it draws from, and its model.

    `mode` is what an image is drawn from: `labels` (a prompt with the class name), `images` (a real image of the
    class), `labels+images` (both), `edit` (a real image, changed as a prompt says), or `class` (the class number, for a
    class-conditional model).

    `model` is "pictograms" (the embedded one for the mode), a folder, or a hub id.
    """

    chosen_by = "engine"
    registry = ENGINES
    unsampled: ClassVar[tuple[str, ...]] = ()  # keys beside `model` that change no image, or are known by content

    mode: str = "labels"
    engine: str = "diffusers"  # or openai, or that of another package
    model: Annotated[str, Field(min_length=1)] = "pictograms"

    @classmethod
    def chosen(cls, values: Mapping[str, Any]) -> type[Self]:
        engine = cls._member(ENGINES, "engine", values)
        mode = values.get("mode", cls.model_fields["mode"].default)
        if mode not in (modes := engine.modes):
            name = values.get("engine", cls.model_fields["engine"].default)
            cls._refuse("mode", f"the engine {name} draws in {', '.join(modes)}, not in {mode}: set one", mode)
        try:
            return engine.options_in(mode)  # type: ignore[no-any-return]
        except UserError as error:
            cls._refuse("mode", str(error), mode)

    @classmethod
    def models(cls) -> dict[str, type[Self]]:
        models: dict[str, type[Self]] = {}
        for name, engine in ENGINES.members().items():
            in_modes: dict[str, type[Self]] = {}
            for mode in engine.modes:
                # A mode of another package that cannot be loaded has no keys.
                with suppress(UserError):
                    in_modes[mode] = engine.options_in(mode)
            for mode, model in in_modes.items():
                choice = f"mode {mode}" if len(set(in_modes.values())) > 1 else f"engine {name}"
                models[choice] = model
        return models

    @property
    def reads_text(self) -> bool:
        """Whether images depend on prompts."""
        return "labels" in self.mode.split("+")

    @property
    def reads_images(self) -> bool:
        """Whether images depend on real images of the training split."""
        return "images" in self.mode.split("+")

    @property
    def reads_instructions(self) -> bool:
        """Whether prompts say what to change in a real image."""
        return False

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Width and height of the images in pixels; None where they are the model's own."""
        return None, None

    @property
    def drawn_steps(self) -> int:
        """The steps that are taken for an image."""
        return 1

    @property
    def evaluations(self) -> float:
        """How often the network is evaluated for an image: in each step, and twice where that is guided."""
        return 1.0

    @property
    def precision(self) -> str:
        """What most of it computes in."""
        return FLOAT32

    def sampling(self) -> dict[str, Any]:
        """Return the part of the section that decides the images beside the weights, as flat JSON."""
        return self.model_dump(mode="json", exclude={"model", *self.unsampled})


class PromptConfig(Section):
    """How classes become prompts.

    `strategy: single` uses one template, `diverse` many in turn, `list` the prompts of a file.

    `templates` is "pictograms", "openai" (the 80 of CLIP; the default for other data), or a list of texts with one
    ``{}`` each.

    `file` is for `list`: a text file with one template on each line, or a .json file that maps each class (id or name)
    to a list of full prompts.

    A CLIP knows the classes by these prompts, too; where they are instructions (`mode: edit`), by the default ones.
    """

    strategy: Literal["single", "diverse", "list"] = "diverse"
    templates: str | tuple[str, ...] = "pictograms"
    file: Place | None = None
    negative_prompt: str = ""

    @property
    def names_a_set(self) -> bool:
        """Whether the templates are a set that comes with the package."""
        return self.strategy != "list" and isinstance(self.templates, str)

    @model_validator(mode="after")
    def _check_file(self) -> PromptConfig:
        if self.strategy == "list" and self.file is None:
            raise ValueError("strategy list needs the key file: a text file of templates, or a .json file of prompts")
        if self.strategy != "list" and self.file is not None:
            raise ValueError(f"strategy {self.strategy} does not use the key file: leave it out, or use strategy list")
        if self.strategy == "list" and self.templates != type(self).model_fields["templates"].default:
            raise ValueError("strategy list does not use the key templates: leave it out, its prompts are in file")
        return self


class GenerateConfig(Section):
    """Size of a generated dataset: `per_class` images per class, `shard_size` per shard, `batch_size` per batch.

    `split: val` makes a validation dataset, with other keys and seeds, and from validation images where a mode starts
    from real ones. No arm may train on it; `genrobust benchmark` scores on it.
    """

    split: Literal["train", "val"] = "train"
    per_class: PerClass = 50
    shard_size: Annotated[StrictInt, Field(ge=1, le=100_000)] = 500
    batch_size: Annotated[StrictInt, Field(ge=1, le=4096)] = 50  # halved where memory does not suffice
    prompts: PromptConfig = PromptConfig()


class FilterConfig(Section):
    """Leaves out generated images that do not show their label, judged by a classifier, a CLIP or a person.

    `by: classifier` scores an image by its label's probability under the classifier of `arm`; `clip` by the cosine of
    image and prompts of its class; `list` leaves out what a person rejected with `genrobust view`.

    `clip` is a folder, or "pictograms", the embedded one.

    `file` is the review, for `by: list`.

    `drop` is the share of each class to leave out.

    `threshold` is the lowest score to keep, instead of `drop`.
    """

    by: Literal["classifier", "clip", "list"] = "classifier"
    arm: Name = "real"
    clip: str | None = None
    file: Place | None = None
    drop: Annotated[StrictFloat, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[StrictFloat, Field(ge=-1000, le=1000)] | None = None

    @model_validator(mode="after")
    def _check_rule(self) -> FilterConfig:
        if (self.by == "list") == (self.file is None):
            raise ValueError("give the key file, a review of genrobust view, with by: list, and only then")
        if self.by == "list" and not self.drop is self.threshold is None:
            raise ValueError("by: list uses neither drop nor threshold: leave them out, file names the images")
        if self.by != "list" and (self.drop is None) == (self.threshold is None):
            raise ValueError("give either drop, a share of each class, or threshold, the lowest score that stays")
        if self.by != "classifier" and self.arm != type(self).model_fields["arm"].default:
            raise ValueError(f"arm: it belongs to by: classifier, and by is {self.by}: leave it out")
        if (self.by == "clip") == (self.clip is None):
            raise ValueError("give the key clip, a folder, with by: clip, and only then")
        return self

    def in_words(self) -> str:
        """Return the rule in words: "the lowest 30 % of each class, by the classifier of the arm real"."""
        if self.file is not None:
            return f"those that {self.file.name} rejects"
        which = f"the lowest {100 * self.drop:g} % of each class" if self.drop else f"those below {self.threshold:g}"
        return f"{which}, by " + (
            f"the CLIP {self.clip}" if self.by == "clip" else f"the classifier of the arm {self.arm}"
        )


class DatasetConfig(Section):
    """A further generated dataset, described by its differences from the recipe's own, "generated".

    `finetuned` samples after fine-tuning on the real training images (section `finetune`).

    `from_scratch` samples in mode class from a model that is trained on them alone (section `class_model`).

    `class_model` overrides keys of the section of this name, so that several such models stand in one study.

    `filter` leaves out some of the images.

    `data_seed` draws other images from the same prompts: the difference shows how much depends on the draw.

    `generator` overrides keys of the section of this name, nested ones too.

    `generate` does the same.
    """

    finetuned: bool = False
    from_scratch: bool = False
    filter: FilterConfig | None = None
    data_seed: Seed | None = None
    generator: PlainValues = Field(default_factory=dict)
    generate: PlainValues = Field(default_factory=dict)
    class_model: PlainValues = later_key({})

    @model_validator(mode="after")
    def _check_generator(self) -> DatasetConfig:
        if not self.from_scratch:
            if self.class_model:
                raise ValueError("class_model: it needs from_scratch: true")
            return self
        if self.finetuned:
            raise ValueError("finetuned and from_scratch exclude each other: choose one")
        if given := [key for key in ("model", "revision", "variant") if key in self.generator]:
            raise ValueError(f"generator.{given[0]}: from_scratch trains its own generator: leave it out")
        if self.generator.get("mode", "class") != "class":
            raise ValueError(f"generator.mode: from_scratch has mode class, not {self.generator['mode']}")
        return self
