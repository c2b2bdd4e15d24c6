"""Each set's baseline line is that of the testbed's standard models."""

from __future__ import annotations

import numpy as np
import pytest
from published_tables import needs_tables, of_testbed
from scipy.special import logit
from scipy.stats import linregress

from genrobust.core import Line
from genrobust.data import published_line
from genrobust.recipe import ImagesConfig
from genrobust.robustness import effective_robustness

V2 = "imagenet-v2 imagenetv2-"
COLUMNS = {  # by kind and folder
    f"{V2}matched-frequency-format-val": ("val", "imagenetv2-matched-frequency-format-val"),
    f"{V2}threshold0.7-format-val": ("val", "imagenetv2-threshold-0.7-format-val"),
    f"{V2}top-images-format-val": ("val", "imagenetv2-top-images-format-val"),
    "imagenet-sketch /data/sketch": ("val", "imagenet-sketch"),
    "imagenet-r /data/r": ("val-on-imagenet-r-classes", "imagenet-r"),
    "objectnet objectnet-1.0": ("val-on-objectnet-classes", "objectnet-1.0-beta"),
}


def line_of(name: str, **keys: str) -> Line | None:
    kind, _, path = name.partition(" ")
    return published_line("mine", ImagesConfig.model_validate({"kind": kind, "path": path or "/data/set", **keys}))


@needs_tables
@pytest.mark.parametrize("name", COLUMNS)
def test_scipy_fits_the_same_line_to_the_published_table(name: str) -> None:
    _, clean, shifted, baselines = of_testbed(*COLUMNS[name])
    x, y = clean[baselines] / 100, shifted[baselines] / 100
    fit, line = linregress(logit(x), logit(y)), line_of(name)
    assert line is not None
    residuals = logit(y) - fit.intercept - fit.slope * logit(x)
    assert line.n == len(x)
    assert (line.slope, line.intercept) == pytest.approx((fit.slope, fit.intercept), abs=6e-6)
    assert line.r2 == pytest.approx(fit.rvalue**2, abs=6e-6)
    assert line.residual_sd == pytest.approx(np.sqrt((residuals**2).sum() / (len(x) - 2)), abs=6e-6)
    assert (line.lo, line.hi) == pytest.approx((100 * x.min(), 100 * x.max()), abs=0.006)
    assert line.center == pytest.approx(logit(x).mean(), abs=6e-6)


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
    line = line_of(name)
    assert line is not None and line.test_set == "mine"
    assert float(effective_robustness(line, clean, shifted)) == pytest.approx(er, abs=0.006)


@pytest.mark.parametrize(
    ("path", "like"),
    [
        ("imagenetv2-top-images/val", "top-images"),
        ("imagenetv2-top-images/*.tar", "top-images"),
        ("hf:/owner/imagenetv2-top@main/data/*.parquet", "top-images"),
        ("imagenet-v2/Threshold0.7", "threshold-0.7"),
        ("desktop-v2", "matched-frequency"),
        ("top-models/imagenet-v2", "matched-frequency"),
        ("imagenetv2-top/imagenetv2-matched-frequency", "matched-frequency"),
    ],
)
def test_the_line_of_v2_is_that_of_the_version_in_the_path(path: str, like: str) -> None:
    assert line_of(f"imagenet-v2 /data/{path}") == line_of(f"{V2}{like}-format-val")


@pytest.mark.parametrize(("name", "keys"), [("objectnet", {"map": "paper"}), ("imagenet-a", {}), ("folders", {})])
def test_some_shifts_have_no_line(name: str, keys: dict[str, str]) -> None:
    assert line_of(name, **keys) is None
