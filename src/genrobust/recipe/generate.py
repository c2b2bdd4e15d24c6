"""Generators, prompts, generated datasets and their filters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from genrobust.recipe.names import Name
from genrobust.recipe.numbers import LARGER, MEMORY, Between, PerClass, PositiveFraction, Seed
from genrobust.recipe.section import Place, PlainValues, Section
from genrobust.recipe.server import ServerConfig


class LoraConfig(Section):
    """A low-rank adaptation (LoRA), multiplied by `scale` and added to the generator's weights.

    `model` is a .safetensors file, a folder that holds one, or a hub id; `revision` is a branch, tag or commit on the
    hub. A text in place of the section means `model`.
    """

    model: str
    revision: str | None = None
    scale: Annotated[float, Between(-1000, 1000, "images turn to noise")] = 1.0


class AdapterConfig(Section):
    """An adapter that lets a text-to-image model draw from a real image: an IP-Adapter or a FLUX Redux.

    An IP-Adapter (Ye et al., 2023, arXiv 2308.06721) is for Stable Diffusion 1, 2 or XL; a FLUX Redux is for FLUX.1.
    `model` is a folder or a hub id, `revision` a branch, tag or commit on the hub, and `scale` the weight of the
    image. For an IP-Adapter, `file` is the .safetensors file in `model`, and `image_encoder` the folder of its CLIP
    there. A text in place of the section means `model`.
    """

    model: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    file: str = "models/ip-adapter_sd15.safetensors"
    image_encoder: str = "models/image_encoder"
    scale: Annotated[float, Between(0, 10, "images turn to noise")] = 1.0


# Keys of GeneratorConfig that a mode does not use: any value but the default is refused.
UNUSED_BY_MODE: dict[str, tuple[str, ...]] = {
    "labels": ("strength", "adapter"),
    "images": ("strength", "lora", "guidance_until"),
    "labels+images": ("adapter",),
    "class": ("strength", "lora", "adapter", "guidance_until", "width", "height", "safety_checker"),
}

# The same of the engines that come with genrobust.
UNUSED_BY_ENGINE: dict[str, tuple[str, ...]] = {
    "diffusers": ("server",),
    "openai": (
        *("alternatives", "variant", "lora", "adapter", "strength", "scheduler", "guidance_until", "safety_checker"),
        *("compile", "attention", "offload", "quantize", "cache", "slicing", "tiling"),
    ),
}


class GeneratorConfig(Section):
    """A generator: what it is conditioned on, its model, and how it samples.

    `mode` is the condition: `labels` (a prompt with the class name), `images` (a real image of the class, through its
    CLIP embedding, or through the `adapter` of a text-to-image model), `labels+images` (a prompt and a real image that
    is noised by `strength`: near 0 keeps the image, 1 ignores it), or `class` (the class number, for a
    class-conditional model). `model` is "pictograms" (the embedded one for the mode), a folder, or a hub id;
    `alternatives` are tried in order if it is not available. A key that is None keeps the pipeline's own value.

    `dtype: auto` is the fastest that the hardware supports: bfloat16, else float16, or float32 on a CPU without
    bfloat16 instructions. The recipe in a report and the hashes in folder names record the chosen value.

    `guidance_until` is the share of the steps, from the first, that use guidance: early steps decide what the image
    shows, and a step without guidance takes half the time.

    `safety_checker` is off by default: every image that the generator makes enters the dataset, and a generator trained
    on web images may make images that are not fit to be seen or published. If it is on, images that the generator's own
    checker flags are sampled again, even wrongly flagged ones, which costs time and shifts the dataset.

    The last keys are for speed and memory. `compile: auto` compiles the blocks of a UNet, or the repeated
    blocks of a transformer that has such, for a dataset of 2,000 images or more on a GPU, unless single layers of it
    wait in main memory. `offload: auto` keeps only what is computing on
    the GPU (`model`: one part, `group`: one layer) if not everything fits; on a CPU it does nothing. `quantize` stores
    the weights of the large parts in 8 or 4 bits. `cache` skips the network where its first block changes little
    (`first-block`; one image at a time), or extrapolates its attention in four of five steps after the third
    (`taylor-seer`: Liu and others, 2025). `attention` chooses another implementation. These change the images, as does
    `tiling`, which decodes an image in tiles. `slicing` decodes one image after another, as is done anyway where a
    batch does not fit.
    """

    mode: Literal["labels", "images", "labels+images", "class"] = "labels"
    engine: str = "diffusers"  # openai: a server; or one of the entry point group genrobust.engines
    model: Annotated[str, Field(min_length=1)] = "pictograms"
    alternatives: tuple[str, ...] = ()
    revision: str | None = None
    variant: str | None = None
    lora: LoraConfig | None = None
    adapter: AdapterConfig | None = None  # for mode images, with a text-to-image model
    strength: PositiveFraction = 0.6  # keeps pose and layout, changes surfaces and background
    scheduler: Literal["dpmsolver++", "ddim", "euler", "euler-trailing", "unipc", "lcm"] | None = "dpmsolver++"
    steps: Annotated[int, Between(1, 1000, "diffusion models know 1,000 noise levels")] = 15
    guidance_scale: Annotated[float, Between(0, 1000, "images turn to noise")] = 3.0
    guidance_until: PositiveFraction = 1.0
    width: Annotated[int, Between(8, 8192, LARGER)] | None = None
    height: Annotated[int, Between(8, 8192, LARGER)] | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    safety_checker: bool = False
    compile: Literal["auto"] | bool = "auto"
    attention: Literal["native", "flash", "flash-3", "sage", "xformers", "flex", "cudnn"] | None = None
    offload: Literal["auto", "none", "model", "group"] = "auto"
    quantize: Literal["torchao-int8", "torchao-float8"] | None = None
    cache: Literal["first-block", "taylor-seer"] | None = None
    slicing: bool = False
    tiling: bool = False
    server: ServerConfig | None = None

    @field_validator("lora", "adapter", mode="before")
    @classmethod
    def _accept_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_mode(self) -> GeneratorConfig:
        unused = {
            f"mode {self.mode}": UNUSED_BY_MODE[self.mode],
            f"engine {self.engine}": UNUSED_BY_ENGINE.get(self.engine, ()),
            "engine openai, with these server.sends,": self._unsent,
        }
        for who, keys in unused.items():
            for key in keys:
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{who} does not use the key {key}: leave it at its default")
        if self.quantize is not None and self.lora is not None:
            raise ValueError("quantize: a LoRA cannot be merged into quantized weights: leave one of them out")
        if self.engine == "openai" and self.server is None:
            raise ValueError("engine openai needs the key server.url: the address of a server")
        if self.server is not None and (self.width is None) != (self.height is None):
            raise ValueError("give both width and height, or none")
        if self.guidance_until < 1 and self.guidance_scale <= 1:
            raise ValueError(
                f"guidance_until: a guidance_scale of {self.guidance_scale:g} guides no step: raise it above 1, or "
                "leave guidance_until out"
            )
        if self.mode == "labels+images" and int(self.steps * self.strength) < 1:
            raise ValueError(
                f"strength {self.strength} of {self.steps} steps leaves no step to sample with: raise strength or steps"
            )
        return self

    @property
    def unused(self) -> tuple[str, ...]:
        """The keys that the mode and the engine do not use; no image depends on them."""
        precision = ("dtype",) if self.engine == "openai" else ()  # resolved for this machine, and the server's affair
        return (*UNUSED_BY_MODE[self.mode], *UNUSED_BY_ENGINE.get(self.engine, ()), *self._unsent, *precision)

    @property
    def _unsent(self) -> tuple[str, ...]:
        return self.server.unused if self.engine == "openai" and self.server is not None else ()

    @property
    def reads_text(self) -> bool:
        """Whether images depend on prompts."""
        return self.mode in ("labels", "labels+images")

    @property
    def draws_singly(self) -> bool:
        """Whether images are drawn one by one: what this cache skips would depend on the rest of a batch."""
        return self.cache == "first-block"

    @property
    def reads_images(self) -> bool:
        """Whether images depend on real images of the training split."""
        return self.mode in ("images", "labels+images")


class PromptConfig(Section):
    """How classes become prompts: `single` uses one template, `diverse` many in turn, `list` the prompts of a file.

    `templates` is "pictograms", "openai" (the 80 of CLIP), or a list of texts with one ``{}`` each; the default is
    "pictograms" for Pictograms and its generator, and "openai" for all others. `file`, for `list`,
    is a text file with one such template on each line, or a .json file that maps each class (its id or name) to a list
    of full prompts, such as those that a language model writes.

    `without_styles` leaves out the templates of the set "pictograms" that name these styles.
    """

    strategy: Literal["single", "diverse", "list"] = "diverse"
    templates: str | tuple[str, ...] = "pictograms"
    file: Place | None = None
    negative_prompt: str = ""
    without_styles: tuple[str, ...] = Field(default=(), exclude_if=lambda styles: not styles)

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

    `split: val` makes a validation dataset: its keys and seeds differ from those of training data at any size, and
    modes that start from real images use those of the validation split. No arm may train on it; `genrobust benchmark`
    scores on it.
    """

    split: Literal["train", "val"] = "train"
    per_class: PerClass = 50
    shard_size: Annotated[int, Between(1, 100_000, "memory holds the metadata of a whole shard")] = 500
    batch_size: Annotated[int, Between(1, 4096, MEMORY)] | Literal["auto"] = 50  # auto: the best on the GPU, measured
    prompts: PromptConfig = PromptConfig()
    max_redraws: Annotated[int, Between(1, 1000, "what fails so often never succeeds")] = (
        5  # how often a black, blank or NaN image is sampled again
    )


