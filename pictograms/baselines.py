"""Train the grid of standard models on real pictograms and write the table of the baseline line.

    python pictograms/baselines.py

The models differ in size, training length and fraction of the real images; none sees generated or wild images. Their
checkpoints are kept under `runs`, so a killed run resumes.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from genrobust.data.baseline_tables import ARCHITECTURE, BASELINE_COLUMNS
from genrobust.recipe import load_recipe
from genrobust.study import Processes, Study

TABLE = Path(__file__).parents[1] / "src" / "genrobust" / "assets" / "pictograms" / "baselines.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    args = parser.parse_args()
    recipe = load_recipe("pictograms-full", [f"robustness.grid={args.models}"])
    study = Study(recipe, args.out, say=lambda line: print(line, flush=True), executor=Processes(recipe))
    rows = study.scores().baselines
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*BASELINE_COLUMNS, ARCHITECTURE])
        writer.writerows((r.model, r.test_set, f"{r.clean:.4f}", f"{r.shifted:.4f}", r.architecture) for r in rows)


if __name__ == "__main__":
    main()
