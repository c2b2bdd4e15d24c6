"""Settings that fit the images and the machine."""

import pytest

from genrobust.tools.init.proposing import SEEDS, least_images, no_preview, propose, propose_tuned, shift_to_choose_by


@pytest.mark.parametrize(
    ("real", "largest", "side", "workers", "size", "batch", "steps", "architecture"),
    [
        (378, 378, 227, 2, 64, 32, 400, "resnet10t"),
        (2_000, 7_000, 500, 0, 224, 128, 1_700, "resnet18"),
        (24, 54, 20, 2, 32, 8, 300, "resnet10t"),
        (1_281_167, 2_581_167, 400, 0, 224, 128, 50_000, "resnet50"),
    ],
)
def test_training_fits_the_images_and_the_machine(real, largest, side, workers, size, batch, steps, architecture):
    found = propose(real, largest, side, arms=2, baselines=6, workers=workers)
    keys = ("image_size", "batch_size", "steps", "architecture")
    assert tuple(found[key] for key in keys) == (size, batch, steps, architecture)
    assert f"{largest:,} images" in found["steps_reason"]


def test_more_arms_take_shorter_trainings_and_more_cores_longer_ones_on_a_cpu():
    def images(**changed):
        settings = {"real": 50_000, "largest": 100_000, "side": 64, "arms": 5, "baselines": 6, "workers": 4} | changed
        found = propose(**settings)
        return found["steps"] * found["batch_size"], found["quick_steps"] * found["batch_size"]

    usual = images()
    assert usual[1] < usual[0] < 30 * 100_000
    assert all(more > few for more, few in zip(images(workers=16), usual, strict=True))
    assert images(arms=2)[0] > usual[0]
    tuned = propose_tuned(50_000, 100_000, arms=5, workers=4, size=224)
    assert tuned["steps"] * tuned["batch_size"] < usual[0]  # an image of a pretrained network takes longer
    assert images(workers=0)[0] == 100_000 * 30 // 128 // 100 * 100 * 128 + 100 * 128  # a GPU has no such limit


def test_a_quick_study_of_few_images_is_the_whole_training():
    found = propose(378, 378, 64, arms=2, baselines=6, workers=2)
    assert found["quick_steps"] == found["steps"]
    assert not no_preview(found["quick_steps"], found["batch_size"], 7, 60)
    assert SEEDS == 3


def test_what_is_no_preview_says_why():
    assert "1,000 classes" in no_preview(200, 128, 1_000, 1_300)
    assert "3 training images" in no_preview(200, 128, 2, 3)


@pytest.mark.parametrize(
    ("sizes", "least"), [([], 150), ([400, 120], 120), ([400, 12], 150), ([120, 12], 120), ([12, 8, 0], 8), ([0], 150)]
)
def test_small_shifts_are_averaged(sizes, least):
    assert least_images(dict(enumerate(sizes))) == least


def test_the_largest_shift_chooses_where_there_are_two_of_which_one_is_large():
    assert shift_to_choose_by({"ink": 100, "oil": 200}) == ("oil", "")
    assert "two shifts" in shift_to_choose_by({"ink": 100})[1]
    assert "has 89 images" in shift_to_choose_by({"ink": 89, "oil": 10})[1]
