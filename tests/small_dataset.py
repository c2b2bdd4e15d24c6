"""Real icons, a small generated dataset made of them, and a classifier of few classes with its exports."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint
from genrobust.cli import app
from genrobust.core import LabelSpace, Sample, StudyData, Subset
from genrobust.data import begin_dataset, finish_dataset, write_shard
from genrobust.recipe import TrainConfig
from genrobust.train import Mixture, Source, TrainingJob, train

FEW, SEED = 8, 3  # classes that the classifier knows, and the seed of its training
CONFIG = TrainConfig(
    architecture="resnet10t",
    model_kwargs={"channels": [8, 16, 24, 32], "stem_width": 8},
    image_size=32,
    steps=2,
    batch_size=16,
    warmup_steps=0,
    precision="float32",
)
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
        begin_dataset(folder, {"shards": 1, "class_ids": list(ids)})
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
        finish_dataset(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def few_classes(pictogram_data: StudyData) -> LabelSpace:
    return LabelSpace(pictogram_data.labels.classes[:FEW])


@pytest.fixture(scope="session")
def checkpoint(pictogram_data: StudyData, few_classes: LabelSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for two steps on eight classes of the pictograms."""
    real, val = (Subset(s, np.flatnonzero(s.labels < FEW)) for s in (pictogram_data.train, pictogram_data.val))
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    mixture = Mixture([Source("real", real)], CONFIG.batch_size, CONFIG.image_size)
    return train(TrainingJob(mixture, val, few_classes, CONFIG, SEED, folder, device="cpu"))


@pytest.fixture(scope="session")
def cut_icons(pictogram_data: StudyData, few_classes: LabelSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test pictograms of these classes, one folder each, cut to sizes that are not square; names with all sorts in."""
    root = tmp_path_factory.mktemp("ein Ordner")
    images = pictogram_data.tests["test"]
    for index in np.flatnonzero(images.labels < FEW):
        place = root / few_classes.ids[images.labels[index]]
        place.mkdir(exist_ok=True)
        image = images.image(int(index))
        cut = (0, 0, 64 - int(index) % 5, 64 - int(index) % 7)
        image.crop(cut).save(place / f"nº {index}, größer.png")
    return root


@pytest.fixture(scope="session")
def exports(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoint as a folder for timm and as an ONNX file."""
    from genrobust.tools.export.classifier import export_classifier
    from genrobust.tools.export.format import FORMATS

    root = tmp_path_factory.mktemp("exports")
    for form in ("timm", "onnx"):
        export_classifier(checkpoint, FORMATS.get(form)(), root / form)
    return {"timm": root / "timm", "onnx": root / "onnx" / "model.onnx"}


def genrobust(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))
