"""How fast the stages last ran in an output folder: what a study's cost is told from."""

from __future__ import annotations

import json
from pathlib import Path

from genrobust.config import ClassModelConfig, FinetuneConfig, GeneratorConfig, TrainConfig, ZeroShotConfig
from genrobust.files import leftovers, lock, make_folder, remove_leftovers, replacing

RATES = "rates.json"
# Images a second on 2 CPU cores: what to expect before the first run. Packing is that of `benchmarks/loading.py`,
# 2026-11-25, the rest of `genrobust run pictograms`, 2026-11-24.
REFERENCE = {
    ("generate", "pictograms, 15 steps, cpu"): 19.0,
    ("generate", "pictograms, 8 steps, cpu"): 27.0,
    ("train", "resnet10t, 64 px, cpu"): 1300.0,
    ("evaluate", "resnet10t, 64 px, cpu"): 2500.0,
    ("pack", "real images"): 340.0,
    ("pack", "generated images"): 120.0,
}


def of_generator(generator: GeneratorConfig, device: str, class_model: ClassModelConfig | None = None) -> str:
    """What the rate of generating depends on; `device` is "cuda", "mps" or "cpu".

    A `class_model` draws in the place of the generator whose autoencoder it has.
    """
    model = generator.model if class_model is None else f"{generator.model}, {_size(class_model)}"
    steps = generator.steps
    if generator.mode == "labels+images":
        steps = int(steps * generator.strength)  # it begins at a noised image
    mode = "" if generator.mode == "labels" else f"{generator.mode}, "
    guided = "" if generator.guidance_until == 1 else f" guided until {generator.guidance_until:g}"
    return f"{model}, {mode}{steps} steps{guided}, {device}"


def of_finetune(generator: GeneratorConfig, finetune: FinetuneConfig, device: str) -> str:
    """What the rate of fine-tuning depends on."""
    return f"{generator.model}, {finetune.method}, {device}"


def of_class_model(generator: GeneratorConfig, class_model: ClassModelConfig, device: str) -> str:
    """What the rate of training a class model on the latents of `generator` depends on."""
    return f"{generator.model}, {_size(class_model)}, {device}"


def of_classifier(train: TrainConfig, device: str) -> str:
    """What the rate of evaluating depends on, and that of training by one process."""
    return f"{train.architecture}, {train.image_size} px, {device}"


def of_packing(generated: bool) -> str:
    """What the rate of packing depends on: a PNG takes much longer to decode than a JPEG."""
    return "generated images" if generated else "real images"


def of_training(train: TrainConfig, device: str) -> str:
    """What the rate of training depends on."""
    together = "" if train.workers == 1 else f", {train.workers} workers"
    return of_classifier(train, device) + together


def of_zero_shot(zero_shot: ZeroShotConfig, device: str) -> str:
    """What the rate of a CLIP's evaluation depends on."""
    return f"CLIP {zero_shot.clip}, {device}"


def remember_rate(out: Path, stage: str, of: str, per_second: float) -> None:
    """Note in the folder `out` that `stage` made `per_second` images a second of the kind `of`."""
    make_folder(out)
    with lock(out, wait=True, mirrored=False):  # they are this machine's
        rates = _read(out)
        rates.setdefault(stage, {})[of] = per_second
        with replacing(out / RATES, mirrored=False) as file:
            file.write(json.dumps(rates, indent=1, sort_keys=True).encode())


def tidy_rates(out: Path) -> None:
    """Remove what was left in the folder `out` by a process that was killed while it noted a rate."""
    if leftovers(out):
        with lock(out, wait=True, mirrored=False):
            remove_leftovers(out)


def measured_rate(out: Path, stage: str, of: str) -> float | None:
    """Images a second of `stage` for the kind `of`, as last measured in the folder `out`; None before the first."""
    return _read(out).get(stage, {}).get(of)


def likely_rate(out: Path, stage: str, of: str) -> tuple[float, bool] | None:
    """The measured rate and True, or else that of the reference machine and False; None where neither is known."""
    measured = measured_rate(out, stage, of)
    if measured is not None:
        return measured, True
    known = REFERENCE.get((stage, of))
    return None if known is None else (known, False)


def _read(out: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads((out / RATES).read_text(encoding="utf-8"))
        return {stage: {of: float(rate) for of, rate in rates.items()} for stage, rates in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # none yet, or damaged: it only tells times


def _size(class_model: ClassModelConfig) -> str:
    return f"DiT of {class_model.depth} x {class_model.width}, patches of {class_model.patch_size}"
