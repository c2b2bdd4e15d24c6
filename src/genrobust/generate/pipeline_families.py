"""The pipelines of diffusers that draw from a prompt, by name, and how they are guided."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from genrobust.generate.pipeline_config import DiffusersConfig

# Words in the names of families that AutoPipeline knows but a study cannot use. Some need an edge map, a pose or an
# edit as input. An image of CogView4 depends on the longest prompt of its batch. GLM-Image takes no noise source for
# each image. Helios draws videos. Ideogram takes a schedule of guidance scales.
UNUSABLE = ("control", "kontext", "cogview4", "glm_image", "helios", "ideogram")
# Pipelines whose noise is drawn here. They are known before any pipeline is imported, which takes seconds.
STABLE_DIFFUSION = frozenset(
    {
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "LatentConsistencyModelPipeline",
        "LatentConsistencyModelImg2ImgPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
    }
)


def parameters_of(pipeline: Any) -> Any:
    """Return the parameters of the call of `pipeline`, an object or a class, by name."""
    return inspect.signature(pipeline.__call__).parameters


@cache
def _text_pipelines() -> dict[str, Any]:
    """Return the text-to-image pipelines of diffusers by their family in AutoPipeline."""
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    families = {}
    for family, pipeline in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items():
        is_usable = not any(word in family for word in UNUSABLE)
        if is_usable and "guidance_scale" in parameters_of(pipeline):
            families[family] = pipeline
    return families


def from_text() -> frozenset[str]:
    """Return the names of the pipelines that draw from a prompt."""
    return frozenset(pipeline.__name__ for pipeline in _text_pipelines().values())


def from_text_and_image() -> frozenset[str]:
    """Return the names of the pipelines of families that can draw from a prompt and start from an image.

    FLUX.2 is not one of them: it takes images as references, all images of a batch for each prompt.
    """
    from diffusers.pipelines.auto_pipeline import AUTO_IMAGE2IMAGE_PIPELINES_MAPPING

    families = _text_pipelines()
    names = set()
    for family, pipeline in AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.items():
        if family in families and "strength" in parameters_of(pipeline):
            names |= {pipeline.__name__, families[family].__name__}
    return frozenset(names)


def true_guidance(pipeline: Any) -> float:
    """Return the default of `true_cfg_scale`; 0 for a pipeline without it.

    It is classifier-free guidance of a network that also takes a guidance as an input. At 1 it is off, and the pipeline
    ignores a negative prompt.
    """
    parameters = parameters_of(pipeline)
    if "true_cfg_scale" not in parameters:
        return 0.0
    return float(parameters["true_cfg_scale"].default)


def guidance_arguments(pipeline: Any, config: DiffusersConfig) -> dict[str, Any]:
    """Return the arguments of the call that guide it."""
    scale = config.guidance_scale
    if true_guidance(pipeline) <= 1:
        return {"guidance_scale": scale}
    # Of Qwen-Image, only distilled models take a guidance as an input of the network.
    takes_input = pipeline.transformer.config.get("guidance_embeds")
    return {"guidance_scale": scale if takes_input else None, "true_cfg_scale": scale}
