"""Batch norms adapted to a set: by its images alone, whatever their order and batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_predict_sets import LABELS, images, save

from genrobust.classifiers import ADAPTED_TO, PredictedBy, batch_norms, create_classifier, open_checkpoint, predict_sets
from genrobust.core import ImageSet, Subset


def logits(checkpoint: Path, out: Path, sets: dict[str, ImageSet], adapted: bool = True, batch: int = 4) -> np.ndarray:
    opened = replace(open_checkpoint(checkpoint), adapted=adapted)
    by = PredictedBy("c", f"{adapted} {batch}")
    return np.array(predict_sets(out, {by: opened}, sets, LABELS, batch, "cpu", threads=1)[by]["test"].logits)


def test_it_is_the_network_in_training_mode_for_one_batch_of_all_images(tmp_path: Path) -> None:
    checkpoint, test = save(tmp_path / "checkpoint"), images(n=200)
    opened = open_checkpoint(checkpoint)
    network = opened.load(torch.device("cpu")).train()
    batch = torch.from_numpy(np.stack([opened.prepare(test.image(i)) for i in range(len(test))])).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(batch).numpy()
    made = logits(checkpoint, tmp_path / "out", {"test": test})
    np.testing.assert_allclose(made, expected, atol=0.02)  # which divides variances by n, not by n - 1
    assert np.abs(made - logits(checkpoint, tmp_path / "plain", {"test": test}, adapted=False)).max() > 0.1


def test_order_batches_and_the_sets_before_change_nothing(tmp_path: Path) -> None:
    checkpoint, test = save(tmp_path / "checkpoint"), images()
    made = logits(checkpoint, tmp_path / "out", {"test": test})
    turned = Subset(test, range(len(test))[::-1])
    for i, (sets, batch) in enumerate((({"test": turned}, 4), ({"first": images(1), "test": turned}, 7))):
        again = logits(checkpoint, tmp_path / str(i), sets, batch=batch)[::-1]
        np.testing.assert_allclose(again, made, atol=1e-5)


def test_a_large_set_is_adapted_to_by_some_of_its_images(tmp_path: Path) -> None:
    checkpoint, many = save(tmp_path / "checkpoint"), images(n=ADAPTED_TO + 40)
    made = logits(checkpoint, tmp_path / "out", {"test": many}, batch=64)
    again = logits(checkpoint, tmp_path / "again", {"test": many}, batch=256)
    np.testing.assert_allclose(again, made, atol=1e-5)


@pytest.mark.parametrize(("architecture", "has_some"), [("resnet10t", True), ("vit_tiny_patch16_224", False)])
def test_networks_with_batch_norms(architecture: str, has_some: bool) -> None:
    assert bool(batch_norms(create_classifier(architecture, 3, 32))) is has_some


def test_one_image_changes_nothing_whatever_was_predicted_before(tmp_path: Path) -> None:
    checkpoint, one = save(tmp_path / "checkpoint"), {"test": images(n=1)}
    plain = logits(checkpoint, tmp_path / "plain", dict(one), adapted=False)
    np.testing.assert_array_equal(logits(checkpoint, tmp_path / "out", dict(one)), plain)
    after = logits(checkpoint, tmp_path / "after", {"many": images(n=40), **one})
    np.testing.assert_array_equal(after, plain)
