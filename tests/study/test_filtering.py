"""The command filter: which images it leaves out, and what it refuses."""

import pytest
from small_photos import FOLDERS, rejected
from small_study import genrobust


@pytest.mark.parametrize("by", ["clip", "classifier"])
def test_a_filter_leaves_out_the_lowest_of_each_class(shards, icons, clip_folder, save_classifier, by):
    model = clip_folder if by == "clip" else save_classifier(icons.labels)
    words = ("filter", shards, f"--{by}", model, "--device", "cpu")
    assert "12 of 18 images kept" in genrobust(*words, "--drop", 0.34).output
    genrobust(*words, code=2, said="drop")
    genrobust(*words, "--threshold", 5, code=2, said="threshold")
    assert sorted(key.rpartition("-")[0] for key in rejected(shards)) == sorted([*FOLDERS.values()] * 2)


def test_image_folders_have_no_filter(photos):
    words = ("filter", photos / "made", "--clip", "pictograms", "--drop", 0.1)
    genrobust(*words, code=2, said="holds no generated dataset")
