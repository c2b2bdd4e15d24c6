"""One resumable training loop for the generator's parts: AdamW, warm-up and cosine, clipping, weight averages.

Step `k` draws its batch, its augmentation and its noise from a generator seeded by (seed, k) alone, so a run that is
killed and started again ends in the weights of an undisturbed one.
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

    The state (weights, their exponential average, optimizer moments, step) lies in ``folder/state.safetensors``.
    Delete that file to start anew; other entries of the loss dictionary are printed as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.safetensors"
    params = [p for p in model.parameters() if p.requires_grad]
    decay = [p for p in params if p.ndim > 1]
    rest = [p for p in params if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99))
    average = [p.detach().clone() for p in params]
    flat = [p for g in optimizer.param_groups for p in g["params"]]
    start = 0
    if state.exists():
        saved = load_file(state)
        start = int(saved["step"])
        with torch.no_grad():
            for i, p in enumerate(params):
                p.copy_(saved[f"param.{i}"])
                average[i].copy_(saved[f"average.{i}"])
        for i, p in enumerate(flat):
            optimizer.state[p] = {
                "step": torch.tensor(float(start)),
                "exp_avg": saved[f"m.{i}"],
                "exp_avg_sq": saved[f"v.{i}"],
            }
        print(f"going on at step {start} of {steps}", flush=True)

    def save(step: int) -> None:
        tensors = {"step": torch.tensor(step)}
        for i, p in enumerate(params):
            tensors[f"param.{i}"], tensors[f"average.{i}"] = p.detach().clone(), average[i].clone()
        for i, p in enumerate(flat):
            if p in optimizer.state:
                tensors[f"m.{i}"] = optimizer.state[p]["exp_avg"].clone()
                tensors[f"v.{i}"] = optimizer.state[p]["exp_avg_sq"].clone()
        part = state.with_suffix(".part")
        save_file({k: v.contiguous() for k, v in tensors.items()}, part)
        part.replace(state)

    model.train()
    last_save = last_print = time.monotonic()
    sums: dict[str, float] = {}
    for step in range(start, steps):
        rate = min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        torch.manual_seed(seed * 1_000_003 + step)  # dropout and posterior samples inside the models
        parts = loss_of(model, step, generator)
        optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(params, clip)
        optimizer.step()
        with torch.no_grad():
            keep = min(ema_decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, params, 1 - keep)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if (step + 1) % every == 0:
            now = time.monotonic()
            per_step = (now - last_print) / every
            means = "  ".join(f"{name} {value / every:.4f}" for name, value in sums.items())
            left = (steps - step - 1) * per_step / 60
            print(f"step {step + 1}/{steps}  {means}  {per_step:.2f} s a step, {left:.0f} min left", flush=True)
            sums, last_print = {}, now
        if time.monotonic() - last_save > SAVE_EVERY_S:
            save(step + 1)
            last_save = time.monotonic()
    save(steps)
    with torch.no_grad():
        for p, a in zip(params, average, strict=True):
            p.copy_(a)
    return model.eval()
