"""Time of a whole study: seconds of its stages, the estimate before it, by number of workers, and growth.

    python benchmarks/whole.py             `genrobust run pictograms --quick`, by one worker and by all; and growth
    python benchmarks/whole.py --demo      `genrobust run pictograms`, what `make demo` runs, once
    python benchmarks/whole.py --recipe study.yaml [--quick]      any other recipe, once

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/whole.py --demo      as a plain CPU would

The seconds of stages are the run's own, as in its report; the estimate is that of the run before it starts. A stage
grows well if ten times the images take at most ten times as long: generation and training make ten times as many,
evaluation predicts on ten times as many.
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
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from side_by_side import cores, interleaved, table, times_faster, where_and_when

from genrobust.classifiers.checkpoints import CheckpointInfo
from genrobust.classifiers.classifier import open_checkpoint
from genrobust.classifiers.models import create_classifier, save_checkpoint
from genrobust.classifiers.predicting import predict_sets
from genrobust.classifiers.saved import PredictedBy
from genrobust.core.images import LabelSpace, Subset
from genrobust.data.reader import load_data
from genrobust.generate.plan import Plan, plan_of
from genrobust.generate.run import Generation
from genrobust.recipe.generate import GenerateConfig
from genrobust.recipe.load import load_recipe
from genrobust.train.loop import train
from genrobust.train.mixture import Mixture, Source

DRAWN = 70  # images, and ten times as many
TRAINED = 20  # steps, and ten times as many
ANSWERED = 100  # test images, and ten times as many
ESTIMATE = re.compile(r"left: about ([\d.,]+) (s|min|h|days)")
UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}


@dataclass(frozen=True)
class Whole:
    """One run: seconds and items of each stage, total seconds, seconds since the estimate, and the estimate."""

    stages: dict[str, tuple[float, str]]
    seconds: float
    since_estimate: float
    estimate: float


def run(words: Sequence[str], kept: Path | None = None) -> Whole:
    """Run `genrobust run` with `words`, from nothing; its output is kept in the new folder `kept`, if given."""
    said: list[str] = []
    since = estimate = float("nan")
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "genrobust", "run", *words, "--out", str(out)]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
            for line in running.stderr:
                said.append(line)
                if found := ESTIMATE.match(line):
                    since, estimate = time.perf_counter(), float(found[1].replace(",", "")) * UNITS[found[2]]
        ended = time.perf_counter()
        if running.returncode:
            raise SystemExit("".join(said))
        (results,) = {path.resolve() for path in Path(out).glob("*/results.json")}  # a link leads to the folder
        found = json.loads(results.read_text())["stages"]
    made = {stage["stage"]: (stage["seconds"], f"{stage['items']:,} {stage['unit']}") for stage in found}
    made["start, measuring, scoring, report"] = ended - began - sum(seconds for seconds, _ in made.values()), ""
    return Whole(made, ended - began, ended - since, estimate)


def stages(words: Sequence[str], kept: Path | None = None) -> str:
    """The stages of one run, as a table."""
    one = run(words, kept)
    rows = [[stage, f"{seconds:.0f}", of] for stage, (seconds, of) in one.stages.items()]
    rows.append(["whole", f"{one.seconds:.0f}", ""])
    ratio = f"estimated {one.estimate:.0f} s, {one.since_estimate / one.estimate:.2f} times as long"
    rows.append(["of these, since the estimate", f"{one.since_estimate:.0f}", ratio])
    return table([f"`genrobust run {' '.join(words)}`", "seconds", "of"], rows)


def workers(words: Sequence[str], rounds: int) -> str:
    """The times of the same study with one worker and with all of them, in turns."""
    counts = {1, cores()}
    seconds: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for turn in range(rounds):
        for count in sorted(counts, reverse=turn % 2 == 1):
            one = run([*words, "--workers", str(count)])
            seconds[count].append({**{stage: spent for stage, (spent, _) in one.stages.items()}, "whole": one.seconds})
    rows = []
    for stage in seconds[1][0]:
        times = {count: [one[stage] for one in found] for count, found in seconds.items()}
        rows.append([stage, *(f"{median(times[count]):.0f}" for count in sorted(counts))])
        rows[-1].append(times_faster(times[max(counts)], times[1]))
    heads = [f"{count} worker{'s' if count > 1 else ''}, s" for count in sorted(counts)]
    return table([f"`genrobust run {' '.join(words)}`", *heads, "times one"], rows)


def plan(count: int, generated: GenerateConfig) -> Plan:
    """`count` requests of Pictograms: of so many classes, or of all 100 in turn."""
    recipe = load_recipe("pictograms")
    data = load_data(recipe.data)
    labels = LabelSpace(data.labels.classes[: min(count, len(data.labels))])
    config = generated.model_copy(update={"per_class": count // len(labels)})
    return plan_of(recipe.generator, config, labels, data.train, recipe.data_seed)


def draw(requests: Plan, out: Path, threads: int) -> None:
    recipe = load_recipe("pictograms")
    job = Generation(requests, recipe.generator, recipe.generate, requests.labels, out, "cpu", threads)
    with job.claimed() as missing:
        job.load()(missing)


def growth(rounds: int) -> str:
    """The time for ten times the images, a row for each stage."""
    recipe = load_recipe("pictograms")
    data, threads = load_data(recipe.data), recipe.threads
    few, many = plan(DRAWN, recipe.generate), plan(10 * DRAWN, recipe.generate)
    mixture = Mixture([Source("real", data.train)], recipe.train.batch_size, recipe.train.image_size, recipe.train.crop)
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
        opened = {PredictedBy("model", "model"): open_checkpoint(out)}
        predict_sets(out / "predictions", opened, {"images": images}, data.labels, 256, "cpu", threads)

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
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of either")
    parser.add_argument("--out", type=Path, help="a new folder that keeps what either makes")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(where_and_when(), flush=True)
    if asked.demo or asked.recipe:
        words = [asked.recipe or "pictograms", *(["--quick"] if asked.quick else [])]
        words += [word for value in asked.set for word in ("--set", value)]
        print(f"\n{stages(words, asked.out)}", flush=True)
        return
    quick = ["pictograms", "--quick"]
    for part in (partial(stages, quick), partial(workers, quick, asked.rounds), partial(growth, asked.rounds)):
        print(f"\n{part()}", flush=True)


if __name__ == "__main__":
    main()
