"""What one GPU does: generation, training, loading and evaluation, as Markdown tables; under 30 minutes on one card.

    python benchmarks/gpu.py              all of it, on the first card
    python benchmarks/gpu.py --tiny       tiny networks on the CPU: whether it runs, not how fast; keeps nothing

No weights are fetched: speed does not depend on their values, so pipelines of the shape of SD 1.5 and SDXL get random
ones. "Plain loop" is what a user would write: the pipeline as it is loaded, and a file for each image; "genrobust" is
`genrobust generate` with the defaults of its keys, at the same scheduler and steps, from requests to shards. Both draw
in float16, for which speeds are published. A "bare step" is forward, backward and optimizer on one batch on the card,
with the fastest convolutions of cuDNN. Below each table is whether its goal is met.

What is measured is saved after each part, in --out. No part begins after --minutes. A part is stopped after 10 minutes,
or 5 minutes after --minutes, whichever comes first. The same command goes on with the missing parts, with the weights
and photographs that it left in --folder. A part that fails is reported, and the next one begins. It needs
`pip install -e '.[dev]'`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import diffusers
import torch
from full_size import SD15, SDXL, TINY_SD15, TINY_SDXL
from gpu_generation import Drawing, Size
from gpu_results import Part, Results, Seconds, in_a_process, setting
from gpu_training import Evaluation, Reading, Training
from side_by_side import where_and_when

from genrobust.core import hardware, resolve_device

KINDS = ("generation", "training", "loading", "evaluation")
MINUTES = 25  # the part that begins last may take `MORE`
MORE = 5
LIMIT_S = 600.0  # of a part: a longer one is taken to hang
PHOTOGRAPHS, ROUNDS = 1024, 3
SHARED, SHARED_BYTES = Path("/dev/shm"), 10**9  # what DataLoaders' workers hand batches over in
DISK_BYTES = 12 * 10**9  # of the pipelines' weights, and the photographs with their copies
FLOAT16 = "float16"  # what published speeds are of, and what the recipes for ImageNet draw in
GOAL = 1.5  # times a plain loop in float16, for SD 1.5


def parts_of(kinds: list[str], folder: Path, device: torch.device, results: Results, precision: str) -> Iterator[Part]:
    """All parts; those come first that matter most, since the last ones may find no time.

    Classifiers train in `precision`; generators draw in float16.
    """
    photographs = folder / "photographs"
    if "generation" in kinds:
        size = Size((20, 50), 2, most=32, images=16)
        yield from Drawing(SD15, folder, device, results, FLOAT16, size, GOAL).parts()
    if "training" in kinds:
        batch = {"image_size": 224, "batch_size": 128, "precision": precision}
        for architecture in ("resnet50", "vit_small_patch16_224"):
            yield from Training(photographs, PHOTOGRAPHS, device, 2, 8, 2, architecture=architecture, **batch).parts()
    # SDXL takes seconds an image, and so fewer rounds.
    sdxl = {n: Drawing(SDXL, folder, device, results, FLOAT16, Size((n,), r, 8, 8)) for n, r in ((20, 2), (50, 1))}
    if "generation" in kinds:
        yield from sdxl[20].parts()
    if "loading" in kinds:
        yield from Reading(photographs, PHOTOGRAPHS, 128, ROUNDS).parts()
    if "evaluation" in kinds:
        yield from Evaluation(folder, device, 256, 4, ROUNDS).parts()
    if "generation" in kinds:
        yield from sdxl[50].parts()


def tiny_parts_of(
    kinds: list[str], folder: Path, device: torch.device, results: Results, precision: str
) -> Iterator[Part]:
    """The same with tiny networks, a few images and steps, and one thread."""
    photographs, size = folder / "photographs", Size((2,), 1, 2, 2, threads=1)
    if "generation" in kinds:
        yield from Drawing(TINY_SD15, folder, device, results, "float32", size, GOAL).parts()
    if "training" in kinds:
        for architecture in ("test_resnet", "test_vit"):
            few = {"image_size": 32, "batch_size": 4, "precision": precision}
            yield from Training(photographs, 8, device, 0, 1, 1, architecture=architecture, **few).parts(compiled=False)
    if "loading" in kinds:
        yield from Reading(photographs, 8, 4, 1).parts()
    if "evaluation" in kinds:
        yield from Evaluation(folder, device, 4, 2, 1, batch=2, small=True).parts()
    if "generation" in kinds:
        yield from Drawing(TINY_SDXL, folder, device, results, "float32", size).parts()


def measure(part: Part, results: Results, limit_s: float, copy: bool) -> None:
    """Run a part, and keep what it gives, or why it failed: time on a card is too short to end with an error."""
    began = time.monotonic()
    try:
        seconds, results.notes, results.batches = in_a_process(partial(run_of, part, results), limit_s, copy)
        results.add(part, seconds)
        words = "measured"
    except Exception as error:
        words = str(error) or type(error).__name__
        if not isinstance(error, TimeoutError) or limit_s == LIMIT_S:  # else it was out of time: next time
            results.failed[part.name] = words
            results.save()
    print(f"{part.name}: {words} in {time.monotonic() - began:.0f} s", flush=True)


def run_of(part: Part, results: Results) -> tuple[Seconds, dict[str, str], dict[str, int]]:
    """What a part gives and, as it leaves them, the notes and batch sizes of the `results` that it adds to."""
    return part.run(), results.notes, results.batches


def require_equipment(device: torch.device, folder: Path) -> None:
    """Raise RuntimeError where parts would fail for something that the machine lacks, before time is spent on them."""
    lacks = []
    try:
        torch.compile(torch.sin)(torch.ones(64, device=device))
    except Exception as error:
        lacks.append(f"torch.compile fails ({' '.join(str(error).split())[:200]}): install a C compiler, python3-dev")
    if SHARED.exists() and (free := shutil.disk_usage(SHARED).free) < SHARED_BYTES:
        lacks.append(f"{SHARED} has {free / 1e6:.0f} MB, too few for DataLoaders: in a container, --shm-size=8g")
    if (free := shutil.disk_usage(folder).free) < DISK_BYTES:
        lacks.append(f"{folder} has {free / 1e9:.1f} GB free of {DISK_BYTES / 1e9:.0f} GB: name another --folder")
    if lacks:
        raise RuntimeError("\n".join(lacks))


def machine_of(tiny: bool, folder: Path) -> tuple[str, str, str, str]:
    """The kind of device, its name, its fastest precision, and the line below the tables.

    Raises RuntimeError where a GPU is missing, or something that parts would fail without.
    """
    device = resolve_device("cpu" if tiny else "auto")
    if device.type != "cuda" and not tiny:
        built = f"PyTorch {torch.__version__}, built for CUDA {torch.version.cuda}"
        raise RuntimeError(f"there is no GPU here ({built}): --tiny tries it out on the CPU")
    if not tiny:
        require_equipment(device, folder)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "tiny networks, CPU"
    return device.type, name, hardware(device.type).best, where_and_when().replace(f", {name}", "")  # named once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind of part; may be given several times")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no part begins later")
    parser.add_argument("--out", type=Path, help="the file of results; default: gpu.json, and none for --tiny")
    parser.add_argument("--folder", type=Path, help="where weights and photographs are kept; default: nowhere")
    asked = parser.parse_args()
    began = time.monotonic()
    logging.basicConfig(format="%(message)s")
    diffusers.utils.logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)  # of names that newer versions of diffusers give arguments
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        try:
            found = in_a_process(partial(machine_of, asked.tiny, Path(folder)), copy=asked.tiny)
        except RuntimeError as error:
            raise SystemExit(str(error)) from None
        kind, machine, precision, where = found
        file = asked.out or (Path(folder) / "gpu.json" if asked.tiny else Path("gpu.json"))
        results = Results.load(file, setting(machine=machine), f"{machine}; {where}")
        list_parts = tiny_parts_of if asked.tiny else parts_of
        parts = list(list_parts(asked.only or list(KINDS), Path(folder), torch.device(kind), results, precision))
        for part in sorted(parts, key=lambda part: part.name in results.failed):  # those that failed before come last
            left = 60 * asked.minutes - (time.monotonic() - began)
            if not results.has(part) and left > 0:
                measure(part, results, min(LIMIT_S, left + 60 * MORE), copy=asked.tiny)
    print(f"\n{results.markdown(parts)}")
    if results.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
