"""Predictions on disk: they come back as they were, without pickles, and their logits are not read before their use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrobust.classifiers import SavedPredictions
from genrobust.classifiers.predict.saved_predictions import FILE, load_predictions, save_predictions
from genrobust.core import Predictions, UserError


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    kept = Predictions(
        test_set="objectnet",
        logits=np.arange(6, dtype=np.float32).reshape(2, 3),
        labels=np.array([1, 2]),
        keys=("a", "b"),
        classes=("x", "y", "z"),
        protocol="64 px",
        accepted=((1, 2), (2,)),
    )
    save_predictions(tmp_path, kept)
    read = load_predictions(tmp_path)
    assert read.accepted == kept.accepted and read.keys == kept.keys and read.classes == kept.classes
    assert np.array_equal(read.logits, kept.logits) and np.array_equal(read.labels, kept.labels)
    with np.load(tmp_path / FILE, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def of_size(images: int, classes: int) -> Predictions:
    logits = np.random.default_rng(0).normal(size=(images, classes)).astype(np.float32)
    keys = tuple(f"käse/{i}.png" for i in range(images))
    names = tuple(f"class-{i}" for i in range(classes))
    return Predictions("test", logits, np.arange(images) % classes, keys, names, "64 px")


def test_logits_are_mapped_where_they_lie_and_aligned(tmp_path: Path) -> None:
    kept = of_size(70, 130)
    save_predictions(tmp_path, kept)
    logits = load_predictions(tmp_path).logits
    assert isinstance(logits, np.memmap) and logits.flags.aligned
    assert np.array_equal(logits, kept.logits)
    with pytest.raises(ValueError, match="read-only"):
        logits[0] = 0


def test_a_study_of_files_reads_each_when_it_is_asked_for(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p", of_size(5, 3))
    found = SavedPredictions({("real", 0, "test"): tmp_path / "p", ("real", 0, "gone"): tmp_path / "gone"})
    assert list(found) == [("real", 0, "test"), ("real", 0, "gone")]
    assert ("real", 0, "gone") in found and ("real", 1, "test") not in found  # without reading
    assert found["real", 0, "test"].keys[4] == "käse/4.png"
    with pytest.raises(UserError, match="gone: evaluate"):
        found["real", 0, "gone"]
