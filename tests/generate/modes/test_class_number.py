"""The generator's own number of each class, and what has none."""

import json
from dataclasses import replace
from itertools import combinations

import pytest
from diffusers import DDPMScheduler, DiTPipeline, DPMSolverMultistepScheduler
from drawn import CPU, pixels
from refusals import refused
from tiny import dit, saved

from genrobust.core import ClassLabel, LabelSpace, UserError
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.modes.class_number import class_numbers
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import GeneratorConfig

NAMES = {"0": "tench, Tinca tinca", "1": "crane", "2": "Rocket, projectile", "3": "guitar", "4": "crane", "5": "camera"}


@pytest.fixture
def config(folder_of):
    def make(folder=None, **settings):
        settings |= {"mode": "class", "steps": 2, "dtype": "float32"}
        return GeneratorConfig(model=str(folder or folder_of("dit")), **settings)

    return make


@pytest.fixture
def named(config, tmp_path):
    """A generator of six classes that it names."""

    def make(id2label=NAMES):
        folder = saved(dit(6), tmp_path / "named")
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, "id2label": id2label}))
        return config(folder)

    return make


def numbers(config, labels):
    return class_numbers(load_generator(config, CPU), labels)


def space(*classes):
    return LabelSpace(tuple(ClassLabel(id, name, prompt) for id, name, prompt in classes))


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_class_is_drawn_by_its_own_number(config, plan, sampler, scale):
    draw = sampler(config(guidance_scale=scale)).draw
    request = plan(config())[0]
    drawn = pixels(draw([replace(request, label=label) for label in (0, 1, 2)]))
    assert all(abs(drawn[a] - drawn[b]).max() > 1 for a, b in combinations(range(3), 2))


def test_classes_are_found_by_the_names_that_the_generator_gives(named, labels):
    config = named()
    assert numbers(config, labels) == [5, 3, 2]
    assert numbers(config, space(("n1", "Tinca Tinca", "fish"), ("n2", "camera", "old camera"))) == [0, 5]
    assert numbers(config, space(("a", "A", "guitar"), ("tench", "B", "b"))) == [3, 0]


def test_classes_of_imagenet_s_are_found_by_their_ids_whatever_prompts_call_them(named):
    """CLIP calls one as ImageNet calls another, and 183 as it calls none."""
    config = named({0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus", 2: "great white shark, white shark"})
    assert numbers(config, space(("n01484850", "goldfish", "goldfish"), ("n01440764", "a fish", "a fish"))) == [2, 0]


def test_of_classes_that_share_a_name_each_is_found_by_all_of_its_own(named):
    """As a class model names them, in a style: CLIP's names call two classes of ImageNet "missile"."""
    config = named({3: "missile (ink), n1 (ink)", 5: "missile (ink), n2 (ink)"})
    classes = LabelSpace((ClassLabel("n1", "missile", "missile"), ClassLabel("n2", "missile", "missile")), True)
    assert class_numbers(load_generator(config, CPU), classes, "ink") == [3, 5]


def test_a_class_whose_name_ends_another_one_is_found_in_a_style(named):
    classes = space(("crane-bird", "crane, bird", "crane, bird"), ("bird", "bird", "bird"))
    bird, crane = "bird (ink)", "crane, bird (ink), crane-bird (ink)"
    config = named({0: "crane, bird, crane-bird", 1: "bird", 3: crane, 4: bird})
    loaded = load_generator(config, CPU)
    assert (class_numbers(loaded, classes), class_numbers(loaded, classes, "ink")) == ([0, 1], [3, 4])


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (NAMES, ("camra", "guitar"), r"'camra'.*camera"),
        (NAMES, ("guitar", "crane"), r"'crane'.*\[1, 4\]"),  # although its own label is 1, which may mean the other
        (NAMES, ("tench", "Tinca tinca"), "'tench'.*'Tinca tinca'"),
        (["camera"], ("camera", "guitar"), r"id2label.*\['camera'\]"),
        ({"0": "camera", "6": "rocket"}, ("camera", "rocket"), "no class called 'rocket'"),  # of numbers 0 to 5
    ],
)
def test_classes_that_are_not_the_generators_are_named(named, names, classes, message):
    with pytest.raises(UserError, match=message):
        numbers(named(names), space(*((name, name, name) for name in classes)))


def test_without_names_the_number_of_classes_must_agree(config, labels):
    assert numbers(config(), labels) == [0, 1, 2]
    with refused(3, 2, "id2label"):
        numbers(config(), LabelSpace(labels.classes[:2]))


def test_a_scheduler_whose_noise_the_pipeline_does_not_treat_as_it_needs_is_refused(
    tmp_path, folder_of, config, labels
):
    pipeline = DiTPipeline.from_pretrained(folder_of("dit"))
    for scheduler in (DDPMScheduler(), DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")):
        pipeline.scheduler = scheduler
        pipeline.save_pretrained(tmp_path / "dit")
        with refused("generator.scheduler", type(scheduler).__name__):
            DiffusersEngine(config(tmp_path / "dit", scheduler=None), labels, None, CPU)
