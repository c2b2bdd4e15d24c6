"""The length of trainings that fits the images and the machine."""

import pytest

from genrobust.tools.init.proposing import SCRATCH, STUDY_SECONDS, TUNED, propose_length


@pytest.mark.parametrize(
    ("pace", "real", "largest", "workers", "batch", "steps"),
    [
        (SCRATCH, 378, 378, 2, 32, 360),
        (SCRATCH, 24, 54, 2, 8, 210),
        (SCRATCH, 1_281_167, 2_581_167, 0, 128, 50_000),
        (TUNED, 154, 574, 2, 16, 130),
        (TUNED, 20_000, 40_000, 0, 32, 2_000),
    ],
)
def test_training_fits_the_images_and_the_machine(pace, real, largest, workers, batch, steps):
    found = propose_length(pace, real, largest, 64 if pace is SCRATCH else 224, 12, workers)
    assert (found["batch_size"], found["steps"]) == (batch, steps)
    assert found["passes"] == round(steps * batch / largest)


@pytest.mark.parametrize("pace", [SCRATCH, TUNED])
def test_many_images_take_the_time_that_a_study_has(pace):
    found = propose_length(pace, 50_000, 100_000, 128, 6, 8)
    seconds = found["steps"] * 6 * found["batch_size"] * pace.seconds * 128**2 / 8
    assert seconds == pytest.approx(STUDY_SECONDS, rel=0.05)
