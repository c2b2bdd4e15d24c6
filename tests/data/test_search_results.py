"""Searches: each image counts for its best class, classes take the nearest, and a list is read as it was written."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from genrobust.core import Subset, UserError, fair_order
from genrobust.data import (
    best_classes,
    nearest_of_classes,
    read_search,
    write_search,
)

CLASSES = np.eye(3, dtype=np.float32)
IMAGES = np.array([[0.9, 0.1, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 1, 0], [0.9, 0.1, 0]], np.float32)


def test_an_image_counts_for_its_best_class_and_the_nearest_come_first():
    best, cosines = best_classes(IMAGES, CLASSES)
    assert best.tolist() == [0, 0, 1, 1, 0]
    for wanted, found in (([2, 1, 4], [0, 4, 3]), ([9, 9, 9], [0, 4, 1, 3, 2]), ([0, 0, 5], [])):  # the third has none
        images = nearest_of_classes(best, cosines, np.array(wanted))
        assert images.tolist() == found  # of equal ones the first


@given(st.data())
def test_no_image_comes_twice_and_less_is_the_beginning_of_more(data):
    count, classes = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 5))
    best = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)))
    cosines = np.array(data.draw(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=count, max_size=count)))
    wanted = np.array(data.draw(st.lists(st.integers(0, 9), min_size=classes, max_size=classes)))
    found, more = (nearest_of_classes(best, cosines, n) for n in (wanted, wanted + 1))
    assert len(set(found.tolist())) == len(found)
    assert (
        np.bincount(best[found], minlength=classes).tolist()
        == np.minimum(np.bincount(best, minlength=classes), wanted).tolist()
    )
    for label in range(classes):
        of = [at[best[at] == label].tolist() for at in (found, more)]
        assert of[0] == of[1][: len(of[0])]
        left = np.setdiff1d(np.flatnonzero(best == label), of[0])
        assert not len(left) or not of[0] or cosines[left].max() <= cosines[of[0]].min()


@pytest.fixture
def pool(icons):
    return Subset(icons.train, np.arange(5), "the pool")


@pytest.fixture
def written(pool, tmp_path):
    path = tmp_path / "searches" / "classes-0123456789"
    write_search(path, {}, pool, np.array([3, 0]), np.array([1, 2]), np.array([0.5, 0.25]))
    return path


def test_what_was_found_has_the_labels_that_it_was_found_for(pool, written):
    assert pq.read_table(written / "found.parquet").to_pylist() == [
        {"key": pool.keys[3], "label": 1, "score": 0.5},
        {"key": pool.keys[0], "label": 2, "score": 0.25},
    ]
    found = read_search(written, pool, "found")
    assert (found.name, found.labels.tolist(), list(found.keys)) == ("found", [1, 2], [pool.keys[3], pool.keys[0]])
    assert found.hidden_labels.tolist() == pool.labels[[3, 0]].tolist()
    assert found.image(0).tobytes() == pool.image(3).tobytes()
    same, other = (read_search(written, pool, "found") for _ in range(2))
    assert same.fingerprint == other.fingerprint == found.fingerprint


def test_the_nearest_come_first_whatever_the_order_of_the_pool(pool, written):
    pool.as_stored, pool.even = True, False  # as parquet files are, and a pool from which groups were held back
    write_search(written, {}, pool, np.array([3, 0, 1]), np.array([1, 1, 2]), np.array([0.5, 0.25, 0.75]))
    assert fair_order(read_search(written, pool, "found")).tolist() == [0, 1, 2]


def test_other_labels_are_other_images(pool, written):
    before = read_search(written, pool, "found").fingerprint
    write_search(written, {}, pool, np.array([3, 0]), np.array([2, 1]), np.array([0.5, 0.25]))
    assert read_search(written, pool, "found").fingerprint != before


def test_a_search_of_other_images_is_refused_and_so_is_a_missing_one(pool, written, icons, tmp_path):
    with pytest.raises(UserError, match=str(written)):
        read_search(written, Subset(icons.train, np.arange(6)), "found")
    with pytest.raises(UserError, match="none"):
        read_search(tmp_path / "none", pool, "found")
