"""Split batch norms: the classifier's come from real images alone, the weights from all, and nothing else remains."""

from contextlib import nullcontext

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.layers import convert_splitbn_model
from torch import nn
from torch.nn.functional import cross_entropy

from genrobust.classifiers import create_classifier, load_checkpoint, move_to, prepare
from genrobust.core import Subset, UserError, hashed_seed
from genrobust.train import Mixture, Source, learner, loop
from genrobust.train.augment import make_augment
from genrobust.train.learner import make_learner, norm_state, real_rows, twin_of
from genrobust.train.team import ALONE

EXACT = {"augmentation": "none", "precision": "float32", "split_batchnorm": True}  # what a test can compute itself


def sources(job, real=1, generated=2):
    return job.sources(real, generated)[::-1]  # the real rows are not the first


def begun(job, out, mixed, **changes):
    config = job.config.changed(EXACT | changes, "train")
    mixture, watch = job.mixture(config, mixed), lambda step, metrics: None
    return loop._Run(mixture, job.val, job.labels, config, 0, out, torch.device("cpu"), watch, ALONE, {})


def first_weights(job):
    """The network that a run with seed 0 begins with."""
    torch.manual_seed(hashed_seed(0, "weights"))
    return move_to(create_classifier(job.config.architecture, 8, 32), "cpu").train()


def norms(model):
    return {name: value for name, value in model.named_buffers() if "running" in name or "tracked" in name}


def test_each_kind_of_image_makes_its_own_statistics(job, tmp_path):
    run = begun(job, tmp_path, sources(job), learning_rate=1e-30)  # too small to change a weight
    alone = {"real": first_weights(job), "generated": first_weights(job)}
    for step in range(3):
        images, labels = run.mixture.batch(0, step)
        run._step(step, images, labels)
        real = torch.from_numpy(run.mixture.indices(0, step) >= len(job.wild))
        assert int(real.sum()) == 5  # a third of 16
        with torch.no_grad():
            alone["real"](images[real])
            alone["generated"](images[~real])
    for kind, model in (("real", run.model), ("generated", run.twin)):
        found, wanted = norms(model), norms(alone[kind])
        assert found.keys() == wanted.keys() and found
        for name, value in wanted.items():
            assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), (kind, name)
    mean = next(name for name in norms(run.model) if name.endswith("running_mean"))
    assert not torch.allclose(norms(run.model)[mean], norms(run.twin)[mean], rtol=1e-2)


def test_equal_halves_learn_as_timm_s_split_batch_norm_does(job, tmp_path):
    run = begun(job, tmp_path, sources(job, 1, 1), label_smoothing=0.0)
    images, labels = run.mixture.batch(0, 0)
    real = run.mixture.rows("real")
    order = torch.cat([real.nonzero()[:, 0], (~real).nonzero()[:, 0]])  # timm takes the first half as the main one
    split = convert_splitbn_model(first_weights(job), num_splits=2)
    split.zero_grad()
    nn.functional.cross_entropy(split(images[order].float() / 255), labels[order]).backward()
    run._step(0, images, labels)
    mine = dict(run.model.named_parameters())
    auxiliary = {k: v for k, v in run.twin.named_parameters() if k in norm_state(run.twin)}
    theirs = dict(split.named_parameters())
    assert len(theirs) == len(mine) + len(auxiliary)
    for name, parameter in theirs.items():
        own = auxiliary[name.replace("aux_bn.0.", "")] if "aux_bn" in name else mine[name]
        assert torch.allclose(own.grad, parameter.grad, rtol=1e-3, atol=1e-6), name


def test_a_twin_shares_all_but_its_norms(job):
    model = first_weights(job)
    twin = twin_of(model)
    own = norm_state(model)
    for (name, ours), theirs in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
        assert (ours.data_ptr() == theirs.data_ptr()) == (name not in own), name
    assert {name.rsplit(".", 1)[1] for name in own} >= {"weight", "bias", "running_mean", "running_var"}


