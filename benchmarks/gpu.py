"""What one GPU does: generation, training, loading and evaluation, as Markdown tables; under 30 minutes on one card.

    python benchmarks/gpu.py              all of it, on the first card
    python benchmarks/gpu.py --tiny       tiny networks on the CPU: whether it runs, not how fast; keeps nothing

No weights are fetched: speed does not depend on their values, so pipelines of the shape of SD 1.5 and SDXL get random
ones. "Plain loop" is what a user would write: the pipeline as it is loaded, and a file for each image; "genrobust" is
`genrobust generate` with the defaults of its keys, at the same dtype, scheduler and steps, from requests to shards. A
"bare step" is forward, backward and optimizer on one batch on the card, with the fastest convolutions of cuDNN.

What is measured is saved after each part, in --out. A part that would begin after --minutes is left for the next time:
the same command goes on where the last one ended. A part that fails is reported, and the next one begins.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import diffusers
import loading
import torch
from full_size import SD15, SDXL, TINY_SD15, TINY_SDXL
from gpu_generation import Drawing, Size
from gpu_results import Part, Results
from gpu_training import Evaluation, Reading, Training
from side_by_side import where_and_when

from genrobust.core.devices import resolve_device

KINDS = ("generation", "training", "loading", "evaluation")
MINUTES = 25  # the part that begins last may take a few more
PHOTOGRAPHS, ROUNDS = 1024, 3


def parts_of(kinds: list[str], folder: Path, device: torch.device, results: Results) -> Iterator[Part]:
    """All parts; those come first that matter most, since the last ones may find no time."""
    photographs = folder / "photographs"
    if {"training", "loading"} & set(kinds):
        loading.make(photographs, PHOTOGRAPHS)
    if "generation" in kinds:
        yield from Drawing(SD15, folder, device, results, Size((20, 50), ROUNDS, most=32, images=16)).parts()
    if "training" in kinds:
        size = {"image_size": 224, "batch_size": 128}
        for architecture in ("resnet50", "vit_small_patch16_224"):
            yield from Training(photographs, device, 2, 8, 2, architecture=architecture, **size).parts()
    if "loading" in kinds:
        yield from Reading(photographs, PHOTOGRAPHS, 128, ROUNDS).parts()
    if "evaluation" in kinds:
        yield from Evaluation(folder, device, 64, 4, ROUNDS).parts()
    if "generation" in kinds:
        yield from Drawing(SDXL, folder, device, results, Size((20, 50), ROUNDS, most=8, images=8)).parts()


def tiny_parts_of(kinds: list[str], folder: Path, device: torch.device, results: Results) -> Iterator[Part]:
    """The same with tiny networks, a few images and steps, and one thread."""
    photographs, size = folder / "photographs", Size((2,), 1, 2, 2, threads=1)
    if {"training", "loading"} & set(kinds):
        loading.make(photographs, 8)
    if "generation" in kinds:
        yield from Drawing(TINY_SD15, folder, device, results, size).parts()
    if "training" in kinds:
        for architecture in ("test_resnet", "test_vit"):
            few = {"image_size": 32, "batch_size": 4}
            yield from Training(photographs, device, 0, 1, 1, architecture=architecture, **few).parts(compiled=False)
    if "loading" in kinds:
        yield from Reading(photographs, 8, 4, 1).parts()
    if "evaluation" in kinds:
        yield from Evaluation(folder, device, 2, 2, 1, small=True).parts()
    if "generation" in kinds:
        yield from Drawing(TINY_SDXL, folder, device, results, size).parts()


def measure(part: Part, results: Results) -> None:
    """Run a part, and keep what it gives, or why it failed: a loan is too short to end with an error."""
    began = time.monotonic()
    try:
        results.add(part, part.run())
        words = "measured"
    except Exception as error:
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        results.failed[", ".join(part.ways)] = words
    print(f"{part.title}: {', '.join(part.ways)}: {words} in {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind of part; may be given several times")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no part begins later")
    parser.add_argument("--out", type=Path, help="the file of results; default: gpu.json, and none for --tiny")
    asked = parser.parse_args()
    began = time.monotonic()
    logging.basicConfig(format="%(message)s")
    diffusers.logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)  # of names that newer versions of diffusers give arguments
    device = resolve_device("cpu" if asked.tiny else "auto")
    if device.type != "cuda" and not asked.tiny:
        raise SystemExit("there is no GPU here: --tiny tries it out on the CPU")
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else "tiny networks, CPU"
    with tempfile.TemporaryDirectory() as folder:
        file = asked.out or (Path(folder) / "gpu.json" if asked.tiny else Path("gpu.json"))
        results = Results.load(file, machine, where_and_when().replace(f", {machine}", ""))  # named once
        list_parts = tiny_parts_of if asked.tiny else parts_of
        parts = list(list_parts(asked.only or list(KINDS), Path(folder), device, results))
        for part in parts:
            if not results.has(part) and time.monotonic() - began < 60 * asked.minutes:
                measure(part, results)
    print(f"\n{results.markdown(parts)}")
    if results.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
