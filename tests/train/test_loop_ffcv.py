"""The settings of the ImageNet example of FFCV, which Bansal and Grover (2023) trained with: alone and together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from ffcv import blur_strided, optimizer_of, plain_state, rates
from refusals import refused
from torch.nn import functional as F

from genrobust.classifiers import LossScaler, create_classifier, move_to, read_checkpoint_info
from genrobust.core import Subset, UserError, hashed_seed
from genrobust.recipe import TrainConfig
from genrobust.train import Mixture, Source, train
from genrobust.train.loop import Training, learning_rate
from genrobust.train.optimizer import make_optimizer
from genrobust.train.training_job import TrainingJob

PAPER = {
    "optimizer": "momentum",
    "schedule": "linear",
    "learning_rate": 0.01,
    "weight_decay": 1.0,  # far above the paper's, so that twelve steps show where it is left out
    "no_decay": ("bn",),
    "warmup_steps": None,
    "warmup_epochs": 2,
    "steps": None,
    "epochs": 3,
    "ema_decay": 0.0,
    "blur_pool": True,
    "keep": "last",
    "precision": "float32",
}


def begun(job, config):
    torch.manual_seed(hashed_seed(0, "weights"))
    settings = config.architecture, len(job.labels), config.image_size, config.network_kwargs
    return move_to(create_classifier(*settings), "cpu")


def none(job):
    return Subset(job.val, (), "val")


@pytest.mark.parametrize(("epochs", "peak_epoch", "iterations"), [(56, 2, 7), (40, 2, 3), (3, 1, 10)])
def test_the_linear_schedule_is_ffcv_s(epochs, peak_epoch, iterations):
    keys = {"epochs": epochs, "warmup_epochs": peak_epoch, "batch_size": 10, "learning_rate": 0.5}
    config, images = TrainConfig(schedule="linear", **keys), 10 * iterations
    steps, warmup = config.steps_for(images), config.warmup_for(images)
    assert (steps, warmup) == (epochs * iterations, peak_epoch * iterations)
    ours = [learning_rate(config, step, steps, warmup) for step in range(steps)]
    assert ours == pytest.approx(rates(0.5, epochs, peak_epoch, iterations), rel=1e-9, abs=1e-12)
    assert ours[0] == pytest.approx(0.5e-4) and max(ours) == 0.5


def test_warmup_epochs_count_the_images_of_the_arm():
    config = TrainConfig(epochs=56, warmup_epochs=2, batch_size=128)
    assert [config.warmup_for(images) for images in (1_281_167, 2_581_167)] == [20_018, 40_331]
    assert TrainConfig(epochs=56, warmup_steps=7).warmup_for(10**6) == 7
    assert [TrainConfig(steps=steps).warmup_for(1) for steps in (1000, 51, 50, 20, 1)] == [50, 50, 25, 10, 0]


def test_all_settings_together_take_the_steps_of_ffcv_s_loop(job, tmp_path):
    """Each step from the same weights: torchvision's network, torch's SGD and FFCV's formulas, on the same batches."""
    changes = {"architecture": "resnet18", "augmentation": "none", "model_kwargs": {"zero_init_last": False}}
    config = job.config.changed(PAPER | changes, "train")
    mixture = Mixture([Source("real", Subset(job.real, np.arange(64)))], 16, 32)  # four batches an epoch
    training = TrainingJob(mixture, none(job), job.labels, config, 0, tmp_path)
    run = Training(training, torch.device("cpu"))
    run.prepare()
    ours, theirs = run.model.network, torchvision.models.resnet18(num_classes=8)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    theirs.load_state_dict(ours.state_dict())
    assert blur_strided(theirs) == 6
    optimizer = optimizer_of(theirs, config.weight_decay)
    for step, rate in enumerate(rates(0.01, 3, 2, 4)):
        images, labels = mixture.batch(0, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        logits = theirs.train()((images / 255 - run.model.mean) / run.model.std)
        F.cross_entropy(logits, labels, label_smoothing=0.1).backward()
        before = [p.detach().clone() for p in theirs.parameters()]
        optimizer.step()
        run.train_step(step, images, labels)
        for (name, new), old, own in zip(theirs.named_parameters(), before, ours.parameters(), strict=True):
            moved, apart = (new - old).norm().item(), (own - new).norm().item()
            assert apart <= 0.01 * moved + 1e-6, (step, name, apart, moved)
        with torch.no_grad():  # or differences of rounding grow, a hundredfold with every step
            for own, other in zip(ours.state_dict().values(), plain_state(theirs).values(), strict=True):
                other.copy_(own)
    assert run.steps == step + 1


def scaler():
    return LossScaler(torch.device("cpu"), "float32")


@pytest.mark.parametrize("texts", [(), ("bn",), ("bn", "downsample"), ("fc",), ("fc", "nothing")])
def test_weight_decay_goes_by_names(job, texts):
    config = job.config.changed(PAPER | {"no_decay": texts}, "train")
    model = begun(job, config)
    name_of = {id(p): name for name, p in model.network.named_parameters()}
    groups = make_optimizer(model, config, scaler()).param_groups
    decay = {name_of[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {name: 0 if any(text in name for text in texts) else 1 for name in name_of.values()}
    assert sum(len(group["params"]) for group in groups) == len(decay)  # each once


def test_texts_that_no_parameter_has_in_its_name_are_refused(job):
    config = job.config.changed(PAPER | {"no_decay": ("nothing",)}, "train")
    with pytest.raises(UserError, match=r"train\.no_decay.*nothing"):
        make_optimizer(begun(job, config), config, scaler())


def test_the_last_step_is_kept_and_the_validations_are_recorded(job, tmp_path):
    kept = {}
    for keep in ("best", "last"):
        changes = {"keep": keep, "learning_rate": 0.05, "steps": 12, "validate_every": 2}
        kept[keep] = read_checkpoint_info(job.run(tmp_path / keep, **changes)).training
    assert kept["best"]["history"] == kept["last"]["history"] and len(kept["last"]["history"]) == 6
    top1 = [row["val_top1"] for row in kept["last"]["history"]]
    assert kept["best"]["best_val_top1"] == max(top1)
    assert (kept["last"]["best_step"], kept["last"]["best_val_top1"]) == (12, top1[-1])


def test_without_validation_images_nothing_is_chosen(job, tmp_path):
    config, seen = job.config.changed({"keep": "last"}, "train"), []
    training = TrainingJob(job.mixture(config), none(job), job.labels, config, 0, tmp_path / "out", "cpu", threads=1)
    out = train(training, lambda step, metrics: seen.append((step, dict(metrics))))
    assert all("val_top1" not in metrics for _, metrics in seen) and seen[-1][0] == 12
    info = read_checkpoint_info(out)
    assert (info.training["best_step"], info.training["best_val_top1"], info.training["history"]) == (12, None, [])
    with refused("train.keep"):
        train(replace(training, config=job.config, out=tmp_path / "best"))
