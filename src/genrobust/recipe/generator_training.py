"""Training of a diffusion model on the user's images: the sections `finetune` and `class_model`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictInt, model_validator

from genrobust.recipe.numbers import Average, Batch, Rate, Steps, Threads, WarmupSteps
from genrobust.recipe.section import Section, later_key

# Pixels a side. From an image of 64 px, a U-Net on 16 x 16 latents learns shapes, and one on 8 x 8 only colors.
PATCH = 4
HEAD = 32  # channels of an attention head of a class model
Channels = Annotated[StrictInt, Field(ge=HEAD, le=8192)]


class GeneratorTraining(Section):
    """Training of a generator on the user's images.

    It runs alone, so it is fastest with as many `threads` as there are cores.

    `accumulate` is the number of parts in which a batch passes through the model. The gradients stay the same, and the
    memory is less.

    `ema_decay` is the decay of the weight average, 0 for no average. The first steps average over fewer steps.

    `flip` mirrors half of the images. It is wrong for images with text, or if left and right matter.

    `gradient_checkpointing` needs less memory and a third more time.

    `precision` is as in `train`.

    `save_every` is the number of steps between two saved states, `null` for one a minute. A killed run repeats the
    steps after the last saved state.

    `threads` is the number of CPU threads, `null` for the recipe's number.
    """

    section: ClassVar[str]  # the key in a recipe
    noun: ClassVar[str]  # the name of the model in messages

    steps: Steps = 700
    batch_size: Batch = 64
    accumulate: Batch = 1
    learning_rate: Rate = 1e-4
    warmup_steps: WarmupSteps = 50
    ema_decay: Average = 0.999
    flip: bool = False
    gradient_checkpointing: bool = False
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    save_every: Steps | None = None
    threads: Threads | None = later_key(None)

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} of {self.steps} steps: lower it, or raise steps, so that some "
                "steps have the full learning rate"
            )
        return self


class FinetuneConfig(GeneratorTraining):
    """Fine-tuning of the generator's UNet.

    Captions are the recipe's prompts. A tenth of them is empty, for classifier-free guidance.

    `method: full` trains all weights. `lora` trains low-rank additions to the attention layers and saves only them.

    `lora_rank` is the rank of these additions.
    """

    section = "finetune"
    noun = "fine-tune"

    method: Literal["full", "lora"] = "full"
    lora_rank: Annotated[StrictInt, Field(ge=1, le=4096)] = 16


class ClassModelConfig(GeneratorTraining):
    """Training of a class-conditional diffusion model from scratch.

    It learns an embedding for each class and, if the images have several, for each style. So it can draw a class in a
    style in which it has never seen it. For classifier-free guidance, a tenth of the images has no class, and a tenth
    no style.

    `images: train` learns the real training images. `pool` also learns the labeled images to retrieve
    (`data.retrieved`), and `pool+withheld` also the images that are excluded from them.

    `channels` are the channels of its U-Net (DDPM, Ho et al., 2020) at each level, a multiple of 32, because an
    attention head has 32.

    `components` is the number of principal components of patches of 4 x 4 pixels. They replace the generator's
    autoencoder, for images that it does not know.
    """

    section = "class_model"
    noun = "class model"

    images: Literal["train", "pool", "pool+withheld"] = "train"
    channels: Annotated[tuple[Channels, ...], Field(min_length=2, max_length=6)] = (64, 96, 128)
    components: Annotated[StrictInt, Field(ge=1, le=3 * PATCH**2)] | None = None
    # 370 passes over 1,378 icons in batches of 64. After 1,200 steps, the model does not separate the classes.
    steps: Steps = 8000
    # A high rate, because the steps are few and the model is small.
    learning_rate: Rate = 1e-3

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        for number in self.channels:
            if number % HEAD:
                raise ValueError(f"{number} channels are no multiple of {HEAD}, those of an attention head")
        return self
