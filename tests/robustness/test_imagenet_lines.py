"""The built-in lines of ImageNet's shifts are those of the testbed's standard models, and give intervals alone."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress, t

from genrobust.core.results import Line, Predictions
from genrobust.recipe.data import ShiftConfig
from genrobust.robustness.effective import drawn_lines, effective_robustness, fit_line
from genrobust.robustness.imagenet_lines import LINES, published_line
from genrobust.robustness.summary import Comparison, summarize

TESTBED = Path(__file__).parents[3] / "shared" / "data" / "imagenet-testbed"
COLUMNS = {
    "imagenet-v2": ("val", "imagenetv2-matched-frequency-format-val"),
    "imagenet-v2 threshold": ("val", "imagenetv2-threshold-0.7-format-val"),
    "imagenet-v2 top": ("val", "imagenetv2-top-images-format-val"),
    "imagenet-sketch": ("val", "imagenet-sketch"),
    "imagenet-r": ("val-on-imagenet-r-classes", "imagenet-r"),
    "objectnet": ("val-on-objectnet-classes", "objectnet-1.0-beta"),
}


def standard(clean: str, shifted: str) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies, as fractions, of the standard models that have both."""
    with (TESTBED / "model_types.csv").open(newline="") as file:
        types = {row["model"]: row["model_type"] for row in csv.DictReader(file)}
    with (TESTBED / "robustness_top1s.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[clean] and row[shifted]]
    rows = [r for r in rows if types.get(r["model"]) == "STANDARD"]
    rows = [r for r in rows if "aws" not in r["model"] and "batch64" not in r["model"]]
    x, y = (np.array([float(row[column]) for row in rows]) / 100 for column in (clean, shifted))
    return x, y


@pytest.mark.skipif(not TESTBED.is_dir(), reason=f"the published tables are not at {TESTBED}")
@pytest.mark.parametrize("name", LINES)
def test_scipy_fits_the_same_line_to_the_published_table(name: str) -> None:
    x, y = standard(*COLUMNS[name])
    fit, line = linregress(logit(x), logit(y)), LINES[name]
    residuals = logit(y) - fit.intercept - fit.slope * logit(x)
    assert line.n == len(x)
    assert (line.slope, line.intercept) == pytest.approx((fit.slope, fit.intercept), abs=6e-6)
    assert line.r2 == pytest.approx(fit.rvalue**2, abs=6e-6)
    assert line.residual_sd == pytest.approx(np.sqrt((residuals**2).sum() / (len(x) - 2)), abs=6e-6)
    assert (line.lo, line.hi) == pytest.approx((100 * x.min(), 100 * x.max()), abs=0.006)
    assert line.centre == pytest.approx(logit(x).mean(), abs=6e-6)


@pytest.mark.parametrize(
    ("name", "clean", "shifted", "er"),
    [  # the testbed's ResNet-50 with DeepAugment and AugMix
        ("imagenet-v2", 75.822, 63.540, -0.05),
        ("imagenet-sketch", 75.822, 32.618, 8.50),
        ("imagenet-r", 91.960, 46.770, 10.32),
        ("objectnet", 78.320, 35.157, 1.27),
        # at half right the logit is 0, and the line predicts what makes its intercept
        ("imagenet-v2", 50.0, 100 / (1 + np.exp(0.49769)), 0.0),
        ("objectnet", 50.0, 100 / (1 + np.exp(1.92829)) + 3, 3.0),
    ],
)
def test_known_effective_robustness(name: str, clean: float, shifted: float, er: float) -> None:
    assert float(effective_robustness(LINES[name], clean, shifted)) == pytest.approx(er, abs=0.006)


@pytest.mark.parametrize(
    ("shift", "line"),
    [
        ({"kind": "imagenet-v2", "path": "imagenetv2-matched-frequency-format-val"}, "imagenet-v2"),
        ({"kind": "imagenet-v2", "path": "/data/v2"}, "imagenet-v2"),
        ({"kind": "imagenet-v2", "path": "imagenetv2-threshold0.7-format-val"}, "imagenet-v2 threshold"),
        ({"kind": "imagenet-v2", "path": "imagenetv2-top-images-format-val"}, "imagenet-v2 top"),
        ({"kind": "imagenet-r", "path": "imagenet-r"}, "imagenet-r"),
        ({"kind": "objectnet", "path": "objectnet-1.0"}, "objectnet"),
        ({"kind": "objectnet", "path": "objectnet-1.0", "map": "paper"}, None),
        ({"kind": "imagenet-a", "path": "imagenet-a"}, None),
        ({"kind": "folders", "path": "imagenet-sketch"}, None),
    ],
)
def test_a_shift_has_the_line_of_its_kind(shift: dict[str, str], line: str | None) -> None:
    found = published_line("mine", ShiftConfig.model_validate(shift))
    assert (None if found is None else found.slope) == (None if line is None else LINES[line].slope)
    assert found is None or found.test_set == "mine"


def test_drawn_lines_scatter_as_the_standard_errors_of_the_fit_say() -> None:
    """Against scipy's standard error of the mean response, at the centre and away from it."""
    rng = np.random.default_rng(0)
    x = rng.normal(1.2, 0.4, 30)
    y = 0.9 * x - 1 + rng.normal(0, 0.15, 30)
    line = fit_line(100 * expit(x), 100 * expit(y), "shift")
    slope, intercept = drawn_lines(line, 100_000, np.random.default_rng(1))
    fit = linregress(x, y)
    for at in (x.mean(), 0.0, 3.0):
        error = np.sqrt(line.residual_sd**2 / 30 + (fit.stderr * (at - x.mean())) ** 2)
        heights = intercept + slope * at
        expected = fit.intercept + fit.slope * at + error * t.ppf([0.025, 0.975], 28)
        assert np.quantile(heights, [0.025, 0.975]) == pytest.approx(expected, abs=0.03 * error)


def predictions(test_set: str, right: float, n: int = 400) -> Predictions:
    """Two classes; the first `right` of n images are classified right."""
    labels = np.arange(n) % 2
    logits = np.zeros((n, 2), dtype=np.float32)
    guess = np.where(np.arange(n) < right * n, labels, 1 - labels)
    logits[np.arange(n), guess] = 1
    return Predictions(test_set, logits, labels, tuple(map(str, range(n))), ("a", "b"), "64 px")


def test_a_published_line_stands_in_for_baselines() -> None:
    found = {("real", 0, "test"): predictions("test", 0.9), ("real", 0, "sketch"): predictions("sketch", 0.8)}
    line = Line("sketch", "logit", 1.0, -1.0, 0.9, 50, 0.1, 50.0, 85.0, 1.0)
    alone = summarize(found, [], Comparison("test", ["sketch"], "real", published={"sketch": line}))
    er = alone.score("er", "real", "sketch")
    assert er.value == pytest.approx(80 - 100 * expit(logit(0.9) - 1))
    assert "images and the line's error" in er.method
    assert er.extrapolated and alone.lines == {"sketch": line}
    exact = Line("sketch", "logit", 1.0, -1.0, 1 - 1e-9, 50, 1e-9, 50.0, 85.0, 1.0)
    narrow = summarize(found, [], Comparison("test", ["sketch"], "real", published={"sketch": exact}))
    narrow = narrow.score("er", "real", "sketch")
    assert er.hi - er.lo > narrow.hi - narrow.lo > 5  # the line's own error comes on top of that over images


def test_a_set_beside_is_scored_and_left_out_of_the_mean() -> None:
    found = {("real", 0, name): predictions(name, right) for name, right in (("test", 0.9), ("a", 0.5), ("b", 0.7))}
    summary = summarize(found, [], Comparison("test", ["a", "b"], "real", beside=["b"]))
    assert summary.shifts == ("a",) and summary.left_out == {"b": "named under evaluate.beside"}
    assert summary.score("top1", "real").value == 50 and summary.score("top1", "real", "b").value == pytest.approx(70)
