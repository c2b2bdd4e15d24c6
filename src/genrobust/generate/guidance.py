"""How strongly a pipeline is guided."""

from __future__ import annotations

import inspect
from typing import Any

from genrobust.generate.pipeline_config import DiffusersConfig


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
