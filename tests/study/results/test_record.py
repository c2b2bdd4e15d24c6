"""The pictures of a report: every class, each style once, and no more than one page holds."""

import io
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from small_study import CLASSES as CHOSEN, REAL, folders_section, recipe_of

from genrobust.core import ClassLabel, ClassReport, LabelSpace
from genrobust.study import Study
from genrobust.study.batch import batches_of
from genrobust.study.estimates import Rates
from genrobust.study.results import record
from genrobust.study.results.record import device_seconds, gallery, last_rise, single_predictions


class Images:
    """Images of some classes, stored in any order, in styles by turns."""

    def __init__(self, labels, styles):
        self.labels = np.array(labels)
        self.styles = [styles[i % len(styles)] for i in range(len(labels))]
        self.keys = [f"image {i}" for i in range(len(labels))]

    def image(self, index):
        return Image.new("RGB", (100, 50), (int(self.labels[index]), 0, 0))


CLASSES = LabelSpace(tuple(ClassLabel(f"c{i}", f"name {i}", f"prompt {i}") for i in range(5)))


def test_every_class_is_shown_in_each_style_once_and_a_class_without_images_in_none():
    labels = [label for label in (4, 0, 1, 2) for _ in range(20)]  # none of class 3
    found = list(
        gallery(CLASSES, {"real": Images(labels, ["outline"]), "generated": Images(labels, ["a", "b", "c", "d"])})
    )
    shown = Counter((picture.origin, picture.class_name, picture.style) for picture in found)
    assert {name for _, name, _ in shown} == {"name 0", "name 1", "name 2", "name 4"}
    assert {shown["generated", "name 1", style] for style in "abcd"} == {1}
    assert shown["real", "name 4", "outline"] == record.WITHOUT_STYLES
    assert len({picture.caption for picture in found if picture.origin == "real"}) == 4 * record.WITHOUT_STYLES
    image = Image.open(io.BytesIO(found[0].data))
    assert image.format == "WEBP" and image.size == (64, 32)


def test_of_too_many_pictures_whole_classes_are_left_out_evenly():
    images = Images([label for label in range(5) for _ in range(9)], ["outline"])
    found = list(gallery(CLASSES, {"real": images}, most=8))
    assert list(dict.fromkeys(picture.class_name for picture in found)) == ["name 0", "name 2", "name 4"]
    assert len(found) == 3 * record.WITHOUT_STYLES


def test_an_arm_without_an_image_of_a_class_is_warned_of(write_folder, tmp_path):
    folders = {name: write_folder(name, split, 4, CHOSEN) for name, split in (("train", "train"), ("test", "test"))}
    more = {"more": str(write_folder("more", "solid", 2, {"airplane": "airplane", "bell": "bell"}))}
    arms = [{"name": "real", "mixture": "real"}, {"name": "others", "mixture": "more"}]
    recipe = recipe_of(data=folders_section(folders, extra=more), arms=arms, device="cpu")
    plan = Study(recipe, tmp_path / "runs").plan
    (warning,) = record._warnings(plan, [])
    assert "others" in warning and warning.endswith(": anchor.")


def test_images_that_two_trainings_of_an_arm_mix_count_once(tmp_path):
    arms = [
        {"name": "first", "mixture": "generated"},
        {"name": "second", "mixture": "generated", "train": {"init": "arm:first"}},
    ]
    plan = Study(recipe_of(arms=arms, reference="first"), tmp_path).plan
    first, second = plan.runs
    assert device_seconds(plan, second) == {}, "no rate is known"
    for step in plan.steps():
        for item in step.items():
            Rates(plan.context.out).remember(step.stage, step.cost(item).keys(step.worker)[0], 1.0, 1e9)
    alone, both = (device_seconds(plan, run) for run in (first, second))
    assert both["generate"] == alone["generate"] > 0
    assert both["train"] == 2 * alone["train"]


