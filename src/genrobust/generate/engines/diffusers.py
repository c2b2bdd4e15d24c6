"""The diffusers engine: every pipeline that a mode knows, from a folder or the hub."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import (
    GenrobustError,
    ImageSet,
    LabelSpace,
    OutOfMemory,
    Request,
    hash_once,
    room_for_code,
)
from genrobust.generate.calls import EMPTY_WARNING, explain, explain_out_of_memory, muted
from genrobust.generate.engine import Engine
from genrobust.generate.generator_files import hash_generator
from genrobust.generate.locate import find_adapter, find_generator, find_lora
from genrobust.generate.mode import MODES, locate, mode_of
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.generate.pipelines import guidance_arguments
from genrobust.recipe import ENGINES, GeneratorConfig

if TYPE_CHECKING:  # a study that is done asks for the identity alone, which takes neither torch nor diffusers
    import numpy as np
    import torch

# Columns of the sidecar that are null for a generator to which nothing is added.
ADDED = ("lora", "lora_sha256", "lora_scale", "adapter", "adapter_file", "adapter_sha256", "adapter_scale", "strength")
REMEDY = (
    "lower generator.width and generator.height, set generator.offload to group or generator.dtype to bfloat16, or "
    "name a smaller generator"
)
log = logging.getLogger(__name__)


@ENGINES.register("diffusers")
class DiffusersEngine(Engine):
    """Draws with a diffusers pipeline, whose mode says what it is passed of each request."""

    modes: ClassVar[Collection[str]] = tuple(MODES.names())
    config: DiffusersConfig

    def __init__(
        self, config: GeneratorConfig, labels: LabelSpace, sources: ImageSet | None, device: torch.device
    ) -> None:
        from genrobust.generate.loading import load_generator

        super().__init__(config, labels, sources, device)
        self.generator = load_generator(_diffusers_config(config), device)
        self.config = self.generator.config
        self.mode = mode_of(self.config)(self.generator, labels, self.source_image)
        self._most = 2**16  # images at once, as far as is known
        self._whole: int | None = None  # images at once that the network is compiled for, where it is

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
        if lora_config := getattr(config, "lora", None):
            lora, file = find_lora(lora_config)
            identity |= {"lora": lora, "lora_sha256": hash_once(file)}
        if adapter_config := getattr(config, "adapter", None):
            adapter = find_adapter(adapter_config)
            identity |= {"adapter": adapter.id, "adapter_file": adapter.file.name, "adapter_sha256": adapter.sha256}
        return identity

    @classmethod
    def weights_bytes(cls, config: GeneratorConfig) -> int:
        config = _diffusers_config(config)
        folder = find_generator(config)[1]
        files = list(folder.rglob("*.safetensors"))
        if adapter_config := getattr(config, "adapter", None):
            adapter = find_adapter(adapter_config)
            files += [adapter.file, *adapter.image_encoder.rglob("*.safetensors")]
        return sum(path.stat().st_size for path in files)

    @property
    def record(self) -> dict[str, Any]:
        config, known = self.config, {**self.identity(self.config), **self.config.sampling()}
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
            **{f"{name}_version": metadata.version(name) for name in ("diffusers", "transformers")},
        }

    def expect(self, batch: int) -> None:
        from genrobust.generate.speed import compile_network

        if self.config.compile:
            compile_network(self.generator)
            # Not what happens to be drawn first: a run that goes on with the rest of a shard would draw other bytes.
            self._whole = batch

    def draw(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        drawn: list[np.ndarray | None] = []
        while len(drawn) < len(requests):
            part = requests[len(drawn) : len(drawn) + self._most]
            try:
                drawn += self._draw(part)
            except OutOfMemory as error:
                if len(part) == 1:
                    raise
                self._most = len(part) // 2
                if self._whole:
                    self._whole = self._most
                    room_for_code((self.config.model_dump_json(), self._most))
                log.warning(f"{error}; from here on {self._most} at once, with the same seeds")
        return drawn

    def _draw(self, requests: Sequence[Request]) -> list[np.ndarray | None]:
        """Draw `requests` at once; raises OutOfMemory where they do not fit."""
        import torch

        size = f"{self.generator.width} x {self.generator.height}"
        with (
            torch.inference_mode(),
            self._compiled_for(len(requests)),
            self._restored(),
            explain(f"{self.config.model} does not draw", "get it again, or name another", GenrobustError),
            explain_out_of_memory(self.device, f"while drawing {len(requests)} x {size} pixels at once", REMEDY),
            muted(*EMPTY_WARNING),
        ):
            pixels, unsafe = self._pixels(requests)
            return [None if bad else image for image, bad in zip(pixels, unsafe, strict=True)]

    def _pixels(self, requests: Sequence[Request]) -> tuple[np.ndarray, Sequence[bool]]:
        """Return the images of `requests`, float32 [B, H, W, 3] in [0, 1], and whether each is unsafe."""
        import torch

        # On the CPU whatever the device, so that every machine starts from the same noise. A pipeline or scheduler that
        # draws more noise goes on with the same sources.
        noise = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        output = self.generator.pipeline(
            **self.mode.arguments(requests, noise),
            **guidance_arguments(self.generator.pipeline, self.config),
            generator=noise,
            num_inference_steps=self.config.steps,
            output_type="pt",
        )
        unsafe = getattr(output, "nsfw_content_detected", None) or [False] * len(requests)
        images = output.images
        if torch.is_tensor(images):  # else an array, of DiTPipeline before diffusers 0.41
            images = images.permute(0, 2, 3, 1).float().cpu().numpy()
        return images, unsafe

    def _compiled_for(self, images: int) -> AbstractContextManager[Any]:
        """Let another batch size than the whole, such as the rest of a shard, be drawn without the compiled network.

        It would take a minute to compile for each, and an image would depend on the shards that this process drew
        before.
        """
        import torch

        other = self._whole is not None and images != self._whole
        return torch.compiler.set_stance("force_eager") if other else nullcontext()

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """Where drawing fails, leave the pipeline as it was for the next try, which might not fit otherwise.

        SDXL decodes in float32 and would leave its autoencoder there; with `offload: model`, parts would stay on the
        device.
        """
        pipeline = self.generator.pipeline
        vae = getattr(pipeline, "vae", None)
        dtype = None if vae is None else vae.dtype
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
