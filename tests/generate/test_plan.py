from collections import Counter
from itertools import pairwise

import pytest

from genrobust.core.errors import UserError
from genrobust.core.images import ClassLabel, LabelSpace
from genrobust.generate.plan import Plan
from genrobust.recipe.generate import PromptConfig

LABELS = LabelSpace(tuple(ClassLabel(f"c{i}", f"Class {i}", f"thing {i}") for i in range(5)))


def plan(per_class=30, data_seed=7, labels=LABELS, split="train", **prompts):
    return Plan(labels, PromptConfig(**prompts), per_class, data_seed, split=split)


def test_classes_are_interleaved_and_keys_unique():
    requests = list(plan(per_class=3))
    assert len(requests) == len(plan(per_class=3)) == 15
    assert [r.label for r in requests] == [0, 1, 2, 3, 4] * 3
    assert [r.key for r in requests[4:7]] == ["c4-000000", "c0-000001", "c1-000001"]
    assert len({r.key for r in requests}) == len({r.seed for r in requests}) == 15
    assert all(0 <= r.seed < 2**63 for r in requests)


def test_requests_are_found_by_index_from_either_end_and_not_beyond():
    whole = plan(per_class=4)
    assert [whole[i] for i in range(20)] == list(whole)
    assert whole[-1] == whole[19]
    for beyond in (20, -21):
        with pytest.raises(IndexError):
            whole[beyond]


def test_a_smaller_plan_is_a_prefix_of_each_class():
    small, large = {r.key: r for r in plan(per_class=9)}, {r.key: r for r in plan(per_class=70)}
    assert all(large[key] == request for key, request in small.items())


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
        assert max(counts.values()) - min(counts.get(s, 0) for s in {t.style for t in plan().templates}) <= 1


def test_templates_are_used_equally_and_classes_start_differently():
    requests = list(plan(per_class=56))
    assert set(Counter((r.class_id, r.template) for r in requests).values()) == {2}
    assert len({r.template for r in requests[:5]}) > 1


def test_uneven_styles_still_use_every_template():
    texts = tuple(f"{word} {{}}" for word in "abcdefg")
    requests = list(plan(per_class=7, templates=texts))
    for class_id in LABELS.ids:
        assert sorted(r.template for r in requests if r.class_id == class_id) == sorted(texts)


def test_the_seed_changes_every_request_and_the_fingerprint():
    one, other = plan(data_seed=0), plan(data_seed=1)
    assert all(a.seed != b.seed and a.key == b.key for a, b in zip(one, other, strict=True))
    assert one.fingerprint != other.fingerprint


def test_known_request_never_changes():
    """Datasets made by an older version go on under a newer one only if these stay."""
    request = plan()[8]
    assert (request.key, request.label, request.class_id) == ("c3-000001", 3, "c3")
    assert request.seed == 3865039606017404617
    assert request.prompt == "a black silhouette of a thing 3"


def test_known_plan_never_changes():
    """The folder of a dataset is called by this too."""
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
        plan(labels=renamed),
        plan(strategy="single"),
        plan(templates=("a {}",)),
        plan(negative_prompt="blurry"),
    ]
    assert len({p.fingerprint for p in plans}) == len(plans)
    assert plan().fingerprint == plan().fingerprint


def test_names_are_no_format_strings():
    odd = LabelSpace((ClassLabel("a", "a", 'the {0} "{}"'), ClassLabel("b", "b", "b")))
    assert plan(labels=odd, strategy="single", per_class=1)[0].prompt == 'a line icon of a the {0} "{}"'


@pytest.mark.parametrize(("shard_size", "sizes"), [(4, [4, 4, 4, 3]), (15, [15]), (100, [15]), (1, [1] * 15)])
def test_shards_cover_the_plan_once(shard_size, sizes):
    shards = plan(per_class=3).shards(shard_size)
    assert [len(s) for s in shards] == sizes
    assert shards[0].start == 0
    assert all(a.stop == b.start for a, b in pairwise(shards))
    assert shards[-1].stop == 15


def test_amounts_below_one_are_refused():
    with pytest.raises(UserError, match="per_class"):
        plan(per_class=0)
    with pytest.raises(UserError, match="shard_size"):
        plan().shards(0)
