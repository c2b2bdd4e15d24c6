"""Batches are a pure function of (seed, step), in the proportions that were asked for."""

import gc
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refused

from genrobust.classifiers import prepare
from genrobust.core import Subset, digest
from genrobust.train import Mixture, Source, batch_pixels


def both(job, real=None, wild=None, batch_size=16):
    return Mixture([Source("real", job.real, real), Source("wild", job.wild, wild)], batch_size, 32)


def test_a_batch_is_a_function_of_seed_and_step_alone(job):
    first = both(job, 1, 1)
    straight = [first.batch(3, step) for step in range(5)]
    images, labels = both(job, 1, 1).batch(3, 4)
    assert torch.equal(images, straight[4][0]) and torch.equal(labels, straight[4][1])
    assert not np.array_equal(first.indices(0, 0), first.indices(1, 0))
    assert not np.array_equal(first.indices(0, 0), first.indices(0, 1))


@pytest.mark.parametrize("batch_size", [7, 16, 200])
def test_unweighted_parts_are_concatenated_and_come_once_an_epoch(job, batch_size):
    mixture = both(job, batch_size=batch_size)
    n = len(job.real) + len(job.wild)
    assert len(mixture) == n and mixture.counts == {"real": len(job.real), "wild": len(job.wild)}
    stream = np.concatenate([mixture.indices(0, step) for step in range(3 * n // batch_size + 1)])
    for epoch in range(3):
        assert np.array_equal(np.sort(stream[epoch * n : (epoch + 1) * n]), np.arange(n))


@pytest.mark.parametrize(("weights", "shares"), [((1, 1), (8, 8)), ((3, 1), (12, 4)), ((1, 2), (5, 11))])
def test_weights_are_shares_of_every_batch(job, weights, shares):
    mixture = both(job, *weights)
    for step in range(20):
        from_real = int((mixture.indices(0, step) < len(job.real)).sum())
        assert (from_real, 16 - from_real) == shares


def test_a_mixture_that_is_no_longer_used_is_freed_at_once(job):
    """It may hold gigabytes of pixels, and the next training begins in the same process."""
    mixture = both(job)
    mixture.batch(0, 0)
    gone = weakref.ref(mixture)
    gc.disable()
    try:
        del mixture
        assert gone() is None
    finally:
        gc.enable()


def test_labels_belong_to_their_images(job):
    mixture = both(job, 1, 1)
    images, labels = mixture.batch(0, 2)
    assert images.dtype == torch.uint8 and images.shape == (16, 3, 32, 32) and labels.dtype == torch.int64
    every = [(source, index) for source in (job.real, job.wild) for index in range(len(source))]
    for place, number in enumerate(mixture.indices(0, 2)):
        source, index = every[number]
        assert int(labels[place]) == int(source.labels[index]) == int(mixture.labels[number])
        expected = prepare(source.image(index), 32)
        assert np.array_equal(images[place].permute(1, 2, 0).numpy(), expected)


def test_of_images_in_the_order_of_their_files_a_fair_sample_is_taken(job):
    """It does not depend on that order, in which one hand's images may lie together."""
    taken = []
    for step in (1, -1):
        stored = Subset(job.real, np.arange(len(job.real))[::step])
        stored.as_stored = True
        taken.append([set(Mixture([Source("real", stored, per_class=n)], 16, 32).parts[0].keys) for n in (3, 5)])
    assert taken[0] == taken[1] and taken[0][0] < taken[0][1]


def test_per_class_and_fraction_take_nested_prefixes(job):
    def taken(**how):
        (part,) = Mixture([Source("real", job.real, **how)], 16, 32).parts
        return {place_of[key] for key in part.keys}

    place_of = {key: place for place, key in enumerate(job.real.keys)}

    three, five = taken(per_class=3), taken(per_class=5)
    assert three < five
    assert np.bincount(job.real.labels[sorted(three)]).tolist() == [3] * 8
    for label in range(8):
        of_class = np.flatnonzero(job.real.labels == label)
        assert set(of_class[:3].tolist()) <= three
    quarter, half = taken(fraction=0.25), taken(fraction=0.5)
    assert quarter < half < taken()
    assert taken(fraction=0.001, per_class=4) == taken(per_class=1)


@pytest.mark.parametrize(
    ("crop", "limit", "needed"),
    [("square", "CACHE_BYTES", 40 * 32 * 32 * 3), ("random-resized", "WHOLE_BYTES", 40 * 64 * 64 * 4)],
)
def test_images_that_fit_into_memory_are_read_once_and_pixels_do_not_depend_on_it(
    job, monkeypatch, crop, limit, needed
):
    reads = []

    class Watched(Subset):
        def image(self, index):
            reads.append(index)
            return super().image(index)

    def two_epochs():
        reads.clear()
        mixture = Mixture([Source("real", Watched(job.real, range(40)))], 40, 32, crop)
        return torch.cat([mixture.batch(0, step)[0] for step in range(2)])

    monkeypatch.setattr(batch_pixels, limit, needed)
    kept = two_epochs()
    assert sorted(reads) == list(range(40))
    monkeypatch.setattr(batch_pixels, limit, needed - 1)
    assert torch.equal(kept, two_epochs()) and len(reads) == 80


def test_batches_and_fingerprints_are_those_of_the_first_version(job):
    """Checkpoints of earlier versions are found by them."""
    sources = [Source("real", job.real, 1), Source("wild", job.wild, 2, per_class=9)]
    mixture = Mixture(sources, 16, 32)
    assert mixture.fingerprint == "58bb0c0ac210"
    assert Mixture(sources, 16, 32, interpolation="bilinear").fingerprint == "48de74253597"
    balanced = [sources[0], Source("wild", job.wild, 2, balance=("class", "style"))]
    assert Mixture(balanced, 16, 32).fingerprint == "724f1d9bed23"
    crops = {"crop": "random-resized"}
    assert Mixture(sources, 16, 32, **crops).fingerprint == "017bac30900a"
    assert Mixture(sources, 16, 32, **crops, packed=Path("packed")).fingerprint == "cb5fe9e75400"
    drawn = [mixture.indices(seed, step).tolist() for seed in (0, 1, 2**32 + 5, 10**18) for step in (0, 7, 500)]
    assert digest(drawn) == "b9e82cd2e6a5"


@pytest.mark.parametrize("keys", [("class",), ("style",), ("class", "style")])
def test_a_balanced_part_draws_each_cell_equally_often_and_each_of_its_images(job, keys):
    columns = {"class": job.wild.labels, "style": job.wild.styles}
    cell_of = list(zip(*(np.asarray(columns[key]).tolist() for key in keys), strict=True))
    sizes = Counter(cell_of)
    assert len(set(sizes.values())) > 1, "else a plain draw is balanced too"

    def mixture():
        sources = [Source("real", job.real, 1), Source("wild", job.wild, 3, balance=keys)]
        return Mixture(sources, 16, 32)

    mixed, steps = mixture(), 200
    stream = np.concatenate([mixed.indices(1, step)[4:] for step in range(steps)]) - len(job.real)
    cells = [cell_of[index] for index in stream]
    for turn in range(0, len(cells) - len(sizes), len(sizes)):
        assert set(cells[turn : turn + len(sizes)]) == sizes.keys()
    assert cells[: len(sizes)] != cells[len(sizes) : 2 * len(sizes)]
    for cell, size in sizes.items():
        of_cell = [index for index, other in zip(stream, cells, strict=True) if other == cell]
        for epoch in range(0, len(of_cell), size):
            assert len(set(of_cell[epoch : epoch + size])) == len(of_cell[epoch : epoch + size])
    assert np.array_equal(mixture().indices(1, steps - 1), mixed.indices(1, steps - 1))
    assert mixture().fingerprint == mixed.fingerprint != both(job, 1, 3).fingerprint


@pytest.mark.parametrize("balance", [(), ("class",), ("class", "style")])
@pytest.mark.parametrize("weights", [(None, None), (1, 3)])
def test_an_image_weighs_as_much_as_it_is_drawn(job, weights, balance):
    few = Subset(job.wild, np.arange(60))  # of unequal classes and styles
    if weights[0] is None and balance:  # which needs a share of the batch
        mixture = Mixture([Source("wild", few, None, balance=balance)], 20, 32)
    else:
        sources = [Source("real", Subset(job.real, np.arange(20)), weights[0])]
        mixture = Mixture([*sources, Source("wild", few, weights[1], balance=balance)], 20, 32)
    drawn = np.concatenate([mixture.indices(0, step) for step in range(3000)])
    often = np.bincount(drawn, minlength=len(mixture)) / len(drawn)
    assert mixture.image_weights().sum() == pytest.approx(1)
    assert mixture.image_weights() == pytest.approx(often, rel=0.02)
    assert (len(set(often.round(4))) > 2) == bool(balance)


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        ([("real", 100, None), ("wild", 1, None)], "weight of wild"),
        ([("real", None, 0)], "real"),
    ],
)
def test_what_cannot_be_mixed_is_refused(job, sources, named):
    with refused(named):
        Mixture([Source(name, Subset(job.real, range(90)[:n]), weight) for name, weight, n in sources], 16, 32)
