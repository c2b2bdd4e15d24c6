"""The length of trainings that fits the images and the machine."""

import math

import pytest

from genrobust.tools.init.proposing import SCRATCH, STUDY_SECONDS, TUNED, propose_length


@pytest.mark.parametrize(
    ("pace", "real", "largest", "cores", "batch", "steps"),
    [
        (SCRATCH, 378, 378, 2, 32, 360),
        (SCRATCH, 24, 54, 2, 8, 210),
        (SCRATCH, 1_281_167, 2_581_167, math.inf, 128, 50_000),
        (TUNED, 154, 574, 2, 16, 130),
        (TUNED, 20_000, 40_000, math.inf, 32, 2_000),
    ],
)
def test_training_fits_the_images_and_the_machine(pace, real, largest, cores, batch, steps):
    found = propose_length(pace, real, largest, 64 if pace is SCRATCH else 224, STUDY_SECONDS * cores / 12)
    assert found == {"batch_size": batch, "steps": steps}


@pytest.mark.parametrize("pace", [SCRATCH, TUNED])
def test_many_images_take_the_time_that_a_study_has(pace):
    found = propose_length(pace, 50_000, 100_000, 128, seconds=1600)
    assert found["steps"] * found["batch_size"] * pace.seconds * 128**2 == pytest.approx(1600, rel=0.05)
