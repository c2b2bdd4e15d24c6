"""Real icons, a small generated dataset made of them, a tiny random CLIP and a tiny classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint
from genrobust.core import LabelSpace, Sample, StudyData
from genrobust.data import create_dataset, write_shard

TEMPLATES = ("an emoji of a {}", "a line icon of a {}")


@pytest.fixture(scope="session")
def icons(pictogram_data: StudyData) -> StudyData:
    return pictogram_data


@pytest.fixture(scope="session")
def save_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[[LabelSpace], Path]:
    """Saves a classifier of random weights for the classes."""

    def save(labels: LabelSpace) -> Path:
        folder = tmp_path_factory.mktemp("classifier")
        torch.manual_seed(0)
        model = create_classifier("test_resnet", len(labels), 32)
        save_checkpoint(folder, model, CheckpointInfo("test_resnet", {}, labels.ids, 32, {}))
        return folder

    return save


@pytest.fixture
def write_shards() -> Callable[..., Path]:
    """Writes images, one after the other of classes 0, 1, ..., as a generated dataset of one shard."""

    def write(folder: Path, images: Sequence[Image.Image], ids: Sequence[str]) -> Path:
        create_dataset(folder, {"shards": 1, "class_ids": list(ids)})
        samples = []
        for i, image in enumerate(images):
            template = TEMPLATES[i // len(ids) % 2]
            meta = {
                "template": template,
                "prompt": template.replace("{}", ids[i % len(ids)]),
                "style": template.split()[1],
                "redraws": int(i == 1),
                "black": i == 1,
            }
            samples.append(Sample(f"{ids[i % len(ids)]}-{i:06d}", i % len(ids), np.asarray(image.convert("RGB")), meta))
        lost = {"key": f"{ids[0]}-999999", "label": 0, "blank": True, "redraws": 2, "reason": "blank after 2 redraws"}
        write_shard(folder, 0, samples, [lost])
        return folder

    return write
