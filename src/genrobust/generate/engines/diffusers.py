"""The diffusers engine: every pipeline that a mode supports, from a folder or the hub."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import GenrobustError, ImageSet, LabelSpace, OutOfMemory, Request, room_for_code
from genrobust.generate.engine import Engine
from genrobust.generate.find_models import find_adapter, find_generator, find_lora
from genrobust.generate.generator_files import hash_generator
from genrobust.generate.library_errors import EMPTY_WARNING, explain, explain_out_of_memory, muted
from genrobust.generate.mode import MODES, locate, mode_of
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.pipeline_families import guidance_arguments
from genrobust.recipe import ENGINES, GeneratorConfig
from genrobust.store import hash_once

if TYPE_CHECKING:  # A finished study needs only the identity, which must load neither torch nor diffusers.
    import numpy as np
    import torch

# Columns of the sidecar that are null for a generator without additions.
ADDED = ("lora", "lora_sha256", "lora_scale", "adapter", "adapter_file", "adapter_sha256", "adapter_scale", "strength")
REMEDY = (
    "lower generator.width and generator.height, set generator.offload to group or generator.dtype to bfloat16, or "
    "name a smaller generator"
)
# Images to draw at once, until the device runs out of memory.
NO_LIMIT = 2**16
log = logging.getLogger(__name__)


@ENGINES.register("diffusers")
class DiffusersEngine(Engine):
    """Draws with a diffusers pipeline. The mode turns requests into its arguments."""

    modes: ClassVar[Collection[str]] = tuple(MODES.names())
    config: DiffusersConfig

    def __init__(
        self, config: GeneratorConfig, labels: LabelSpace, sources: ImageSet | None, device: torch.device
    ) -> None:
        from genrobust.generate.pipeline_loading import load_generator

        super().__init__(config, labels, sources, device)
        self.generator = load_generator(_diffusers_config(config), device)
        self.config = self.generator.config
        self.mode = mode_of(self.config)(self.generator, labels, self.source_image)
        self._batch_limit = NO_LIMIT
        # The batch size that the network is compiled for; None without compilation.
        self._compiled_batch: int | None = None

    @classmethod
    def options_in(cls, mode: str) -> type[GeneratorConfig]:
        return MODES.get(mode).options

    @classmethod
    def parts(cls, config: GeneratorConfig) -> Collection[type]:
        return *super().parts(config), mode_of(_diffusers_config(config))

    @classmethod
    def identity(cls, config: GeneratorConfig) -> dict[str, Any]:
        config = _diffusers_config(config)
        id, folder = locate(config)
        identity: dict[str, Any] = {"generator": id, "weights_sha256": hash_generator(folder, config.variant)}
        lora_config = getattr(config, "lora", None)
        if lora_config is not None:
            lora, file = find_lora(lora_config)
            identity |= {"lora": lora, "lora_sha256": hash_once(file)}
        adapter_config = getattr(config, "adapter", None)
        if adapter_config is not None:
            adapter = find_adapter(adapter_config)
            identity |= {"adapter": adapter.id, "adapter_file": adapter.file.name, "adapter_sha256": adapter.sha256()}
        return identity

    @classmethod
    def weights_bytes(cls, config: GeneratorConfig) -> int:
        config = _diffusers_config(config)
        _, folder = find_generator(config)
        files = list(folder.rglob("*.safetensors"))
        adapter_config = getattr(config, "adapter", None)
        if adapter_config is not None:
            adapter = find_adapter(adapter_config)
            files += [adapter.file, *adapter.image_encoder.rglob("*.safetensors")]
        return sum(path.stat().st_size for path in files)

    @property
    def record(self) -> dict[str, Any]:
        config = self.config
        known = {**self.identity(config), **config.sampling()}
        return {
            **super().record,
            "weights_sha256": known["weights_sha256"],
            **{key: known.get(key) for key in ADDED},
            "scheduler": type(self.generator.pipeline.scheduler).__name__,
            "steps": config.steps,
            "guidance_scale": config.guidance_scale,
            "width": self.generator.width,
            "height": self.generator.height,
            "dtype": config.dtype,
            "diffusers_version": metadata.version("diffusers"),
            "transformers_version": metadata.version("transformers"),
        }

    def expect(self, batch: int) -> None:
        from genrobust.generate.placement import compile_network

        if self.config.compile:
            compile_network(self.generator)
            # Not the first batch that is drawn: a run that resumes within a shard would draw other bytes.
            self._compiled_batch = batch

    def draw(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        """Draw all requests at once, or in smaller batches from where memory runs out."""
        drawn: list[np.ndarray | None] = []
        while len(drawn) < len(requests):
            part = requests[len(drawn) : len(drawn) + self._batch_limit]
            try:
                drawn += self._draw_batch(part)
            except OutOfMemory as error:
                if len(part) == 1:
                    raise
                self._batch_limit = len(part) // 2
                log.warning(f"{error}; from here on {self._batch_limit} at once, with the same seeds")
                if self._compiled_batch:
                    self._compiled_batch = self._batch_limit
                    room_for_code((self.config.model_dump_json(), self._batch_limit))
        return drawn

    def _draw_batch(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        """Draw `requests` at once; raises OutOfMemory if they do not fit."""
        import torch

        size = f"{self.generator.width} x {self.generator.height}"
        work = f"while drawing {len(requests)} x {size} pixels at once"
        with (
            torch.inference_mode(),
            self._compiled_for(len(requests)),
            self._restored(),
            explain(f"{self.config.model} does not draw", "get it again, or name another", GenrobustError),
            explain_out_of_memory(self.device, work, REMEDY),
            muted(*EMPTY_WARNING),
        ):
            return self._call_pipeline(requests)

    def _call_pipeline(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        """Return the images of `requests`, float32 [H, W, 3] in [0, 1]; None for an unsafe one."""
        import torch

        # On the CPU, so that all devices start from the same noise. Pipelines and schedulers that draw more noise
        # continue with the same sources.
        noise = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        output = self.generator.pipeline(
            **self.mode.arguments(requests, noise),
            **guidance_arguments(self.generator.pipeline, self.config),
            generator=noise,
            num_inference_steps=self.config.steps,
            output_type="pt",
        )
        images = output.images
        # Before diffusers 0.41, DiTPipeline returned an array [B, H, W, 3].
        if torch.is_tensor(images):
            images = images.permute(0, 2, 3, 1).float().cpu().numpy()
        is_unsafe = getattr(output, "nsfw_content_detected", None) or [False] * len(requests)
        return [None if unsafe else image for image, unsafe in zip(images, is_unsafe, strict=True)]

    def _compiled_for(self, images: int) -> AbstractContextManager[Any]:
        """Return a context without the compiled network for any other batch size, such as the rest of a shard.

        Compiling for each size would take a minute, and an image would depend on which shards this process drew before.
        """
        import torch

        if self._compiled_batch is None or images == self._compiled_batch:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """If drawing fails, restore the pipeline for the next attempt, which would not fit otherwise.

        SDXL decodes in float32 and would leave its autoencoder in it; with `offload: model`, parts would stay on the
        device.
        """
        pipeline = self.generator.pipeline
        vae = getattr(pipeline, "vae", None)
        dtype = getattr(vae, "dtype", None)
        try:
            yield
        except Exception:
            pipeline.maybe_free_model_hooks()
            if vae is not None and vae.dtype != dtype:
                vae.to(dtype)
            raise


def _diffusers_config(config: GeneratorConfig) -> DiffusersConfig:
    assert isinstance(config, DiffusersConfig), "the section of another engine"
    return config