class FilterConfig(Section):
    """Leaves out generated images that do not show their label, judged by a classifier or a CLIP.

    `by: classifier` scores an image by the probability that the classifier of `arm`, of the study's first seed, gives
    to its label. `by: clip` scores it by the cosine of image and class name in the CLIP `clip`: a folder, or
    "pictograms", the embedded one. Give either `drop`, the share of each class to leave out, or `threshold`, the lowest
    score to keep.
    """

    by: Literal["classifier", "clip"] = "classifier"
    arm: Name = "real"
    clip: str | None = None
    drop: Annotated[float, Between(0, 1, "it is a share", above=True, below=True)] | None = None
    threshold: Annotated[float, Between(-1000, 1000, "scores are cosines or probabilities")] | None = None

    @model_validator(mode="after")
    def _check_rule(self) -> FilterConfig:
        if (self.drop is None) == (self.threshold is None):
            raise ValueError("give either drop, a share of each class, or threshold, the lowest score that stays")
        if (self.by == "clip") == (self.clip is None):
            raise ValueError("give the key clip, a folder, with by: clip, and only then")
        return self

    def in_words(self) -> str:
        """ "the lowest 30 % of each class, by the classifier of the arm real"."""
        which = f"the lowest {100 * self.drop:g} % of each class" if self.drop else f"those below {self.threshold:g}"
        return f"{which}, by " + (
            f"the CLIP {self.clip}" if self.by == "clip" else f"the classifier of the arm {self.arm}"
        )


