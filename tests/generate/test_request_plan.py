"""Which images a recipe asks for: a pure function of it, whose requests never change."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from refusals import refused

from genrobust.core import ClassLabel, LabelSpace
from genrobust.data import MemoryImages
from genrobust.generate import Plan, plan_of
from genrobust.recipe import GenerateConfig, GeneratorConfig, PromptConfig

LABELS = LabelSpace(tuple(ClassLabel(f"c{i}", f"Class {i}", f"thing {i}") for i in range(5)))
COUNTS = (5, 2, 9, 1, 1)  # real images of each class


def plan(per_class=30, data_seed=7, labels=LABELS, split="train", sources=None, **prompts):
    asked = GenerateConfig(per_class=per_class, split=split, prompts=PromptConfig(**prompts))
    return Plan(labels, asked, data_seed, sources)


def real(counts=COUNTS, turned=False):
    made = [(label, f"{label}/{i}.png") for label, count in enumerate(counts) for i in range(count)]
    made = made[::-1] if turned else made
    pixels = [np.full((2, 2, 3), i, np.uint8) for i in range(len(made))]
    return MemoryImages("train", pixels, [label for label, _ in made], [key for _, key in made])


def sources_of(label, images=None, **changes):
    return [r.source for r in plan(sources=images or real(), **changes) if r.label == label]


@pytest.mark.parametrize("sources", [None, real()], ids=["text", "images"])
def test_a_smaller_plan_is_a_prefix_of_each_class(sources):
    small, large = list(plan(per_class=9, sources=sources)), {r.key: r for r in plan(per_class=70, sources=sources)}
    assert all(large[r.key] == r for r in small)


def test_requests_depend_on_no_other_class():
    fewer = LabelSpace(LABELS.classes[2:4])
    by_key = {r.key: r for r in plan()}
    for request in plan(labels=fewer):
        same = by_key[request.key]
        assert (request.seed, request.prompt) == (same.seed, same.prompt)


@pytest.mark.parametrize("per_class", [1, 7, 10, 28, 50])
def test_styles_are_dealt_evenly_at_any_amount(per_class):
    for class_id in LABELS.ids:
        counts = Counter(r.style for r in plan(per_class=per_class) if r.class_id == class_id)
        assert max(counts.values()) - min(counts.get(s, 0) for s in {r.style for r in plan()}) <= 1


ONE_STYLE = tuple(f"{word} {{}}" for word in "abcdefg")


@pytest.mark.parametrize(("per_class", "each", "templates"), [(56, 2, "pictograms"), (7, 1, ONE_STYLE)])
def test_templates_are_used_equally_and_classes_start_differently(per_class, each, templates):
    requests = list(plan(per_class=per_class, templates=templates))
    assert list(Counter((r.class_id, r.template) for r in requests).values()) == [each] * (5 * per_class // each)
    assert len({r.template for r in requests[:5]}) > 1


def test_what_is_known_never_changes():
    """Datasets made by an older version go on under a newer one only if these stay; a folder's name has the last."""
    for made in (plan(), plan(sources=real())):
        assert [r.key for r in made][4:7] == ["c4-000000", "c0-000001", "c1-000001"]
        assert len({r.key for r in made}) == len({r.seed for r in made}) == len(made) == 150
        request = made[8]
        assert (request.key, request.label, request.class_id) == ("c3-000001", 3, "c3")
        assert (request.seed, request.prompt) == (3865039606017404617, "a black silhouette of a thing 3")
    assert sources_of(0, per_class=3) == ["0/3.png", "0/0.png", "0/2.png"]
    assert plan(templates=("a {} at night", "the {}, drawn")).fingerprint == "f151807e1779"


def test_a_validation_part_shares_no_request_with_training_at_any_amount():
    train, val = list(plan(per_class=200)), list(plan(per_class=200, split="val"))
    assert {r.key for r in train} & {r.key for r in val} == set()
    assert {r.seed for r in train} & {r.seed for r in val} == set()
    assert [r.key for r in val[4:6]] == ["c4-val-000000", "c0-val-000001"]
    assert val[:15] == list(plan(per_class=3, split="val"))
    assert Counter(r.template for r in val) == Counter(r.template for r in train)
    assert plan(split="val").fingerprint != plan().fingerprint


