"""Loss weights and soft labels, against their formulas; what batches hold is tested in test_mixture.py."""

import pytest
import torch
from kill_and_resume import contents
from torch.nn.functional import cross_entropy

from genrobust.classifiers import load_checkpoint, predict_logits
from genrobust.core import Subset
from genrobust.train import loop
from genrobust.train.augment import make_mix
from genrobust.train.targets import make_targets
from genrobust.train.team import ALONE

CPU = torch.device("cpu")
# no batch norm, nothing drawn at random, and no optimizer that makes much of rounding
EXACT = {"architecture": "test_vit", "augmentation": "none", "optimizer": "sgd", "learning_rate": 0.05}


@pytest.fixture(scope="module")
def teacher(job, tmp_path_factory):
    return job.run(tmp_path_factory.mktemp("teacher") / "run", steps=4)


def first_loss(job, out, sources, **changes):
    """The loss of the first step, the batch that it is on, and the logits before the step."""
    config = job.config.changed(EXACT | changes, "train")
    mixture, watch = job.mixture(config, sources), lambda step, metrics: None
    run = loop._Run(mixture, job.val, job.labels, config, 0, out, CPU, watch, ALONE, {})
    images, labels = mixture.batch(0, 0)
    logits = run.model(images).detach()
    return float(run._step(0, *run._read_batch(0))), labels, logits, mixture


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_is_the_weighted_mean_of_the_parts(job, tmp_path, smoothing):
    sources = job.sources(1, 1, loss_weight=0.25)
    loss, labels, logits, _ = first_loss(job, tmp_path, sources, label_smoothing=smoothing)
    real, generated = (
        cross_entropy(logits[of], labels[of], label_smoothing=smoothing) for of in (slice(8), slice(8, 16))
    )
    assert loss == pytest.approx(float(0.8 * real + 0.2 * generated), rel=1e-5)  # 1 and 0.25 of 1.25


def test_a_teacher_s_probabilities_are_the_labels_of_its_part(job, tmp_path, teacher):
    sources = job.sources(1, 1, teacher=teacher, temperature=2.0)
    loss, labels, logits, mixture = first_loss(job, tmp_path, sources)
    drawn = mixture.indices(0, 0)[8:] - len(job.real)
    answers = predict_logits(load_checkpoint(teacher)[0], Subset(job.wild, drawn), 32, 8, CPU)
    soft = torch.softmax(torch.from_numpy(answers) / 2, dim=1)
    assert float(soft.max(dim=1).values.min()) < 0.5
    real = cross_entropy(logits[:8], labels[:8], label_smoothing=job.config.label_smoothing)
    generated = -(soft * logits[8:].log_softmax(dim=1)).sum(dim=1).mean()
    assert loss == pytest.approx(float((real + generated) / 2), rel=1e-5)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_images_have_mixed_weights_and_labels(job, teacher, kind):
    config = job.config.changed({kind: 1.0}, "train")
    mixture = job.mixture(config, job.sources(1, 2, teacher=teacher, loss_weight=3.0))
    targets = make_targets(mixture, 8, config, CPU).of(mixture.indices(0, 0))
    images, _ = mixture.batch(0, 0)
    pairs = []
    for classes, rows in ((16, torch.eye(16)), (8, targets)):
        torch.manual_seed(5)
        pairs.append(make_mix(config, classes)(images / 255, rows)[1])
    shares, mixed = pairs
    assert int((shares > 0).sum(dim=1).max()) == 2
    torch.testing.assert_close(mixed, shares @ targets)
    assert float(mixed.sum()) == pytest.approx(16), "the mean weight of a batch is 1 before and after"


ALL = {"real": 1, "generated": 2, "loss_weight": 0.5, "balance": ("class", "style"), "temperature": 2.0}


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}], ids=str)
def test_a_training_with_a_teacher_resumes_to_the_same_bytes(job, tmp_path, teacher, changes):
    def run(out, stop_at=None):
        def stop(step, metrics):
            if step == stop_at:
                raise KeyboardInterrupt

        return job.run(out, sources=job.sources(**ALL, teacher=teacher), watch=stop, validate_every=1, **changes)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", 5)
    made = contents(run(tmp_path / "killed"))
    assert made == contents(run(tmp_path / "undisturbed"))