def test_the_checkpoint_is_a_plain_timm_model(job, tmp_path):
    out = job.run(tmp_path, sources=sources(job), **EXACT, validate_every=12, ema_decay=0.5)
    state = load_file(out / "model.safetensors")
    plain = timm.create_model(job.config.architecture, num_classes=8)
    plain.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    pixels = np.stack([prepare(job.val.image(i), 32) for i in range(len(job.val))])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    normalized = (images.float() / 255 - state["mean"]) / state["std"]
    loaded, _ = load_checkpoint(out)
    with torch.no_grad():
        assert torch.allclose(plain.eval()(normalized), loaded(images), rtol=1e-4, atol=1e-5)


def test_mixup_stays_within_a_kind(job, tmp_path):
    low = Subset(job.real, np.flatnonzero(job.real.labels < 4))
    high = Subset(job.wild, np.flatnonzero(job.wild.labels >= 4))
    run = begun(job, tmp_path, [Source("real", low, 1), Source("generated", high, 1)], mixup=1.0)
    images, labels = run.mixture.batch(0, 0)
    _, targets = run.learner(run.augment(images), labels)
    real, generated = targets[:8], targets[8:]
    assert real.shape == generated.shape == (8, 8)
    assert float(real[:, 4:].sum()) == 0 and float(generated[:, :4].sum()) == 0
    assert int((real.max(dim=1).values < 1).sum()) > 0


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"real": 1, "generated": 15}, "a batch of 16 holds 1 real images"),
        ({"real": 15, "generated": 1}, "a batch of 16 holds 15 real images"),
    ],
)
def test_a_mixture_that_cannot_be_split_is_refused(job, weights, said):
    mixed = [Source(name, job.real if name == "real" else job.wild, weight) for name, weight in weights.items()]
    with pytest.raises(UserError, match=said):
        real_rows(Mixture(mixed, 16, 32), job.config.changed(EXACT, "train"))


def test_each_worker_needs_two_images_of_either_kind(job):
    config, mixture = job.config.changed(EXACT | {"workers": 4}, "train"), Mixture(sources(job), 16, 32)
    with pytest.raises(UserError, match="a worker's share of 4 holds 1 real images"):
        real_rows(mixture, config, slice(0, None, 4))
    shares = [real_rows(mixture, config, slice(rank, None, 2)) for rank in range(2)]
    assert sorted(int(share.sum()) for share in shares) == [2, 3]


def test_an_architecture_without_batch_norm_is_refused(job, tmp_path):
    with pytest.raises(UserError, match="no batch norm"):
        begun(job, tmp_path, sources(job), architecture="test_vit")


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"augmentation": "none", "mixup": 0.2, "cutmix": 1.0}, {"split_batchnorm": True, "mixup": 0.2}),
        {"color_jitter": 0.4, "grayscale": 0.5, "random_erasing": 0.5},
        *({"augmentation": policy} for policy in ("autoaugment", "randaugment", "trivialaugment")),
    ],
    ids=str,
)
def test_a_step_on_another_device_needs_nothing_of_the_cpu(job, changes, monkeypatch):
    """The device is `meta`, which computes shapes, and refuses tensors of the CPU as a GPU does."""
    monkeypatch.setattr(learner, "autocast", lambda device, precision: nullcontext())  # there is none on it
    config = job.config.changed(changes, "train")
    mixture = job.mixture(config, sources(job))
    network = create_classifier(config.architecture, len(job.labels), config.image_size)
    learns = make_learner(mixture, move_to(network, "cpu").to("meta"), len(job.labels), config, slice(None))
    images, targets = (tensor.to("meta") for tensor in mixture.batch(0, 0, config.image_size, slice(None)))
    logits, targets = learns(make_augment(config)(images), targets)
    cross_entropy(logits, targets).backward()
    assert logits.is_meta and all(weight.grad.is_meta for weight in learns.parameters())
