"""Fine-tuned networks out: as trained from scratch, with the preparation of the network that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_dataset import FEW, genrobust, rows
from small_study import TRAIN

from genrobust.classifiers import open_classifier, open_initial
from genrobust.classifiers.networks.models import load_checkpoint
from genrobust.core import Subset, UserError
from genrobust.recipe import TrainConfig
from genrobust.tools.export.classifier import export_classifier
from genrobust.tools.export.format import FORMATS
from genrobust.train import Mixture, Source, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tuned(pictogram_data, few_classes, timm_folders, clip_folder, tmp_path_factory):
    """A ViT, a ResNet with bilinear resizing and the tower of a CLIP, each after two steps."""
    real, val = (Subset(s, np.flatnonzero(s.labels < FEW)) for s in (pictogram_data.train, pictogram_data.val))
    made = {}
    for name, init in {**timm_folders, "clip": clip_folder}.items():
        config = TrainConfig(**{**TRAIN, "init": str(init)})
        initial = open_initial(config, few_classes.ids, lambda: [[f"a {c.prompt}"] for c in few_classes.classes])
        config, how = initial.settings(config), initial.blueprint.interpolation
        mixture = Mixture([Source("real", real)], config.batch_size, 32, interpolation=how)
        folder = tmp_path_factory.mktemp("tuned") / name
        made[name] = train(mixture, val, few_classes, config, 0, folder, "cpu", 1, initial=initial)
    return made


@pytest.mark.parametrize("name", ["vit", "resnet"])
@pytest.mark.parametrize("form", ["timm", pytest.param("onnx", marks=pytest.mark.thorough)])
def test_it_gives_the_same_logits(tuned, timm_folders, tmp_path, name, form):
    """`export_classifier` compares logits and prepared images itself, and so does this."""
    to = FORMATS.get(form)()
    export_classifier(tuned[name], to, tmp_path / "out")
    opened = open_classifier(to.opened_as.format(tmp_path / "out"))
    model, info = load_checkpoint(tuned[name])
    assert info.interpolation in opened.preparation
    card, folder = (tmp_path / "out" / "README.md").read_text(encoding="utf-8"), Path(timm_folders[name])
    if form == "onnx":  # the lines that prepare an image
        assert f"Image.Resampling.{info.interpolation.upper()})" in card
    assert f"starts from: {folder.name} (method: full)" in card and str(folder) not in card
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(opened.load(CPU)(images), model(images), atol=1e-4)


@pytest.mark.thorough
def test_cosines_go_to_onnx_alone(tuned, tmp_path):
    export_classifier(tuned["clip"], FORMATS.get("onnx")(), tmp_path / "out")
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        ours = load_checkpoint(tuned["clip"])[0](images)
        opened = open_classifier(str(tmp_path / "out" / "model.onnx"))
        assert torch.allclose(opened.load(CPU)(images), ours, atol=1e-3)
    with pytest.raises(UserError, match="--to onnx"):
        export_classifier(tuned["clip"], FORMATS.get("timm")(), tmp_path / "timm")


@pytest.mark.parametrize("name", ["resnet", "clip"])
def test_predict_answers_as_for_others(tuned, cut_icons, tmp_path, name):
    out = tmp_path / "answers.csv"
    done = genrobust("predict", tuned[name], cut_icons, "--out", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    answers = rows(out.read_text())
    assert len(answers) > 20 and all(float(row["probability_1"]) > 0 and not row["error"] for row in answers)
