"""The length of trainings that fits the images and the machine."""

import math

import pytest

from genrobust.tools.init.proposed_settings import SCRATCH, STUDY_SECONDS, TUNED, propose_length


@pytest.mark.parametrize(
    ("pace", "real", "largest", "cores", "batch", "steps"),
    [
        (SCRATCH, 378, 378, 2, 32, 360),
        (SCRATCH, 24, 54, 2, 8, 210),
        (SCRATCH, 50_000, 100_000, 2, 128, 1_050),
        (SCRATCH, 1_281_167, 2_581_167, math.inf, 128, 50_000),
        (TUNED, 154, 574, 2, 16, 130),
        (TUNED, 20_000, 40_000, math.inf, 32, 2_000),
    ],
)
def test_training_fits_the_images_and_the_machine(pace, real, largest, cores, batch, steps):
    found = propose_length(pace, real, largest, 64 if pace is SCRATCH else 224, STUDY_SECONDS * cores / 12)
    assert found == {"batch_size": batch, "steps": steps}
