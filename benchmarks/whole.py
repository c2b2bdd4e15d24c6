"""What a whole study takes: its stages in seconds, how each grows with images, and how drawing grows with workers.

    python benchmarks/whole.py            `genrobust run pictograms --quick`, then growth: about 7 minutes on 2 cores
    python benchmarks/whole.py --demo     `genrobust run pictograms` itself, what `make demo` runs: about 13 minutes

Stages are the run's own timings, as its report tells them. A stage grows well where ten times the images take at most
ten times as long: drawing and training are given ten times as many to make, evaluation ten times as many to answer for.
Workers are processes of one thread on one folder, each with its share of the shards; they are timed from the moment at
which all have imported what they need, and one draws what two do. The thread that encodes and writes images has a
core of its own beside one process, and none beside two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from side_by_side import cores, interleaved, table, times_faster, use_cores, where_and_when

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

STEPS = 4  # of denoising, where time is compared with time: few, so that all else weighs more than in a study
DRAWN = 70  # images, and ten times as many
TRAINED = 20  # steps, and ten times as many
ANSWERED = 100  # test images, and ten times as many
SHARED = 400  # images that workers share, in shards of
SHARD = 50


def stages(words: Sequence[str]) -> str:
    """The stages of `genrobust run` with `words`, from nothing to the report, as a table."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "genrobust", "run", *words, "--out", out]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        whole = time.perf_counter() - began
        (results,) = Path(out).glob("*/results.json")
        found = json.loads(results.read_text())["stages"]
    rows = [[s["stage"], f"{s['seconds']:.0f}", f"{s['items']:,} {s['unit']}"] for s in found]
    rest = whole - sum(s["seconds"] for s in found)
    rows += [["start, scoring, report", f"{rest:.0f}", ""], ["whole", f"{whole:.0f}", ""]]
    return table([f"`genrobust run {' '.join(words)}`", "seconds", "of"], rows)


def plan(count: int, generated: GenerateConfig) -> Plan:
    """`count` requests of the Pictograms: of so many classes, or of all 100 in turn."""
    recipe = load_recipe("pictograms")
    data = load_data(recipe.data)
    labels = LabelSpace(data.labels.classes[: min(count, len(data.labels))])
    config = generated.model_copy(update={"per_class": count // len(labels)})
    return plan_of(recipe.generator, config, labels, data.train, recipe.data_seed)


def draw(
    requests: Plan, out: Path, threads: int, shard_size: int, steps: int = STEPS, shards: Sequence[int] | None = None
) -> None:
    recipe = load_recipe("pictograms", [f"generator.steps={steps}", f"generate.shard_size={shard_size}"])
    generate(requests, recipe.generator, recipe.generate, requests.labels, out, "cpu", threads, shards)


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
        draw(requests, out, threads, recipe.generate.shard_size)

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


def workers(rounds: int) -> str:
    """What two processes of one thread draw in the time of one, with the recipe's steps of denoising and with few."""
    recipe = load_recipe("pictograms")
    assert recipe.generator is not None
    rows = []
    for steps in (recipe.generator.steps, STEPS):
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(rounds):
            for count in (1, 2) if turn % 2 == 0 else (2, 1):
                seconds[count].append(drawn_by(count, steps))
        rates = [f"{SHARED / median(found):.1f}" for found in seconds.values()]
        rows.append([f"{steps} steps", *rates, times_faster(seconds[2], seconds[1])])
    return table(["generate", "one process, images/s", "two processes", "times one"], rows)


def drawn_by(count: int, steps: int) -> float:
    """Seconds in which `count` processes draw SHARED images into one folder, once all of them are ready."""
    with tempfile.TemporaryDirectory() as folder:
        shards = [str(i) for i in range(SHARED // SHARD)]
        command = [sys.executable, __file__, "--worker", str(Path(folder) / "out"), str(steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        all_of_them = [
            subprocess.Popen([*command, *shards[k::count]], env=environment, text=True, **pipes) for k in range(count)
        ]
        for one in all_of_them:
            assert one.stdout.readline() == "ready\n"
        began = time.perf_counter()
        for one in all_of_them:
            one.stdin.write("go\n")
            one.stdin.flush()
        assert [one.wait() for one in all_of_them] == [0] * count
        return time.perf_counter() - began


def worker(out: Path, steps: int, shards: Sequence[int]) -> None:
    """One worker: tells that it is ready, waits for the word, and draws its shards."""
    requests = plan(SHARED, load_recipe("pictograms").generate)
    print("ready", flush=True)
    sys.stdin.readline()
    draw(requests, out, 1, SHARD, steps, shards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="the stages of `make demo` instead of the quick version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs="+", metavar=("FOLDER", "STEPS_SHARDS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    use_cores(2)
    if asked.worker:
        folder, steps, *shards = asked.worker
        worker(Path(folder), int(steps), [int(shard) for shard in shards])
        return
    print(where_and_when(), flush=True)
    for part in (
        partial(stages, ["pictograms"] if asked.demo else ["pictograms", "--quick"]),
        partial(growth, asked.rounds),
        partial(workers, asked.rounds),
    ):
        print(f"\n{part()}", flush=True)


if __name__ == "__main__":
    main()
