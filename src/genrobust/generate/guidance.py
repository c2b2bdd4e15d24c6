"""How strongly a pipeline is guided, and in which part of the steps: one without guidance takes half the time."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from genrobust.core import UserError
from genrobust.generate.pipeline_config import DiffusersConfig

if TYPE_CHECKING:
    from torch import Tensor

# The pipelines whose guidance can end, and the callback of diffusers that ends it, for one image at a time.
_ENDS = {
    "StableDiffusionPipeline": "SDCFGCutoffCallback",
    "StableDiffusionImg2ImgPipeline": "SDCFGCutoffCallback",
    "StableDiffusionXLPipeline": "SDXLCFGCutoffCallback",
    "StableDiffusionXLImg2ImgPipeline": "SDXLCFGCutoffCallback",
}


def check_guidance(pipeline: Any, config: DiffusersConfig) -> None:
    """Raise UserError where the recipe ends the guidance before the last step and `pipeline` cannot."""
    if config.guided_share == 1:
        return
    kind = type(pipeline).__name__
    if kind not in _ENDS:
        raise UserError(f"generator.guidance_until: a {kind} guides all steps or none: leave it out")
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise UserError(
            f"generator.guidance_until: the UNet of {config.model} takes the guidance as an input, which "
            "costs nothing: leave it out"
        )


def true_guidance(pipeline: Any) -> float:
    """Return the pipeline's own strength of a guidance beside the one that its network takes as an input; 0 for none.

    At 1 it is off, and then the pipeline makes nothing of a negative prompt.
    """
    parameters = inspect.signature(pipeline.__call__).parameters
    return float(parameters["true_cfg_scale"].default) if "true_cfg_scale" in parameters else 0.0


def guidance_arguments(pipeline: Any, config: DiffusersConfig) -> dict[str, Any]:
    """Return the arguments of the call that guide it, in the first steps of the share `guidance_until`."""
    strength: dict[str, Any] = {"guidance_scale": config.guidance_scale}
    if true_guidance(pipeline) > 1:  # of Qwen-Image, whose other guidance is that of distilled models
        as_input = pipeline.transformer.config.get("guidance_embeds")
        strength = {"guidance_scale": config.guidance_scale if as_input else None} | {
            "true_cfg_scale": config.guidance_scale
        }
    if config.guided_share == 1:
        return strength
    from diffusers import callbacks  # only now: every recipe is read with this module

    end_guidance: Any = getattr(callbacks, _ENDS[type(pipeline).__name__])

    def end(pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        last = guided_steps(pipeline.num_timesteps, config.guided_share) - 1
        if step != last:
            return {}
        end_guidance(None, last)(pipeline, step, timestep, dict(tensors))  # returns the embeddings of one image alone
        return {name: tensor.chunk(2)[1] for name, tensor in tensors.items()}

    return {
        **strength,
        "callback_on_step_end": end,
        "callback_on_step_end_tensor_inputs": list(end_guidance.tensor_inputs),
    }


def guided_steps(steps: int, share: float) -> int:
    """Return how many of `steps` are guided, the first ones: at least one."""
    return max(1, round(share * steps))
