"""Linear probes: the exact solution of logistic regression, against scipy's and scikit-learn's on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from refusals import refused
from scipy.optimize import minimize
from scipy.special import log_softmax
from small_job import small_job

from genrobust.classifiers import create_classifier, last_linear, predict_logits
from genrobust.core import GenrobustError, Subset
from genrobust.recipe import TrainConfig
from genrobust.store import KeptParts
from genrobust.train import Mixture, Source
from genrobust.train.logistic_regression import solve
from genrobust.train.probe import STRENGTHS, Embedder, fit_probe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def problem():
    """Features of three classes that overlap, far from zero and of unequal scales."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    features = rng.normal(size=(200, 6)) * [1, 2, 0.1, 1, 5, 1] + rng.normal(size=(3, 6))[labels] + 7
    return features.astype(np.float32), labels, rng.uniform(0.2, 3, 200)


def logits(features, labels, weights, penalty, **more):
    given = [torch.from_numpy(array) for array in (features, labels, weights)]
    found = solve(*given, 3, penalty, **more)
    return found.logits(given[0]).numpy(), found.loss


def apart(found, wanted):
    """The largest difference of logits, of which a shift of all changes nothing."""
    one, other = (of - of.mean(axis=1, keepdims=True) for of in (found, wanted))
    return np.abs(one - other).max()


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_it_is_the_minimum_that_scipy_finds(problem, penalty):
    features, labels, weights = problem
    share = weights / weights.sum()

    def objective(flat):
        rows, bias = flat[:18].reshape(3, 6), flat[18:]
        logs = log_softmax(features @ rows.T + bias, axis=1)
        errors = (np.exp(logs) - np.eye(3)[labels]) * share[:, None]
        gradient = np.concatenate([(errors.T @ features + penalty * rows).ravel(), errors.sum(axis=0)])
        return -share @ logs[np.arange(200), labels] + penalty / 2 * (rows**2).sum(), gradient

    best = minimize(objective, np.zeros(21), jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000})
    wanted = features @ best.x[:18].reshape(3, 6).T + best.x[18:]
    found, loss = logits(features, labels, weights, penalty)
    assert apart(found, wanted) < 1e-4
    assert loss == pytest.approx(-share @ log_softmax(wanted, axis=1)[np.arange(200), labels], abs=1e-6)


def test_a_start_changes_nothing(problem):
    features, labels, weights = problem
    given = [torch.from_numpy(of) for of in problem]
    wanted, _ = logits(features, labels, weights, 1e-3)
    found, _ = logits(features, labels, weights, 1e-3, start=solve(*given, 3, 1.0))
    assert apart(found, wanted) < 1e-4


def mixture(*sources):
    return Mixture(sources, 16, 32)


def probed(sources, architecture="test_resnet", val=None, **kwargs):
    job = small_job()
    torch.manual_seed(0)
    model = create_classifier(architecture, 8, 32, kwargs)
    config = TrainConfig(init="x", method="linear-probe", image_size=32, batch_size=16)
    return model, fit_probe(model, mixture(*sources), job.val if val is None else val, config, CPU, KeptParts(None))


@pytest.mark.parametrize(
    ("architecture", "kwargs", "balance"),
    [
        ("test_resnet", {}, ()),
        ("test_vit", {"patch_size": 8, "img_size": 32}, ("class",)),
        ("test_vit", {"cosine_head": 16}, ()),
    ],
    ids=str,
)
def test_the_last_layer_is_the_solution_for_its_features(architecture, kwargs, balance):
    """Of images as often as batches hold them: the same sum of weights for each class, where classes are balanced."""
    job = small_job()
    images = Subset(job.real, np.arange(0, len(job.real), 2))
    sizes = np.bincount(images.labels)
    assert len(sizes) == 8 and sizes.min() < sizes.max(), "else the bias of one has no end, or all weigh the same"
    model, found = probed([Source("real", images, balance=balance)], architecture, **kwargs)
    last, features = last_linear(model.network), []
    last.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0].numpy()))
    answers = predict_logits(model, images, 32, 32, CPU)
    x, y = np.concatenate(features), torch.from_numpy(images.labels.astype(np.int64))
    weights = torch.from_numpy(1 / sizes[images.labels] if balance else np.ones(len(x)))
    wanted = solve(torch.from_numpy(x), y, weights, 8, found.penalty)
    assert np.abs(answers - wanted.logits(torch.from_numpy(x)).numpy()).max() < 1e-3
    assert found.loss == pytest.approx(wanted.loss, rel=1e-4)
    top1 = 100 * (predict_logits(model, job.val, 32, 32, CPU).argmax(axis=1) == job.val.labels).mean()
    assert found.val_top1 == pytest.approx(top1)


def test_without_validation_images_the_penalty_is_fixed():
    job = small_job()
    nothing = Subset(job.val, np.arange(0))
    _, found = probed([Source("real", job.real)], val=nothing)
    assert found.val_top1 is None
    _, chosen = probed([Source("real", job.real)])
    assert np.isclose(STRENGTHS, found.penalty / chosen.penalty).any()


def test_features_that_are_no_numbers_are_an_error():
    job = small_job()
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 8, 32)
    with torch.no_grad():
        next(model.network.parameters()).fill_(torch.nan)
    config = TrainConfig(init="x", method="linear-probe", image_size=32)
    with refused("NaN", kind=GenrobustError):
        fit_probe(model, mixture(Source("real", job.real)), job.val, config, CPU, KeptParts(None))


PARTS_OF_2000 = TrainConfig(init="x", method="linear-probe", image_size=32, batch_size=500)


def embedded(images, parts):
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 8, 32)
    return Embedder(model, PARTS_OF_2000, "bicubic", CPU, parts).embed(images)


def test_a_killed_embedding_goes_on(tmp_path):
    images, read = Subset(small_job().real, np.arange(4100) % 90), []

    class Killed(Subset):
        def image(self, index):
            read.append(index)
            if len(read) > 3000:
                raise KeyboardInterrupt
            return super().image(index)

    wanted = embedded(images, KeptParts(None))
    assert wanted.shape == (4100, 96)
    with pytest.raises(KeyboardInterrupt):
        embedded(Killed(small_job().real, np.arange(4100) % 90), KeptParts(tmp_path, "run"))
    read.clear()
    rest = Killed(small_job().real, np.arange(4100) % 90)
    assert (embedded(rest, KeptParts(tmp_path, "run")) == wanted).all()
    assert len(read) == 2100
