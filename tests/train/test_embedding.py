"""Features that a probe keeps: it goes on from them, and takes them from no other training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_job import small_job

from genrobust.classifiers import checkpoint_manifest, create_classifier
from genrobust.core import Artifact, GenrobustError, Subset, UserError
from genrobust.recipe import TrainConfig
from genrobust.train.embedding import KeptFeatures, embed

CONFIG = TrainConfig(init="x", method="linear-probe", image_size=32, batch_size=8, save_every=2)  # 16 images a part


@pytest.fixture
def sets():
    job = small_job()
    return [Subset(job.real, np.arange(40)), Subset(job.val, []), Subset(job.wild, np.arange(33))]


class Seen:
    """Features that are kept as `KeptFeatures` does, up to a kill right after so many saves."""

    def __init__(self, folder, run="r", saves=1000):
        Artifact(folder).begin(checkpoint_manifest({}))
        self.kept, self.left, self.sizes = KeptFeatures(folder, run, "classifier"), saves, []

    def load(self):
        return self.kept.load()

    def save(self, features):
        self.kept.save(features)
        self.sizes.append(len(features))
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def embedded(sets, kept=None, config=CONFIG):
    torch.manual_seed(0)
    return embed(create_classifier("test_resnet", 8, 32, {}), sets, config, "bicubic", torch.device("cpu"), kept)


@pytest.mark.parametrize("saves", [1, 2, 3, 4])
def test_a_killed_embedding_goes_on(sets, tmp_path, saves):
    wanted = embedded(sets)
    assert [of.shape for of in wanted] == [(40, 96), (0, 96), (33, 96)]
    before, after = Seen(tmp_path, saves=saves), Seen(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        embedded(sets, before)
    found = embedded(sets, after)
    assert before.sizes + after.sizes == [32, 56, 72, 73]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_features_of_others_are_refused(sets, tmp_path):
    embedded(sets, Seen(tmp_path))
    with pytest.raises(UserError, match="holds another classifier"):
        embedded(sets, Seen(tmp_path, "other"))
    (path,) = tmp_path.glob("features-*.safetensors")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(GenrobustError, match=path.name):
        embedded(sets, Seen(tmp_path))
