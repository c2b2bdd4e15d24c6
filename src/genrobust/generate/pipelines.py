"""The pipelines of diffusers that draw from a prompt, by name, and how they are guided."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from genrobust.generate.pipeline_config import DiffusersConfig

# Families that AutoPipeline knows. Those steered by an edge map, a pose or an edit want more than a study has; an image
# of CogView4 depends on the longest prompt of its batch, GLM-Image takes no source of noise for each image, and Helios
# draws videos. Some take no `guidance_scale`, or a schedule of it.
_OTHERS = ("control", "kontext", "cogview4", "glm_image", "helios", "ideogram")
STABLE_DIFFUSION = frozenset(  # and its kin: known before any pipeline is imported, and their noise is drawn here
    {
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "LatentConsistencyModelPipeline",
        "LatentConsistencyModelImg2ImgPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
    }
)


@cache
def _families() -> dict[str, Any]:
    """The text-to-image pipelines of diffusers, by the family that AutoPipeline knows them by."""
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    return {
        family: pipeline
        for family, pipeline in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items()
        if not any(word in family for word in _OTHERS)
        and "guidance_scale" in inspect.signature(pipeline.__call__).parameters
    }


def from_text() -> frozenset[str]:
    """Return the pipelines of diffusers that draw from a prompt."""
    return frozenset(pipeline.__name__ for pipeline in _families().values())


def from_text_and_image() -> frozenset[str]:
    """Return the pipelines of families that draw from a prompt, beginning at an image.

    FLUX.2 is none: it takes images as references, all of a batch for each.
    """
    from diffusers.pipelines.auto_pipeline import AUTO_IMAGE2IMAGE_PIPELINES_MAPPING

    families = _families()
    return frozenset(
        kind.__name__
        for family, pipeline in AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.items()
        if family in families and "strength" in inspect.signature(pipeline.__call__).parameters
        for kind in (pipeline, families[family])
    )


def true_guidance(pipeline: Any) -> float:
    """Return the pipeline's own strength of a guidance beside the one that its network takes as an input; 0 for none.

    At 1 it is off, and then the pipeline makes nothing of a negative prompt.
    """
    parameters = inspect.signature(pipeline.__call__).parameters
    return float(parameters["true_cfg_scale"].default) if "true_cfg_scale" in parameters else 0.0


def guidance_arguments(pipeline: Any, config: DiffusersConfig) -> dict[str, Any]:
    """Return the arguments of the call that guide it."""
    if true_guidance(pipeline) <= 1:
        return {"guidance_scale": config.guidance_scale}
    as_input = pipeline.transformer.config.get("guidance_embeds")  # of Qwen-Image: distilled models alone take it
    scale = config.guidance_scale
    return {"guidance_scale": scale if as_input else None, "true_cfg_scale": scale}
