"""Training of a diffusion model on the user's images: a fine-tune, or a class model from scratch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictInt, model_validator

from genrobust.recipe.numbers import Average, Batch, Rate, Steps, Threads, WarmupSteps
from genrobust.recipe.section import Section, later_key

PATCH = 4  # pixels a side: a U-Net on 16 x 16 latents of an image of 64 px learns shapes, one on 8 x 8 colors alone
HEAD = 32  # channels of an attention head of a class model
Channels = Annotated[StrictInt, Field(ge=HEAD, le=8192)]


class GeneratorTraining(Section):
    """Training of a generator on the user's images.

    `section` is the key of the section in a recipe, `noun` the name of the model. It runs alone: fastest with as many
    `threads` as there are cores.
    """

    section: ClassVar[str]
    noun: ClassVar[str]

    steps: Steps = 700
    batch_size: Batch = 64
    accumulate: Batch = 1  # parts in which a batch passes the model: same gradients, less memory
    learning_rate: Rate = 1e-4
    warmup_steps: WarmupSteps = 50
    ema_decay: Average = 0.999  # 0 turns the weight average off; early steps average over fewer
    flip: bool = False  # mirrors half of the images; wrong where text or left and right matter
    gradient_checkpointing: bool = False  # less memory for a third more time
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"  # as in `train`
    save_every: Steps | None = None  # steps; None: each minute. A killed run loses at most these
    threads: Threads | None = later_key(None)  # None: the recipe's, of a worker

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

    `method: full` trains every weight; `lora` trains low-rank additions to the attention layers and saves only them.
    Captions are the recipe's prompts, a tenth of them empty for classifier-free guidance.
    """

    section = "finetune"
    noun = "fine-tune"

    method: Literal["full", "lora"] = "full"
    lora_rank: Annotated[StrictInt, Field(ge=1, le=4096)] = 16


class ClassModelConfig(GeneratorTraining):
    """Training of a class-conditional diffusion model from scratch.

    It learns class and style (where the images have several), each by an embedding of its own, and so draws a class in
    a style in which it has never seen it. A tenth of the images comes without its class, for classifier-free guidance,
    and a tenth without its style.

    `images: train` learns the real training images, `pool` these and the labeled images to retrieve (`data.retrieved`),
    `pool+withheld` also those that are excluded from them.

    `channels` are those of its U-Net (DDPM, Ho et al., 2020) at each level, 32 for each attention head.

    `components` is the number of principal components of patches of 4 x 4 pixels that replace the generator's
    autoencoder, for images that this does not know.
    """

    section = "class_model"
    noun = "class model"

    images: Literal["train", "pool", "pool+withheld"] = "train"
    channels: Annotated[tuple[Channels, ...], Field(min_length=2, max_length=6)] = (64, 96, 128)
    components: Annotated[StrictInt, Field(ge=1, le=3 * PATCH**2)] | None = None
    steps: Steps = 8000  # of 64: 370 passes over 1,378 icons; with 1,200 steps it did not separate the classes
    learning_rate: Rate = 1e-3  # high: few steps, and a small model

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        if wrong := [number for number in self.channels if number % HEAD]:
            raise ValueError(f"{wrong[0]} channels are no multiple of {HEAD}, those of an attention head")
        return self
