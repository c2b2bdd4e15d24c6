"""The keys of the diffusers engine: for every mode, and shared by several modes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictFloat

from genrobust.recipe import GeneratorConfig, Section, short_for

STEPS = Field(strict=True, ge=1, le=1000)
GUIDANCE = Field(strict=True, ge=0, le=1000)
SIZE = Field(strict=True, ge=8, le=8192)


class LoraConfig(Section):
    """A low-rank adaptation (LoRA) of the generator's weights. A text in its place means `model`.

    `model` is a .safetensors file, a folder that holds one, or a hub id.

    `revision` is a branch, tag or commit on the hub.
    """

    model: str
    revision: str | None = None
    scale: Annotated[StrictFloat, Field(ge=-1000, le=1000)] = 1.0


class AdapterConfig(Section):
    """An adapter that lets a text-to-image model draw from a real image. A text in its place means `model`.

    `model` is a folder or a hub id: an IP-Adapter (Ye et al., 2023, arXiv 2308.06721) for Stable Diffusion 1, 2 or XL.

    `revision` is a branch, tag or commit on the hub.

    `file` is the .safetensors file of an IP-Adapter in `model`.

    `image_encoder` is the folder of its CLIP there.

    `scale` is the weight of the image.
    """

    model: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    file: str = "models/ip-adapter_sd15.safetensors"
    image_encoder: str = "models/image_encoder"
    scale: Annotated[StrictFloat, Field(ge=0, le=10)] = 1.0


class DiffusersConfig(GeneratorConfig):
    """A diffusers pipeline, in any mode. A key that is None keeps the pipeline's own value.

    `dtype: auto` is the fastest that the hardware supports: bfloat16, else float16, or float32 on a CPU without
    bfloat16 instructions.

    `compile` (`torch.compile`) takes about a minute in each process, and pays for some thousand images on a GPU.

    `offload: auto` keeps only the computing part (`model`) or layer (`group`) on the GPU if not everything fits.
    """

    unsampled: ClassVar[tuple[str, ...]] = ("revision", "variant", "lora", "adapter", "offload")

    revision: str | None = None
    variant: str | None = None
    scheduler: Literal["dpmsolver++", "ddim", "euler", "euler-trailing", "unipc", "lcm"] | None = "dpmsolver++"
    steps: Annotated[int, STEPS] = 15
    guidance_scale: Annotated[float, GUIDANCE] = 3.0
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = False
    offload: Literal["auto", "none", "model", "group"] = "auto"

    @property
    def drawn_steps(self) -> int:
        return self.steps

    @property
    def evaluations(self) -> float:
        is_guided = self.guidance_scale > 1
        return self.drawn_steps * (2 if is_guided else 1)

    @property
    def precision(self) -> str:
        return self.dtype

    def sampling(self) -> dict[str, Any]:
        sampling = super().sampling()
        for name in ("lora", "adapter"):
            addition = getattr(self, name, None)
            if addition is not None:
                sampling[f"{name}_scale"] = addition.scale
        return sampling


class SizedConfig(DiffusersConfig):
    """Images of any size.

    `safety_checker` samples flagged images again, even wrongly flagged ones, which shifts the dataset. Off by default:
    a generator trained on web images may then draw images that are not fit to be published.
    """

    width: Annotated[int, SIZE] | None = None
    height: Annotated[int, SIZE] | None = None
    safety_checker: bool = False

    @property
    def size(self) -> tuple[int | None, int | None]:
        return self.width, self.height


class PromptedConfig(SizedConfig):
    """A prompt."""

    lora: Annotated[LoraConfig | None, short_for("model")] = None


class AdaptedConfig(SizedConfig):
    """A real image, through its CLIP embedding, or through the `adapter` of a text-to-image model."""

    adapter: Annotated[AdapterConfig | None, short_for("model")] = None
