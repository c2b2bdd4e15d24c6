"""One resumable training loop for the generator's parts: AdamW, warm-up and cosine, clipping, weight averages.

Step `k` draws its batch, its augmentation and its noise from a generator seeded only by (seed, k), so a killed run
resumes, and ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SAVE_EVERY_S = 240  # a killed run loses at most four minutes


def train(
    model: nn.Module,
    loss_of: Callable[[nn.Module, int, torch.Generator], dict[str, Tensor]],
    *,
    steps: int,
    folder: Path,
    lr: float,
    weight_decay: float = 0.01,
    warmup: int = 200,
    ema_decay: float = 0.999,
    clip: float = 1.0,
    seed: int = 0,
    every: int = 50,
) -> nn.Module:
    """Train `model` on ``loss_of(model, step, generator)["loss"]`` and return it with its averaged weights.

    The state (weights, their exponential average, optimizer moments, step) is in ``folder/state.safetensors``; delete
    that file to start over. Other entries of the loss dictionary are printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(model, folder / "state.safetensors", lr, weight_decay)
    start = state.load()
    if start:
        print(f"resuming at step {start} of {steps}", flush=True)
    model.train()
    last_save = time.monotonic()
    log = _Log(steps, every)
    for step in range(start, steps):
        rate = min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))
        torch.manual_seed(seed * 1_000_003 + step)  # dropout and posterior samples inside the models
        parts = loss_of(model, step, torch.Generator().manual_seed(seed * 1_000_003 + step))
        state.update(parts["loss"], lr * rate, clip, min(ema_decay, (step + 1) / (step + 10)))
        log.add(step + 1, parts)
        if time.monotonic() - last_save > SAVE_EVERY_S:
            state.save(step + 1)
            last_save = time.monotonic()
    state.save(steps)
    with torch.no_grad():
        for p, a in zip(state.params, state.average, strict=True):
            p.copy_(a)
    return model.eval()


class _State:
    """The weights of a model, their average, and the optimizer's moments, in one file, written atomically."""

    def __init__(self, model: nn.Module, file: Path, lr: float, weight_decay: float) -> None:
        self._file = file
        self.params = [p for p in model.parameters() if p.requires_grad]
        decay, rest = ([p for p in self.params if (p.ndim > 1) is wide] for wide in (True, False))
        groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99))
        self.average = [p.detach().clone() for p in self.params]
        self._ordered = [*decay, *rest]

    def update(self, loss: Tensor, lr: float, clip: float, keep: float) -> None:
        """One step of the optimizer, and of the average, of which the share `keep` stays."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.params, clip)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.params, 1 - keep)

    def load(self) -> int:
        """Load the file's state, if it exists; returns the number of steps done."""
        if not self._file.exists():
            return 0
        saved = load_file(self._file)
        with torch.no_grad():
            for i, p in enumerate(self.params):
                p.copy_(saved[f"param.{i}"])
                self.average[i].copy_(saved[f"average.{i}"])
        for i, p in enumerate(self._ordered):
            moments = {"exp_avg": saved[f"m.{i}"], "exp_avg_sq": saved[f"v.{i}"]}
            self.optimizer.state[p] = {"step": saved["step"].float(), **moments}
        return int(saved["step"])

    def save(self, step: int) -> None:
        tensors = {"step": torch.tensor(step)}
        for i, p in enumerate(self.params):
            tensors[f"param.{i}"], tensors[f"average.{i}"] = p.detach().clone(), self.average[i].clone()
        for i, p in enumerate(self._ordered):
            if p in self.optimizer.state:
                tensors[f"m.{i}"] = self.optimizer.state[p]["exp_avg"].clone()
                tensors[f"v.{i}"] = self.optimizer.state[p]["exp_avg_sq"].clone()
        part = self._file.with_suffix(".part")
        save_file({k: v.contiguous() for k, v in tensors.items()}, part)
        part.replace(self._file)


class _Log:
    """Prints a line every so many steps: the means of the returned losses, the rate and the time left."""

    def __init__(self, steps: int, every: int) -> None:
        self._steps, self._every = steps, every
        self._start_over()

    def _start_over(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._count, self._began = 0, time.monotonic()

    def add(self, step: int, parts: dict[str, Tensor]) -> None:
        self._count += 1
        for name, value in parts.items():
            self._values.setdefault(name, []).append(float(value.detach()))  # not every step gives every metric
        if step % self._every == 0:
            per_step = (time.monotonic() - self._began) / self._count
            means = "  ".join(f"{name} {sum(values) / len(values):.4f}" for name, values in self._values.items())
            left = (self._steps - step) * per_step / 60
            print(f"step {step}/{self._steps}  {means}  {per_step:.2f} s a step, {left:.0f} min left", flush=True)
            self._start_over()
