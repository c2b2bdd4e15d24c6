"""Trainings that start from a pretrained network: what learns, what is kept, and the same weights after kills."""

from __future__ import annotations

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file
from small_job import small_job

from genrobust.classifiers import (
    create_classifier,
    interpolate_checkpoint,
    load_checkpoint,
    predict_logits,
    read_checkpoint_info,
)
from genrobust.core import Subset, counting
from genrobust.train.optimizer import make_optimizer

CPU = torch.device("cpu")
FULL = {"steps": 4, "validate_every": 2, "ema_decay": 0.5, "learning_rate": 1e-3}
METHODS = {
    "full": {},
    "lp-ft": {"method": "lp-ft"},
    "probe": {"method": "linear-probe"},
}


@pytest.fixture(scope="module")
def networks(timm_folders, clip_folder):
    return {**timm_folders, "clip": clip_folder}


def run(out, network, sources=None, **changes):
    return small_job().run(out, sources=sources, init=str(network), **{**FULL, **changes})


def tensors(folder, name="model"):
    return load_file(folder / f"{name}.safetensors")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["vit", "clip", pytest.param("resnet", marks=pytest.mark.thorough)])
def test_every_network_learns_by_every_method(networks, tmp_path, kind, method):
    """And ends as a plain checkpoint of it; WiSE-FT at 0 and 1 gives the logits before and after."""
    job = small_job()
    out = run(tmp_path / "out", networks[kind], **METHODS[method])
    model, info = load_checkpoint(out)
    made = create_classifier(info.architecture, 8, 32, info.model_kwargs).state_dict()
    assert made.keys() == tensors(out).keys()
    assert info.interpolation == ("bilinear" if kind == "resnet" else "bicubic")
    learned = predict_logits(model, job.val, 32, 16, CPU, info.interpolation)
    if method == "probe":
        assert not (out / "initial.safetensors").exists()
        return
    before = create_classifier(info.architecture, 8, 32, info.model_kwargs)
    before.load_state_dict(tensors(out, "initial"))
    wanted = predict_logits(before, job.val, 32, 16, CPU, info.interpolation)
    assert not (wanted == learned).all()
    for alpha, logits in ((0, wanted), (1, learned)):
        interpolate_checkpoint(out, alpha, tmp_path / str(alpha), job.val)
        mixed, about = load_checkpoint(tmp_path / str(alpha))
        assert about.training["wise_ft"] == alpha
        right = logits.argmax(axis=1) == job.val.labels
        assert about.training["best_val_top1"] == pytest.approx(100 * right.mean())
        assert predict_logits(mixed, job.val, 32, 16, CPU, info.interpolation) == pytest.approx(logits, abs=1e-5)
    interpolate_checkpoint(out, 0.25, tmp_path / "between", Subset(job.val, []))
    assert load_checkpoint(tmp_path / "between")[1].training["best_val_top1"] is None
    for name, value in tensors(tmp_path / "between").items():
        if value.is_floating_point():
            between = 0.75 * tensors(out, "initial")[name] + 0.25 * tensors(out)[name]
            torch.testing.assert_close(value, between)


@pytest.mark.parametrize("kind", ["resnet", "clip"])
def test_lp_ft_starts_from_the_probe(networks, tmp_path, kind):
    sources = small_job().sources(1, 2)
    probe = run(tmp_path / "probe", networks[kind], sources, method="linear-probe")
    tuned = run(tmp_path / "tuned", networks[kind], sources, method="lp-ft")
    for name, value in tensors(probe).items():
        torch.testing.assert_close(tensors(tuned, "initial")[name], value)


def test_frozen_batch_norms_keep_their_statistics_and_learn_their_weights(networks, tmp_path):
    before = load_file(networks["resnet"] / "model.safetensors")
    free = tensors(run(tmp_path / "free", networks["resnet"]))
    frozen = tensors(run(tmp_path / "frozen", networks["resnet"], freeze_batch_norm=True))
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert statistics
    for name in statistics:
        assert torch.equal(frozen[f"network.{name}"], before[name]), name
        assert not torch.equal(free[f"network.{name}"], before[name]), name
    weights = [name.replace("running_mean", "weight") for name in statistics if name.endswith("running_mean")]
    for name in weights:
        assert not torch.equal(frozen[f"network.{name}"], before[name]), name


def test_lp_ft_shows_the_accuracy_of_the_probe_before_it_fine_tunes(networks, tmp_path):
    notes = []
    probe = run(tmp_path / "probe", networks["vit"], method="linear-probe")
    with counting("images", lambda count, note, found: notes.append(note)):
        run(tmp_path / "tuned", networks["vit"], method="lp-ft")
    top1 = load_checkpoint(probe)[1].training["best_val_top1"]
    training = [note for note in notes if note]
    assert f"{top1:.1f} %" in training[0] and "probe" in training[0]
    assert "probe" not in training[-1]


def test_a_probe_changes_the_last_layer_alone_and_a_seed_nothing(networks, tmp_path):
    one, other = (run(tmp_path / str(seed), networks["vit"], seed=seed, method="linear-probe") for seed in (0, 1))
    theirs = load_file(networks["vit"] / "model.safetensors")
    for name, value in tensors(one).items():
        if name.startswith("network.") and "head" not in name:
            assert torch.equal(value, theirs[name.removeprefix("network.")]), name
        torch.testing.assert_close(tensors(other)[name], value)
    info = read_checkpoint_info(one).training
    assert info["history"][-1]["val_top1"] == info["best_val_top1"] and info["penalty"] > 0


def test_timm_s_rule_of_what_decays_heeds_the_architecture():
    config = small_job().config.changed({"weight_decay": 0.05}, "train")
    model = create_classifier("test_vit", 8, 32, {"img_size": 32})
    made = make_optimizer(model, config, torch.amp.GradScaler("cpu", enabled=False))
    decayed = {id(p) for group in made.param_groups if group["weight_decay"] for p in group["params"]}
    named = dict(model.network.named_parameters())
    assert id(named["blocks.0.attn.qkv.weight"]) in decayed
    assert not {id(named[name]) for name in ("pos_embed", "cls_token", "norm.weight", "head.bias")} & decayed


def test_the_weights_decide_what_is_another_training(networks, tmp_path, clip_folder):
    out = run(tmp_path / "out", networks["vit"])
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in networks["vit"].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert run(out, copy) == out, "the same weights elsewhere"
    with refused(out):
        run(out, networks["clip"])
