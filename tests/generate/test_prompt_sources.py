"""Which real image each request begins from."""

from collections import Counter

import numpy as np
import pytest

from genrobust.core.errors import UserError
from genrobust.core.images import ClassLabel, LabelSpace
from genrobust.data.memory import MemoryImages
from genrobust.generate.plan import Plan, plan_of
from genrobust.recipe.generate import GenerateConfig, GeneratorConfig, PromptConfig

LABELS = LabelSpace(tuple(ClassLabel(f"c{i}", f"Class {i}", f"thing {i}") for i in range(3)))
COUNTS = (5, 2, 9)  # real images of each class


def train(counts=COUNTS, turned=False):
    made = [(label, f"{label}/{i}.png") for label, count in enumerate(counts) for i in range(count)]
    made = made[::-1] if turned else made
    pixels = [np.full((2, 2, 3), i, np.uint8) for i in range(len(made))]
    return MemoryImages("train", pixels, [label for label, _ in made], [key for _, key in made])


def plan(per_class=30, data_seed=7, labels=LABELS, sources=None):
    return Plan(labels, PromptConfig(), per_class, data_seed, sources=sources or train())


def sources_of(plan, label):
    return [r.source for r in plan if r.label == label]


@pytest.mark.parametrize(("label", "count"), enumerate(COUNTS))
def test_each_round_takes_every_image_of_the_class_once(label, count):
    found = sources_of(plan(per_class=20), label)
    for start in range(0, 20 - count, count):
        assert sorted(found[start : start + count]) == [f"{label}/{i}.png" for i in range(count)]
    used = Counter(found).values()
    assert max(used) - min(used) <= 1


def test_rounds_and_seeds_have_orders_of_their_own():
    found = sources_of(plan(per_class=18), 2)
    assert found[:9] != found[9:]
    assert found != sources_of(plan(per_class=18, data_seed=8), 2)
    assert found[:9] != sorted(found[:9])


def test_a_smaller_plan_is_a_prefix_of_each_class():
    small, large = list(plan(per_class=4)), {r.key: r for r in plan(per_class=23)}
    assert all(large[r.key] == r for r in small)


def test_neither_the_order_of_images_nor_other_classes_matter():
    found = [r.source for r in plan()]
    assert [r.source for r in plan(sources=train(turned=True))] == found
    assert sources_of(plan(sources=train((5, 1, 1))), 0) == sources_of(plan(), 0)


def test_requests_can_be_asked_for_in_any_order():
    whole, other = plan(), plan()
    assert [other[i] for i in reversed(range(len(other)))] == list(whole)[::-1]


def test_sources_change_nothing_else_of_a_request():
    without = Plan(LABELS, PromptConfig(), 30, 7)
    for one, other in zip(plan(), without, strict=True):
        assert (one.key, one.seed, one.prompt, one.template) == (other.key, other.seed, other.prompt, other.template)
        assert other.source is None


def test_the_fingerprint_follows_the_images():
    same, other = plan().fingerprint, plan(sources=train((5, 2, 8))).fingerprint
    assert same == plan().fingerprint
    assert len({same, other, Plan(LABELS, PromptConfig(), 30, 7).fingerprint}) == 3


def test_a_known_source_never_changes():
    """Datasets made by an older version go on under a newer one only if these stay."""
    assert sources_of(plan(per_class=3), 0) == ["0/3.png", "0/0.png", "0/2.png"]


def test_a_class_without_an_image_is_told():
    with pytest.raises(UserError, match="train holds no image of the class 'Class 1' to generate from"):
        plan(sources=train((5, 0, 2)))


@pytest.mark.parametrize(
    ("mode", "text", "images"),
    [("labels", True, False), ("images", False, True), ("labels+images", True, True), ("class", False, False)],
)
def test_a_recipes_plan_has_what_its_mode_reads(mode, text, images):
    asked = GenerateConfig(per_class=2, prompts=PromptConfig(negative_prompt="blurry"))
    requests = list(plan_of(GeneratorConfig(mode=mode), asked, LABELS, train(), 0))
    assert {bool(r.prompt) and bool(r.template) and r.negative_prompt == "blurry" for r in requests} == {text}
    assert {not r.prompt and not r.template and not r.negative_prompt and not r.style for r in requests} == {not text}
    assert {r.source is not None for r in requests} == {images}


def test_prompts_decide_nothing_of_a_plan_without_text():
    for mode in ("images", "class"):
        one, other = (
            plan_of(GeneratorConfig(mode=mode), GenerateConfig(prompts=prompts), LABELS, train(), 0)
            for prompts in (PromptConfig(), PromptConfig(strategy="single", templates="openai", negative_prompt="x"))
        )
        assert one.fingerprint == other.fingerprint
