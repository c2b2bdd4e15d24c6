"""The training loop of a fine-tune: a UNet's weights or a LoRA, resumable at any step to the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from genrobust.config import FinetuneConfig
from genrobust.data import ImageSet, hashed_seed
from genrobust.errors import GenrobustError
from genrobust.generate.objective import Examples, Told, losses, noise_schedule
from genrobust.generate.pipeline import Generator
from genrobust.generate.tuned import STATE, require_same
from genrobust.models import save_tensors
from genrobust.progress import progress_bar

CLIP = 1.0  # the largest norm of a gradient, as in diffusers' own training scripts
BETAS = (0.9, 0.99)  # a shorter memory of squared gradients than torch's 0.999: a fine-tune has few steps
LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]  # the attention's, as in diffusers' own training scripts
LOOK_EVERY = 10  # steps between looks at the loss: a look makes a GPU wait


class Tuning:
    """One fine-tune: the UNet, what of it learns, its average, the optimizer, and where it stands."""

    def __init__(
        self,
        generator: Generator,
        images: ImageSet,
        told: Told,
        config: FinetuneConfig,
        seed: int,
        out: Path,
        job: dict[str, Any],
    ) -> None:
        torch.backends.cudnn.deterministic = True  # its fastest convolutions sum in no fixed order
        self.config, self.seed, self.device, self.state, self.job = config, seed, generator.device, out / STATE, job
        self.schedule = noise_schedule(generator.pipeline.scheduler.config)
        self.unet = _learning_unet(generator, config, seed)
        self.parameters = [p for p in self.unet.parameters() if p.requires_grad]
        self.average = EMAModel(self.parameters, decay=config.ema_decay, foreach=True) if config.ema_decay else None
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay, fused=True
        )
        self.examples = Examples(generator, images, told, config)
        self.step = 0

    # ------------------------------------------------------------------------------------------- steps

    def work(self) -> None:
        """Take the steps that are left, with a bar on a terminal."""
        config, unseen = self.config, []
        rates = get_scheduler(
            "cosine",
            self.optimizer,
            num_warmup_steps=config.warmup_steps,
            num_training_steps=config.steps,
            last_epoch=self.step - 1,
        )
        start = self.step
        with progress_bar("fine-tuning", config.steps, "steps", start) as bar:
            while self.step < config.steps:
                unseen.append(self._gradient(self.step))
                saves = self.step > start and self.step % config.save_every == 0
                note = None
                if saves or self.step % LOOK_EVERY == 0 or self.step + 1 == config.steps:
                    note = f"loss {self._look(torch.stack(unseen)):.4f}"
                    unseen = []
                if saves:  # only now that the loss after it is known to be a number: a saved state is a good one
                    self.save()
                self._update()
                rates.step()
                self.step += 1
                bar.advance(note=note)
        self.save()

    def _gradient(self, step: int) -> Tensor:
        """Compute the gradient of step `step`; returns the loss and the gradient's norm, [2], on the device."""
        config = self.config
        batch = self.examples.batch(self.seed, step)
        torch.manual_seed(hashed_seed(self.seed, "dropout", step))  # of a UNet that has any
        loss = torch.zeros((), device=self.device)
        for part in batch.parts(config.accumulate, self.device):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                share = losses(self.unet, self.schedule, part, config.min_snr).sum() / config.batch_size
            share.backward()
            loss += share.detach()
        return torch.stack([loss, clip_grad_norm_(self.parameters, CLIP)])

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.step(self.parameters)

    def _look(self, unseen: Tensor) -> float:
        """The mean loss of the last steps; raises GenrobustError where a loss or gradient of theirs is no number."""
        seen = unseen.cpu()
        if not seen.isfinite().all():
            first = int((~seen.isfinite().all(1)).nonzero()[0])
            config, step = self.config, self.step + 2 - len(seen) + first  # counted from 1
            kept = f"The state of step {saved} is kept" if (saved := self._saved_step()) else "No state was saved yet"
            raise GenrobustError(
                f"the loss is {float(seen[first, 0])}, its gradient {float(seen[first, 1])}, at step {step} in "
                f"{self.state.parent}: lower finetune.learning_rate (now {config.learning_rate:g}), lengthen "
                f"finetune.warmup_steps (now {config.warmup_steps}), or set finetune.precision to float32. {kept}"
            )
        return float(seen[:, 0].mean())

    # ------------------------------------------------------------------------------------------- state

    def save(self) -> None:
        """Write everything that the next step depends on, as one file that appears whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for index, parameter in enumerate(self.parameters):
            kept = {"weight": parameter, **self._of(index)}
            tensors |= {f"{index}.{name}": value for name, value in kept.items()}
        # Not accelerate's save_state: it pickles.
        save_tensors(self.state, tensors, {"job": json.dumps(self.job), "step": str(self.step)})

    def resume(self) -> None:
        """Load the state where there is one; raises UserError where it belongs to another fine-tune."""
        if not self.state.exists():
            return
        try:
            with safe_open(self.state, framework="pt") as file:
                about = file.metadata()
                require_same(json.loads(about["job"]), self.job, self.state.parent)
                self.step = int(about["step"])
                self._restore(file)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise GenrobustError(f"cannot read {self.state}: {error}; delete it to fine-tune from the start") from error

    @torch.no_grad()
    def _restore(self, file: Any) -> None:
        for index, parameter in enumerate(self.parameters):
            parameter.copy_(file.get_tensor(f"{index}.weight"))
            moments = {name: torch.empty_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            # in their parameter's memory layout: in another one sums could round differently
            self.optimizer.state[parameter] = {"step": torch.tensor(0.0, device=self.device), **moments}
            for name, value in self._of(index).items():
                value.copy_(file.get_tensor(f"{index}.{name}"))
        self.optimizer.param_groups[0]["initial_lr"] = self.config.learning_rate  # which get_scheduler asks for
        if self.average is not None:
            self.average.optimization_step = self.step

    def _of(self, index: int) -> dict[str, Tensor]:
        """What belongs to parameter `index`: the optimizer's moments and step, and the average."""
        average = {} if self.average is None else {"average": self.average.shadow_params[index]}
        return {**self.optimizer.state[self.parameters[index]], **average}

    def _saved_step(self) -> int:
        if not self.state.exists():
            return 0
        with safe_open(self.state, framework="pt") as file:
            return int(file.metadata()["step"])

    @torch.no_grad()
    def averaged(self) -> UNet2DConditionModel:
        """The UNet with its averaged weights, which is what is saved; the run cannot go on in it."""
        if self.average is not None:
            self.average.copy_to(self.parameters)
        return self.unet


def _learning_unet(generator: Generator, config: FinetuneConfig, seed: int) -> UNet2DConditionModel:
    """The generator's UNet, in training mode, with gradients for what `config.method` trains."""
    unet: UNet2DConditionModel = generator.pipeline.unet
    unet.to(memory_format=torch.channels_last)  # type: ignore[call-arg]  # diffusers' wrapper loses the annotations
    if generator.device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # on few tokens the CPU's fused attention takes longer to go backward
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    unet.requires_grad_(config.method == "full")
    if config.method == "lora":
        torch.manual_seed(hashed_seed(seed, "lora"))
        rank = config.lora_rank
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LORA_LAYERS))
    return unet.train()
