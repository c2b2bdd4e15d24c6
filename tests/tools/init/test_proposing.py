"""The length of trainings that fits the images and the machine."""

import pytest

from genrobust.tools.init.proposing import SCRATCH, STUDY_SECONDS, TUNED, propose


@pytest.mark.parametrize(
    ("pace", "real", "largest", "workers", "batch", "steps"),
    [
        (SCRATCH, 378, 378, 2, 32, 360),
        (SCRATCH, 24, 54, 2, 8, 210),
        (SCRATCH, 2_000, 7_000, 0, 128, 1_650),
        (SCRATCH, 1_281_167, 2_581_167, 0, 128, 50_000),
        (TUNED, 154, 574, 2, 16, 130),
        (TUNED, 20_000, 40_000, 0, 32, 2_000),
    ],
)
def test_training_fits_the_images_and_the_machine(pace, real, largest, workers, batch, steps):
    found = propose(pace, real, largest, 64 if pace is SCRATCH else 224, 12, workers)
    assert (found["batch_size"], found["steps"]) == (batch, steps)
    assert found["passes"] == round(steps * batch / largest)


@pytest.mark.parametrize("pace", [SCRATCH, TUNED])
def test_more_trainings_are_shorter_and_more_cores_allow_longer_ones(pace):
    def steps(trainings, workers):
        return propose(pace, 50_000, 100_000, 128, trainings, workers)["steps"]

    assert steps(12, 2) < steps(6, 2) < steps(6, 8) <= steps(6, 0)
    seconds = steps(6, 8) * 6 * propose(pace, 50_000, 100_000, 128, 6, 8)["batch_size"] * pace.seconds * 128**2 / 8
    assert seconds == pytest.approx(STUDY_SECONDS, rel=0.05)
