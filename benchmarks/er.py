"""Cost of `genrobust effective-robustness` on large tables: seconds and peak memory of the whole command.

    python benchmarks/er.py --rows 1000 100000 1000000

writes tables of random accuracies with six digits (34 bytes a row, all of them different, and every model a baseline:
the hardest case), and runs the command on each in a process of its own, JSON file included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COMMAND = ("-m", "genrobust", "effective-robustness", "t.csv", "--id", "val", "--shift", "sketch", "--json", "out.json")


def write_table(path: Path, rows: int) -> None:
    """Write a table of so many models, whose accuracies follow a line with noise."""
    rng = np.random.default_rng(0)
    clean = rng.uniform(20, 90, rows)
    shifted = np.clip(clean - 20 + rng.normal(0, 3, rows), 0.1, 99)
    with path.open("w", encoding="utf-8") as file:
        file.write("model,val,sketch\n")
        for i, pair in enumerate(zip(clean.tolist(), shifted.tolist(), strict=True)):
            file.write("model-{:07d},{:.6f},{:.6f}\n".format(i, *pair))


def measure(folder: Path) -> dict[str, float]:
    """Run the command once: wall-clock and CPU seconds, and peak memory in MB."""
    start = time.perf_counter()
    done = subprocess.Popen([sys.executable, *COMMAND], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(done.pid, 0)
    if status:
        sys.exit(f"genrobust effective-robustness failed: {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6),  # Linux counts in KiB
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / "t.csv", rows)
            print(json.dumps({"rows": rows, **measure(Path(folder))}), flush=True)


if __name__ == "__main__":
    main()