def test_an_augmentation_and_the_size_of_a_class_model_have_their_own_cost(tmp_path):
    sizes = {"small": [32, 32], "large": [64, 64]}
    model = {"from_scratch": True, "generate": {"per_class": 1, "shard_size": 100}}
    datasets = {name: model | {"class_model": {"channels": channels, "threads": 2}} for name, channels in sizes.items()}
    arms = [REAL, {"name": "augmix", "mixture": "real", "train": {"augmentation": "augmix"}}]
    arms += [{"name": name, "mixture": name} for name in sizes]
    plan = Study(recipe_of(arms=arms, datasets=datasets, device="cpu", threads=1), tmp_path).plan
    seconds = {"real, seed 0": 10, "augmix, seed 0": 20, "small, seed 0": 10, "large, seed 0": 10}
    seconds |= {"shard 000000 of small": 3, "class model 32 x 32": 40}
    seconds |= {"shard 000000 of large": 5, "class model 64 x 64": 90}
    for batch in batches_of(plan.steps()):
        for item in batch.items():
            if item.name in seconds:
                batch.keep_rate([item], seconds.pop(item.name))
    assert not seconds
    assert {run.of: device_seconds(plan, run) for run in plan.runs} == {
        "real": {"train": pytest.approx(10)},
        "augmix": {"train": pytest.approx(20)},
        "small": pytest.approx({"class model": 2 * 40, "generate": 3, "train": 10}),
        "large": pytest.approx({"class model": 2 * 90, "generate": 5, "train": 10}),
    }


def test_two_datasets_of_an_arm_with_the_same_images_are_warned_of(tmp_path):
    more = {"generate": {"per_class": 3}}
    guided = more | {"generator": {"guidance_scale": 5.0}}
    datasets = {"more": more, "others": more | {"data_seed": 1}, "guided": guided}
    arms = [REAL, *({"name": f"with {name}", "mixture": ["generated", name]} for name in datasets)]
    recipe = recipe_of(arms=arms, datasets=datasets, generate={"per_class": 2, "shard_size": 7}, generator={"steps": 1})
    plan = Study(recipe, tmp_path).plan
    (warning,) = plan.doubts()
    assert "with more mixes generated and more" in warning and "first 2 images" in warning
    one, other, apart = (plan.dataset(name).plan for name in ("generated", "more", "others"))
    assert [*one] == [*other][: len(one)], "as it says"
    assert not {request.seed for request in one} & {request.seed for request in apart}


LEARNED = ("train", "pool")


def test_images_made_from_all_real_ones_beside_a_part_of_these_are_warned_of(tmp_path):
    datasets = {
        "varied": {"generator": {"mode": "images"}},
        "judged": {"filter": {"drop": 0.5}},
        "judged by few": {"filter": {"drop": 0.5, "arm": "few"}},
        **{f"learned from {images}": {"from_scratch": True, "class_model": {"images": images}} for images in LEARNED},
    }
    few = {"source": "real", "fraction": 0.1}
    mixtures = {
        "few": ["generated", few],
        "varied": ["varied", {"source": "real", "per_class": 2}],
        "all": ["varied", "real"],
        "judged": ["judged", few],
        "judged by few": ["judged by few", few],
        **{name: [name, {"source": "retrieved-all", "fraction": 0.1}] for name in datasets if "learned" in name},
    }
    arms = [REAL, *({"name": name, "mixture": mixture} for name, mixture in mixtures.items())]
    warnings = Study(recipe_of(arms=arms, datasets=datasets), tmp_path).plan.doubts()
    named = [(text.partition(" mixes ")[0], "retrieved-all" in text) for text in warnings]
    assert named == [("varied", False), ("judged", False), ("learned from pool", True)]


@pytest.mark.parametrize(
    ("curve", "images", "rise"),
    [
        ({}, 100, None),
        ({100: 50.0}, 100, None),
        ({25: 20.0, 50: 50.0, 75: 60.0, 100: 70.0}, 10_000, 10),
        ({25: 20.0, 50: 50.0, 74: 60.0, 100: 70.0}, 100, 10),
        ({75: 60.0, 100: 70.0}, 50, None),  # two standard errors of 50 images are 13 points
        ({50: 60.0, 80: 69.0, 100: 70.0}, 10_000, 10),  # the last quarter begins before step 80
        ({75: 69.0, 100: 70.0}, 1_000_000, None),
        ({75: 80.0, 100: 70.0}, 10_000, None),
    ],
)
def test_accuracy_that_still_rises_is_told_apart_from_chance(curve, images, rise):
    assert last_rise(curve, images) == rise


@pytest.mark.parametrize(
    ("matrix", "warned"),
    [
        (((0, 40), (0, 50)), False),  # most images show the class
        (((0, 60), (2, 38)), True),
        (((10, 50), (2, 38)), False),
        (None, False),
    ],
)
def test_an_arm_that_names_one_class_alone_is_warned_of(matrix, warned):
    report = ClassReport((None, None), (None, None), (), matrix)
    summary = SimpleNamespace(class_reports={"test": {"real": report}})
    found = list(single_predictions(summary, ["cat", "dog"]))
    assert bool(found) == warned and all("real" in words and "dog" in words and "test" in words for words in found)
