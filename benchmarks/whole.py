"""What a whole study takes here: its stages in seconds beside what was estimated, with how many workers, and growth.

    python benchmarks/whole.py             `genrobust run pictograms --quick`, by one worker and by all; and growth
    python benchmarks/whole.py --demo      `genrobust run pictograms`, what `make demo` runs, once
    python benchmarks/whole.py --recipe study.yaml [--quick]      any other recipe, once

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/whole.py --demo      as a plain CPU would

Stages are the run's own timings, as its report shows them; the estimate is what the run says before it begins. A stage
grows well where ten times the images take at most ten times as long: drawing and training are given ten times as many
to make, evaluation ten times as many to answer for.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from side_by_side import cores, interleaved, table, times_faster, where_and_when

from genrobust.checkpoints import CheckpointInfo
from genrobust.config import GenerateConfig
from genrobust.data import LabelSpace, Subset
from genrobust.evaluate.predict import predict
from genrobust.generate.run import generate
from genrobust.models import create_classifier, save_checkpoint
from genrobust.prompts.plan import Plan, plan_of
from genrobust.recipe import load_recipe
from genrobust.sources.load import load_data
from genrobust.train.loop import train
from genrobust.train.mixture import Mixture, Part

DRAWN = 70  # images, and ten times as many
TRAINED = 20  # steps, and ten times as many
ANSWERED = 100  # test images, and ten times as many
ESTIMATE = re.compile(r"^left: about ([\d.,]+) (s|min|h|days)", re.MULTILINE)
UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}


def run(words: Sequence[str]) -> tuple[dict[str, tuple[float, str]], float, float]:
    """`genrobust run` with `words`, from nothing: seconds and items by stage, all seconds, and those estimated."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "genrobust", "run", *words, "--out", out]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        whole = time.perf_counter() - began
        (results,) = Path(out).glob("*/results.json")
        found = json.loads(results.read_text())["stages"]
    said = ESTIMATE.search(done.stderr)
    estimated = float(said[1].replace(",", "")) * UNITS[said[2]] if said else float("nan")
    made = {stage["stage"]: (stage["seconds"], f"{stage['items']:,} {stage['unit']}") for stage in found}
    made["start, measuring, scoring, report"] = whole - sum(seconds for seconds, _ in made.values()), ""
    return made, whole, estimated


def stages(words: Sequence[str]) -> str:
    """The stages of one run, as a table."""
    made, whole, estimated = run(words)
    rows = [[stage, f"{seconds:.0f}", of] for stage, (seconds, of) in made.items()]
    rows.append(["whole", f"{whole:.0f}", f"estimated {estimated:.0f} s at its start: {whole / estimated:.2f} times"])
    return table([f"`genrobust run {' '.join(words)}`", "seconds", "of"], rows)


def workers(words: Sequence[str], rounds: int) -> str:
    """What one worker and all of them take for the same study, by turns."""
    counts = {1, cores()}
    seconds: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for turn in range(rounds):
        for count in sorted(counts, reverse=turn % 2 == 1):
            made, whole, _ = run([*words, "--workers", str(count)])
            seconds[count].append({**{stage: spent for stage, (spent, _) in made.items()}, "whole": whole})
    rows = []
    for stage in seconds[1][0]:
        times = {count: [one[stage] for one in found] for count, found in seconds.items()}
        rows.append([stage, *(f"{median(times[count]):.0f}" for count in sorted(counts))])
        rows[-1].append(times_faster(times[max(counts)], times[1]))
    heads = [f"{count} worker{'s' if count > 1 else ''}, s" for count in sorted(counts)]
    return table([f"`genrobust run {' '.join(words)}`", *heads, "times one"], rows)


def plan(count: int, generated: GenerateConfig) -> Plan:
    """`count` requests of the Pictograms: of so many classes, or of all 100 in turn."""
    recipe = load_recipe("pictograms")
    data = load_data(recipe.data)
    labels = LabelSpace(data.labels.classes[: min(count, len(data.labels))])
    config = generated.model_copy(update={"per_class": count // len(labels)})
    return plan_of(recipe.generator, config, labels, data.train, recipe.data_seed)


def draw(requests: Plan, out: Path, threads: int) -> None:
    recipe = load_recipe("pictograms")
    generate(requests, recipe.generator, recipe.generate, requests.labels, out, "cpu", threads)


def growth(rounds: int) -> str:
    """What ten times the images take, a row a stage."""
    recipe = load_recipe("pictograms")
    data, threads = load_data(recipe.data), cores()
    few, many = plan(DRAWN, recipe.generate), plan(10 * DRAWN, recipe.generate)
    mixture = Mixture([Part("real", data.train)], recipe.train.batch_size, recipe.train.image_size, recipe.train.crop)
    size = recipe.train.image_size
    model = create_classifier(recipe.train.architecture, len(data.labels), size, recipe.train.model_kwargs)
    some = Subset(data.val, list(range(ANSWERED)))

    def drawn(requests: Plan, out: Path) -> None:
        draw(requests, out, threads)

    def trained(steps: int, out: Path) -> None:
        config = recipe.train.model_copy(update={"steps": steps, "warmup_steps": 1, "validate_every": steps})
        train(mixture, some, data.labels, config, 0, out, "cpu", threads)

    def answered(count: int, out: Path) -> None:
        kwargs = dict(recipe.train.model_kwargs)
        save_checkpoint(out, model, CheckpointInfo(recipe.train.architecture, kwargs, data.labels.ids, size, {}))
        images = Subset(data.retrieval, list(range(count)))
        predict(out, {"images": images}, data.labels, out / "predictions", threads=threads, device="cpu")

    def fresh(work: Callable[[Path], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            work(Path(folder) / "out")

    works = {
        f"generate, {DRAWN} and {10 * DRAWN} images": (partial(drawn, few), partial(drawn, many)),
        f"train, {TRAINED} and {10 * TRAINED} steps": (partial(trained, TRAINED), partial(trained, 10 * TRAINED)),
        f"evaluate, {ANSWERED} and {10 * ANSWERED} images": (
            partial(answered, ANSWERED),
            partial(answered, 10 * ANSWERED),
        ),
    }
    rows = []
    for name, pair in works.items():
        seconds = interleaved(
            {size: partial(fresh, work) for size, work in zip(("n", "10 n"), pair, strict=True)}, rounds
        )
        medians = [f"{median(seconds[size]):.2f}" for size in ("n", "10 n")]
        rows.append([name, *medians, times_faster(seconds["n"], seconds["10 n"])])
    return table(["stage", "seconds", "of ten times as many", "times as long"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="what `make demo` runs, and nothing else")
    parser.add_argument("--recipe", help="a study to run instead, and nothing else")
    parser.add_argument("--quick", action="store_true", help="its short version")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(where_and_when(), flush=True)
    if asked.demo or asked.recipe:
        words = [asked.recipe or "pictograms", *(["--quick"] if asked.quick else [])]
        print(f"\n{stages(words)}", flush=True)
        return
    quick = ["pictograms", "--quick"]
    for part in (partial(stages, quick), partial(workers, quick, asked.rounds), partial(growth, asked.rounds)):
        print(f"\n{part()}", flush=True)


if __name__ == "__main__":
    main()