class DatasetConfig(Section):
    """A further generated dataset of a study, defined by changes to the recipe's own dataset, "generated".

    `generator` and `generate` override keys of the recipe's sections of these names, nested ones too; keys that another
    mode does not use are not inherited. `finetuned` samples from the generator after fine-tuning on the real training
    images (section `finetune`). `from_scratch` samples in mode class from a transformer that is trained on these images
    alone (section `class_model`). `filter` leaves out some of the images. `data_seed` draws other images from the same
    prompt templates: two datasets that differ in nothing else show how much a result depends on the draw.
    """

    finetuned: bool = False
    from_scratch: bool = False
    filter: FilterConfig | None = None
    data_seed: Seed | None = None  # None: the recipe's
    generator: PlainValues = Field(default_factory=dict)
    generate: PlainValues = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_generator(self) -> DatasetConfig:
        if not self.from_scratch:
            return self
        if self.finetuned:
            raise ValueError("finetuned and from_scratch exclude each other: choose one")
        if given := [key for key in ("model", "alternatives", "revision", "variant") if key in self.generator]:
            raise ValueError(f"generator.{given[0]}: from_scratch trains its own generator: leave it out")
        if self.generator.get("mode", "class") != "class":
            raise ValueError(f"generator.mode: from_scratch has mode class, not {self.generator['mode']}")
        return self
