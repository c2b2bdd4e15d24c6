"""The sections on generated images: generators, prompts, datasets and their filters."""

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
GENERATED = "generated"  # the dataset of the recipe's own sections generator and generate
NAMES_A_GENERATOR = ("model", "revision", "variant")  # keys that a class model does not use


class GeneratorConfig(Choice):
    """A generator: the library that draws, the input of an image, and the model.

    `engine` is `diffusers`, `openai`, or an engine of another package.

    `mode` is the input of an image: `labels` (a prompt with the class name), `images` (a real image of the class),
    `labels+images` (both), `edit` (a real image, and a prompt that says how to change it), or `class` (the class
    number, for a class-conditional model).

    `model` is "pictograms" (the embedded model for the mode), a folder, or a hub id.
    """

    chosen_by = "engine"
    registry = ENGINES
    # Keys that change no image, or name files whose content is hashed elsewhere.
    unsampled: ClassVar[tuple[str, ...]] = ()

    mode: str = "labels"
    engine: str = "diffusers"
    model: Annotated[str, Field(min_length=1)] = "pictograms"

    @classmethod
    def chosen(cls, values: Mapping[str, Any]) -> type[Self]:
        engine = cls._member(ENGINES, "engine", values)
        mode = values.get("mode", cls.model_fields["mode"].default)
        if mode not in engine.modes:
            name = values.get("engine", cls.model_fields["engine"].default)
            cls._refuse("mode", f"the engine {name} draws in {', '.join(engine.modes)}, not in {mode}: set one", mode)
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
            has_one_model = len(set(in_modes.values())) == 1
            for mode, model in in_modes.items():
                models[f"engine {name}" if has_one_model else f"mode {mode}"] = model
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
        """Whether prompts say how to change a real image."""
        return False

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Width and height of the images in pixels. None for the size of the model."""
        return None, None

    @property
    def drawn_steps(self) -> int:
        """The number of steps for an image."""
        return 1

    @property
    def evaluations(self) -> float:
        """The number of network evaluations for an image: one in each step, and two in a guided step."""
        return 1.0

    @property
    def precision(self) -> str:
        """The precision of most of the computation."""
        return FLOAT32

    def sampling(self) -> dict[str, Any]:
        """Return the settings, besides the weights, that decide the images, as flat JSON."""
        return self.model_dump(mode="json", exclude={"model", *self.unsampled})


class PromptConfig(Section):
    """How class names become prompts.

    A CLIP knows the classes by the same prompts. If they are instructions (`mode: edit`), it gets the default ones.

    `strategy: single` uses the first template, `diverse` uses all in turn, `list` uses the prompts of a file.

    `templates` is "pictograms", "openai" (the 80 of CLIP, the default for other data), or a list of texts with one
    ``{}`` each.

    `file` belongs to `strategy: list`. It is a text file with one template on each line, or a .json file that maps each
    class (id or name) to a list of complete prompts.

    `negative_prompt` says what an image should not show.
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
        if self.strategy == "list" and self.differs("templates"):
            raise ValueError("strategy list does not use the key templates: leave it out, its prompts are in file")
        return self


class GenerateConfig(Section):
    """Size of a generated dataset.

    `split: val` makes a validation dataset. It has other keys and seeds, and starts from validation images if its mode
    needs real ones. No arm may train on it. `genrobust benchmark` scores on it.

    `per_class` is the number of images of each class.

    `shard_size` is the number of images of each shard.

    `batch_size` is the number of images of each batch. It is halved if the memory is too small.
    """

    split: Literal["train", "val"] = "train"
    per_class: PerClass = 50
    shard_size: Annotated[StrictInt, Field(ge=1, le=100_000)] = 500
    batch_size: Annotated[StrictInt, Field(ge=1, le=4096)] = 50
    prompts: PromptConfig = PromptConfig()


def count_dropped(share: float, images: int) -> int:
    """Return how many of the `images` of a class a filter with `drop: share` leaves out.

    It rounds down, so that no class becomes empty.
    """
    # The small number mends products such as 0.29 * 100 = 28.999999999999996.
    return int(share * images + 1e-9)


class FilterConfig(Section):
    """Leaves out generated images that do not show their label. A classifier, a CLIP or a person judges them.

    `by: classifier` scores an image by the probability of its label; `clip` by the cosine between the image and the
    prompts of its class; `list` leaves out the images that a person rejected with `genrobust view`.

    `arm` is the arm whose classifier judges, for `by: classifier`.

    `clip` is a folder, or "pictograms" for the embedded CLIP.

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
        has_drop, has_threshold = self.drop is not None, self.threshold is not None
        if self.by == "list" and (has_drop or has_threshold):
            raise ValueError("by: list uses neither drop nor threshold: leave them out, file names the images")
        if self.by != "list" and has_drop == has_threshold:
            raise ValueError("give either drop, a share of each class, or threshold, the lowest score that stays")
        if self.by != "classifier" and self.differs("arm"):
            raise ValueError(f"arm: it belongs to by: classifier, and by is {self.by}: leave it out")
        if (self.by == "clip") == (self.clip is None):
            raise ValueError("give the key clip, a folder, with by: clip, and only then")
        return self

    def in_words(self) -> str:
        """Describe the rule: "the lowest 30 % of each class, by the classifier of the arm real"."""
        if self.file is not None:
            return f"the images that {self.file.name} rejects"
        if self.drop:
            which = f"the lowest {100 * self.drop:g} % of each class"
        else:
            which = f"images that score below {self.threshold:g}"
        if self.by == "clip":
            judge = f"the CLIP {self.clip}"
        else:
            judge = f"the classifier of the arm {self.arm}"
        return f"{which}, by {judge}"


class DatasetConfig(Section):
    """A further generated dataset, described by its differences from the recipe's own, "generated".

    `finetuned` samples after fine-tuning on the real training images (section `finetune`).

    `from_scratch` samples in mode class from a model that is trained on these images alone (section `class_model`).

    `filter` leaves out some of the images.

    `data_seed` draws other images from the same prompts. The difference shows how much depends on the draw.

    `generator` overrides keys of the section `generator`, nested keys too.

    `generate` overrides keys of the section `generate`, nested keys too.

    `class_model` overrides keys of the section `class_model`, so that a study may have several such models.
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
        for key in NAMES_A_GENERATOR:
            if key in self.generator:
                raise ValueError(f"generator.{key}: from_scratch trains its own generator: leave it out")
        mode = self.generator.get("mode", "class")
        if mode != "class":
            raise ValueError(f"generator.mode: from_scratch has mode class, not {mode}")
        return self