def test_fingerprint_tells_apart_what_requests_tell_apart():
    renamed = LabelSpace((ClassLabel("c0", "Class 0", "other thing"), *LABELS.classes[1:]))
    plans = [
        plan(),
        plan(per_class=31),
        plan(data_seed=8),
        plan(labels=renamed),
        plan(strategy="single"),
        plan(templates=("a {}",)),
        plan(negative_prompt="blurry"),
        plan(sources=real()),
        plan(sources=real((5, 2, 8, 1, 1))),
    ]
    assert len({p.fingerprint for p in plans}) == len(plans)
    assert plan().fingerprint == plan().fingerprint
    assert plan(sources=real()).fingerprint == plan(sources=real()).fingerprint


@pytest.mark.parametrize(("shard_size", "sizes"), [(4, [4, 4, 4, 3]), (15, [15]), (100, [15]), (1, [1] * 15)])
def test_shards_cover_the_plan_once(shard_size, sizes):
    shards = plan(per_class=3).shards(shard_size)
    assert [len(s) for s in shards] == sizes
    assert [number for shard in shards for number in shard] == list(range(15))


@pytest.mark.parametrize(("label", "count"), enumerate(COUNTS))
def test_each_round_takes_every_image_of_the_class_once(label, count):
    found = sources_of(label, per_class=20)
    for start in range(0, 20 - count, count):
        assert sorted(found[start : start + count]) == [f"{label}/{i}.png" for i in range(count)]
    used = Counter(found).values()
    assert max(used) - min(used) <= 1


def test_rounds_and_seeds_have_orders_of_their_own():
    found = sources_of(2, per_class=18)
    assert found[:9] != found[9:]
    assert found != sources_of(2, per_class=18, data_seed=8)
    assert [r.template for r in plan()] != [r.template for r in plan(data_seed=8)]
    assert found[:9] != sorted(found[:9])


def test_neither_the_order_of_images_nor_of_requests_nor_other_classes_matter():
    whole, other = plan(sources=real()), plan(sources=real(turned=True))
    assert [other[i] for i in reversed(range(len(other)))] == list(whole)[::-1]
    assert sources_of(0, real((5, 1, 1, 1, 1))) == sources_of(0)


def test_a_class_without_an_image_is_named():
    with refused("train", "Class 1"):
        plan(sources=real((5, 0, 2, 1, 1)))


@pytest.mark.parametrize(
    ("mode", "text", "images"),
    [("labels", True, False), ("images", False, True), ("labels+images", True, True), ("class", False, False)],
)
def test_a_recipes_plan_has_what_its_mode_reads(mode, text, images):
    asked = GenerateConfig(per_class=2, prompts=PromptConfig(negative_prompt="blurry"))
    made = plan_of(GeneratorConfig(mode=mode), asked, LABELS, real(), 0)
    for request in made:
        words = (request.prompt, request.template, request.negative_prompt, request.style)
        assert all(words) if text else not any(words)
        assert (request.source is not None) == images
    single = PromptConfig(strategy="single", templates="openai", negative_prompt="x")
    other = plan_of(GeneratorConfig(mode=mode), GenerateConfig(per_class=2, prompts=single), LABELS, real(), 0)
    assert (made.fingerprint == other.fingerprint) != text, "prompts decide nothing of a plan without text"


def test_a_plan_of_any_allowed_size_is_read_without_making_it():
    huge = plan(per_class=1_000_000, sources=real())
    assert len(huge) == 5_000_000
    assert huge[4_999_999].key == "c4-999999"
    assert huge[14] == plan(per_class=3, sources=real())[14]
    shards = huge.shards(50)
    assert (len(shards), shards[-1]) == (100_000, range(4_999_950, 5_000_000))
    tracemalloc.start()
    for index in range(0, 5_000_000, 50_000):
        huge[index]
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
