"""The tables that others published, where a folder beside the checkout has them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
CLASSMAPS, TESTBED, TIMM = DATA / "classmaps", DATA / "imagenet-testbed", DATA / "timm"
needs_tables = pytest.mark.skipif(not DATA.is_dir(), reason=f"the published tables are not at {DATA}")


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def of_testbed(clean: str, shifted: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The testbed's models, their accuracies in percent on both sets, and which are its standard models.

    Its own plots leave two retrainings of ResNet-50 ("aws", "batch64") out of the standard models; so does this.
    """
    standard = {row["model"] for row in read(TESTBED / "model_types.csv") if row["model_type"] == "STANDARD"}
    rows = [row for row in read(TESTBED / "robustness_top1s.csv") if row[clean] and row[shifted]]
    names = [row["model"] for row in rows]
    baselines = np.array([n in standard and "aws" not in n and "batch64" not in n for n in names])
    return names, *(np.array([float(row[column]) for row in rows]) for column in (clean, shifted)), baselines
