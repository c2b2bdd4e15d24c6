"""The sections of a recipe, typed; an unknown key is refused. `recipe.py` puts them together and reads the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a recipe. Frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ShiftConfig(Section):
    """One shifted test set: what `kind` of set lies at `path`. A path alone means `kind: folders`.

    `folders` has the training set's class folders, tars or parquet files; the other kinds are ImageNet's shifted sets
    in their official layout. `map`, of `objectnet` alone, says which of a label's ImageNet classes are right: all
    ("one-to-many", the default) or the first ("paper": Bansal and Grover, 2023). `corruption` and `severity`, of
    `imagenet-c` alone, choose among its sets; None takes all, each a test set of its own.
    """

    kind: Literal[
        "folders", "imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a", "imagenet-c", "objectnet"
    ] = "folders"
    path: Path
    map: Literal["one-to-many", "paper"] | None = None
    corruption: str | None = None
    severity: Annotated[int, Field(ge=1, le=5)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> ShiftConfig:
        if self.map is not None and self.kind != "objectnet":
            raise ValueError(f"map belongs to kind: objectnet, not to {self.kind}")
        if (self.corruption is not None or self.severity is not None) and self.kind != "imagenet-c":
            raise ValueError(f"corruption and severity belong to kind: imagenet-c, not to {self.kind}")
        return self


class DataConfig(Section):
    """Where the real images come from.

    `source: pictograms` is the embedded benchmark and needs no other key. `source: folders` reads image folders: one
    subfolder a class in `train`, `val` (None: a tenth of train is held back), `test` (the unshifted test set) and each
    of `shifts`. `class_names` maps a folder's name to the name shown and prompted; `same_class` maps a folder name of a
    shifted set to the training folder it means.

    `source: imagenet` reads ImageNet-1k from `root`, or from `train` and `test`; ImageNet's own validation images are
    the unshifted test set. `classes` is "all", "imagenet100" (that of Bansal and Grover, 2023) or a text file of
    WordNet ids or labels. `class_names` is "unique" (the default), "openai" (CLIP's list, which has two pairs of the
    same name) or a mapping from WordNet id that changes single names of "unique".

    Each of these places is a folder of class folders, WebDataset tars, Hugging Face parquet files or a saved dataset.
    """

    source: Literal["pictograms", "folders", "imagenet"] = "pictograms"
    root: Path | None = None
    train: Path | None = None
    val: Path | None = None
    test: Path | None = None
    shifts: dict[str, ShiftConfig] = {}
    generated: Path | None = None
    retrieved: Path | None = None
    classes: str = "all"
    class_names: dict[str, str] | Literal["openai", "unique"] = {}
    same_class: dict[str, str] = {}

    @field_validator("class_names", mode="before")
    @classmethod
    def _known_list(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("openai", "unique"):
            raise ValueError(f"{value!r} is no list of names; there is openai and unique, or give a mapping")
        return value

    @model_validator(mode="after")
    def _keys_fit_the_source(self) -> DataConfig:
        if self.source == "folders" and (self.train is None or self.test is None):
            raise ValueError("source: folders needs the keys train and test")
        if self.source == "imagenet":
            if self.root is None and (self.train is None or self.test is None):
                raise ValueError(
                    "source: imagenet needs the key root, or train and test; test is the folder of ImageNet's "
                    "validation images, and val, if given, holds other images that choose a checkpoint"
                )
            return self
        own = {"root": self.root is not None, "classes": self.classes != "all"}
        own["class_names"] = isinstance(self.class_names, str)
        own |= {f"shifts.{name}.kind": shift.kind != "folders" for name, shift in self.shifts.items()}
        for key, given in own.items():
            if given:
                raise ValueError(f"{key}: what it says belongs to source: imagenet, not to source: {self.source}")
        return self


class LoraConfig(Section):
    """A low-rank adaptation of the generator, added to its weights `scale` times.

    `model` is a .safetensors file, a folder that holds one, or a hub id. A text alone in its place means `model`.
    """

    model: str
    scale: float = 1.0


# What each mode of GeneratorConfig leaves unused: set to anything but its default, it is refused.
UNUSED_BY_MODE: dict[str, tuple[str, ...]] = {
    "labels": ("strength",),
    "images": ("strength", "lora"),
    "labels+images": (),
    "class": ("strength", "lora", "width", "height", "safety_checker"),
}


class GeneratorConfig(Section):
    """A generator, as data: what it is conditioned on, a diffusers folder or hub id, and how it is sampled.

    `mode` is what an image is made from: `labels` (a prompt with the class's name), `images` (a real image of the
    class, through its CLIP embedding), `labels+images` (a prompt, beginning at a real image that is noised by
    `strength`: near 0 keeps it, 1 ignores it), or `class` (the class's number alone, for a class-conditional model).
    `model` is "pictograms" (the embedded one for the mode), a folder, or a hub id; `alternatives` are tried in order
    where it is not to be had. None keeps the pipeline's own value.

    `safety_checker` is off: whatever the generator draws enters the dataset, and a generator trained on web images may
    draw what is not fit to be seen or published. On, what the generator's own checker flags is drawn again, wrongly
    flagged images too, which costs time and shifts the dataset.
    """

    mode: Literal["labels", "images", "labels+images", "class"] = "labels"
    model: str = "pictograms"
    alternatives: tuple[str, ...] = ()
    revision: str | None = None
    variant: str | None = None
    lora: LoraConfig | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 0.6  # keeps pose and layout, redraws surfaces and background
    scheduler: Literal["dpmsolver++", "ddim", "euler", "unipc", "lcm"] | None = "dpmsolver++"
    steps: Positive = 15
    guidance_scale: Annotated[float, Field(ge=0)] = 3.0
    width: Positive | None = None
    height: Positive | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
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


class DiffusionTraining(Section):
    """How a diffusion model is trained on the real training images; `section` is its key in a recipe, `noun` its name.

    The defaults are for the embedded generator.
    """

    section: ClassVar[str]
    noun: ClassVar[str]

    steps: Positive = 700
    batch_size: Positive = 64
    accumulate: Positive = 1  # parts that a batch passes the model in: the same gradients, less memory
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    min_snr: Annotated[float, Field(gt=0)] | None = 5.0  # None weighs all noise levels alike
    ema_decay: Fraction = 0.999  # 0 turns the weight average off; early steps average over fewer
    flip: bool = False  # mirrors half of the images; wrong for classes that are text, or left and right
    gradient_checkpointing: bool = False  # less memory for a third more time
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    save_every: Positive = 100  # steps; a killed run loses at most these

    @model_validator(mode="after")
    def _steps_after_warmup(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} of {self.steps} steps: lower it, or raise steps, so that some "
                "are left at the full learning rate"
            )
        return self


class FinetuneConfig(DiffusionTraining):
    """How the generator's UNet is fine-tuned.

    `method` full trains every weight and saves a generator; `lora` trains low-rank additions to the attention layers
    and saves them alone. Captions are the recipe's own prompts; `caption_dropout` of them are empty, so that guidance
    goes on working.
    """

    section = "finetune"
    noun = "fine-tune"

    method: Literal["full", "lora"] = "full"
    caption_dropout: Fraction = 0.1
    lora_rank: Positive = 16


class ClassModelConfig(DiffusionTraining):
    """How a class-conditional diffusion transformer (DiT, Peebles and Xie 2023) is trained from scratch.

    `depth` blocks of `width` channels and `heads` attention heads work on the latents of the generator's autoencoder,
    in patches of `patch_size` x `patch_size`. `class_dropout` of the images come without their class, for guidance.
    """

    section = "class_model"
    noun = "class model"

    depth: Positive = 5
    width: Positive = 192
    heads: Positive = 6
    patch_size: Positive = 1
    class_dropout: Fraction = 0.1
    steps: Positive = 1200
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3  # ten times DiT's own: few steps, and a small model

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads or self.width % 4:
            raise ValueError(
                f"width is {self.width}: it must be a multiple of heads ({self.heads}), which share it, and of 4, for "
                "the sines and cosines that tell a patch's row and column"
            )
        return self


class MixturePart(Section):
    """A share of an arm's training images.

    `source` is real, generated, the name of one of the recipe's `datasets`, retrieved (as many images of each class and
    style from the generator's own training data) or retrieved-by-class (of each class, in any style). `per_class` takes
    at most so many of each class (a prefix of the generated ones); `fraction` takes that fraction of each class.
    `weight` is its share of every batch relative to the others'; None means in proportion to its number of images, as
    plain concatenation would.
    """

    source: str
    per_class: Positive | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    weight: Annotated[float, Field(gt=0)] | None = None


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
    generator: dict[str, Any] = {}
    generate: dict[str, Any] = {}

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
        if len({part.weight is None for part in self.mixture}) > 1:
            raise ValueError(f"arm {self.name!r}: give every part of the mixture a weight, or none")
        return self


class ZeroShotConfig(Section):
    """A CLIP that answers for the classes by their names alone, beside the arms: it was trained on other data.

    `clip` is a folder, or "pictograms", the embedded one. The texts of a class are the recipe's prompts.
    """

    clip: str


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
