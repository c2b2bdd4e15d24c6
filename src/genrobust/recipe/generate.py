"""What is generated, by which generator, and what of it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from genrobust.recipe.section import Positive, Section


class LoraConfig(Section):
    """A low-rank adaptation of the generator, added to its weights `scale` times.

    `model` is a .safetensors file, a folder that holds one, or a hub id. A text alone in its place means `model`.
    """

    model: str
    scale: float = 1.0


# What each mode of GeneratorConfig leaves unused: set to anything but its default, it is refused.
UNUSED_BY_MODE: dict[str, tuple[str, ...]] = {
    "labels": ("strength",),
    "images": ("strength", "lora", "guidance_until"),
    "labels+images": (),
    "class": ("strength", "lora", "guidance_until", "width", "height", "safety_checker"),
}


class GeneratorConfig(Section):
    """A generator, as data: what it is conditioned on, a diffusers folder or hub id, and how it is sampled.

    `mode` is what an image is made from: `labels` (a prompt with the class's name), `images` (a real image of the
    class, through its CLIP embedding), `labels+images` (a prompt, beginning at a real image that is noised by
    `strength`: near 0 keeps it, 1 ignores it), or `class` (the class's number alone, for a class-conditional model).
    `model` is "pictograms" (the embedded one for the mode), a folder, or a hub id; `alternatives` are tried in order
    where it is not found. None keeps the pipeline's own value.

    `dtype: auto` is what the hardware computes at full speed: bfloat16, else float16, and on a CPU without bfloat16
    instructions float32. The recipe of a report, and what names a folder, hold what it stood for.

    `guidance_until` is the share of the steps that are guided, the first ones: what is drawn is decided there, and a
    step without guidance takes half the time.

    `safety_checker` is off: whatever the generator draws enters the dataset, and a generator trained on web images may
    draw what is not fit to be seen or published. On, what the generator's own checker flags is drawn again, wrongly
    flagged images too, which costs time and shifts the dataset.
    """

    mode: Literal["labels", "images", "labels+images", "class"] = "labels"
    engine: str = "diffusers"  # or one that another package offers under the entry point group genrobust.engines
    model: str = "pictograms"
    alternatives: tuple[str, ...] = ()
    revision: str | None = None
    variant: str | None = None
    lora: LoraConfig | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 0.6  # keeps pose and layout, redraws surfaces and background
    scheduler: Literal["dpmsolver++", "ddim", "euler", "unipc", "lcm"] | None = "dpmsolver++"
    steps: Positive = 15
    guidance_scale: Annotated[float, Field(ge=0)] = 3.0
    guidance_until: Annotated[float, Field(gt=0, le=1)] = 1.0
    width: Positive | None = None
    height: Positive | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    safety_checker: bool = False

    @field_validator("lora", mode="before")
    @classmethod
    def _text_is_a_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _mode_uses_what_is_set(self) -> GeneratorConfig:
        for key in self.unused:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"mode {self.mode} does not use the key {key}: leave it at its default")
        if self.guidance_until < 1 and self.guidance_scale <= 1:
            raise ValueError(
                f"guidance_until: a guidance_scale of {self.guidance_scale:g} guides no step: raise it above 1, or "
                "leave guidance_until out"
            )
        if self.mode == "labels+images" and int(self.steps * self.strength) < 1:
            raise ValueError(
                f"strength {self.strength} of {self.steps} steps leaves no step to draw with: raise strength or steps"
            )
        return self

    @property
    def unused(self) -> tuple[str, ...]:
        """The keys that the mode does not use; they decide no image."""
        return UNUSED_BY_MODE[self.mode]

    @property
    def reads_text(self) -> bool:
        """Whether prompts enter the images."""
        return self.mode in ("labels", "labels+images")

    @property
    def reads_images(self) -> bool:
        """Whether real images of the training split enter the images."""
        return self.mode in ("images", "labels+images")


class PromptConfig(Section):
    """How classes become prompts: `single` is one template for all, `diverse` deals out many, `list` those of a file.

    `templates` is "pictograms", "openai" (the 80 of CLIP), or a list of texts with one ``{}`` each. `file`, for `list`,
    is a text file with one such template a line, or a .json file that maps each class (its id or name) to a list of
    full prompts, as language models write them.
    """

    strategy: Literal["single", "diverse", "list"] = "diverse"
    templates: str | tuple[str, ...] = "pictograms"
    file: Path | None = None
    negative_prompt: str = ""

    @model_validator(mode="after")
    def _file_is_for_list(self) -> PromptConfig:
        if self.strategy == "list" and self.file is None:
            raise ValueError("strategy list needs the key file: a text file of templates, or a .json file of prompts")
        if self.strategy != "list" and self.file is not None:
            raise ValueError(f"strategy {self.strategy} does not use the key file: leave it out, or take strategy list")
        if self.strategy == "list" and self.templates != type(self).model_fields["templates"].default:
            raise ValueError("strategy list does not use the key templates: leave it out, its prompts are in file")
        return self


class GenerateConfig(Section):
    """What is generated: `per_class` images of each class, `shard_size` a shard, `batch_size` at once.

    `split: val` makes a validation part: other keys and seeds than training's at any amount, and, in the modes that
    begin from real images, those of the validation split. No arm may train on it; `genrobust benchmark` scores on it.
    """

    split: Literal["train", "val"] = "train"
    per_class: Positive = 50
    shard_size: Positive = 500
    batch_size: Positive = 50
    prompts: PromptConfig = PromptConfig()
    max_redraws: Positive = 5  # a black, blank or NaN image is drawn again at most so often


class FilterConfig(Section):
    """Leaves out generated images that do not show their label, as a classifier or a CLIP sees them.

    `by: classifier` takes the probability that the classifier of `arm`, of the study's first seed, gives to the label;
    `by: clip` the cosine of image and class in the CLIP `clip`: a folder, or "pictograms", the embedded one. Either
    `drop`, the share of each class that goes, or `threshold`, the lowest score that stays.
    """

    by: Literal["classifier", "clip"] = "classifier"
    arm: str = "real"
    clip: str | None = None
    drop: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: float | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> FilterConfig:
        if (self.drop is None) == (self.threshold is None):
            raise ValueError("give either drop, a share of each class, or threshold, the lowest score that stays")
        if (self.by == "clip") == (self.clip is None):
            raise ValueError("the key clip, a folder, goes with by: clip, and with nothing else")
        return self

    def in_words(self) -> str:
        """ "the lowest 30 % of each class, by the classifier of the arm real"."""
        which = f"the lowest {100 * self.drop:g} % of each class" if self.drop else f"those below {self.threshold:g}"
        return f"{which}, by " + (
            f"the CLIP {self.clip}" if self.by == "clip" else f"the classifier of the arm {self.arm}"
        )


class DatasetConfig(Section):
    """A further generated dataset of a study: what it has otherwise than the recipe's own, the one called "generated".

    `generator` and `generate` override keys of the recipe's sections of these names, nested ones too; what another mode
    does not use is not taken over. `finetuned` draws with the generator as the recipe's `finetune` section makes it
    from the real training images, `from_scratch` in mode class with a transformer that has seen these images alone, as
    the `class_model` section says. `filter` leaves out some of what was drawn.
    """

    finetuned: bool = False
    from_scratch: bool = False
    filter: FilterConfig | None = None
    generator: dict[str, Any] = Field(default_factory=dict)
    generate: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_generator(self) -> DatasetConfig:
        if not self.from_scratch:
            return self
        if self.finetuned:
            raise ValueError("finetuned and from_scratch are two ways to a generator: choose one")
        if given := [key for key in ("model", "alternatives", "revision", "variant") if key in self.generator]:
            raise ValueError(f"generator.{given[0]}: from_scratch trains its own generator: leave it out")
        if self.generator.get("mode", "class") != "class":
            raise ValueError(f"generator.mode: from_scratch draws in mode class, not {self.generator['mode']}")
        return self
