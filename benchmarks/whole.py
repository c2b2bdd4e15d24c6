"""Time of a whole study: seconds of its stages, and the estimate before it.

    python benchmarks/whole.py             `genrobust run pictograms`, what `make demo` runs
    python benchmarks/whole.py --recipe study.yaml [--quick]      any other recipe

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/whole.py      as a plain CPU would

The seconds of stages are the run's own, as in its report; the estimate is that of the run before it starts.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from side_by_side import table, where_and_when

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
            assert running.stderr is not None
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="pictograms")
    parser.add_argument("--quick", action="store_true", help="its short version")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    parser.add_argument("--out", type=Path, help="a new folder that keeps what is made")
    asked = parser.parse_args()
    words = [asked.recipe, *(["--quick"] if asked.quick else [])]
    words += [word for value in asked.set for word in ("--set", value)]
    print(f"{where_and_when()}\n\n{stages(words, asked.out)}")


if __name__ == "__main__":
    main()
