"""A training step on any device."""

import pytest
from torch.nn.functional import cross_entropy

from genrobust.classifiers import create_classifier, move_to
from genrobust.train.batch_augmentation import make_augment, make_mix


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"augmentation": "none", "mixup": 0.2, "cutmix": 1.0}),
        {"color_jitter": 0.4, "grayscale": 0.5, "random_erasing": 0.5},
        *({"augmentation": policy} for policy in ("autoaugment", "randaugment", "trivialaugment")),
    ],
    ids=str,
)
def test_a_step_on_another_device_needs_nothing_of_the_cpu(job, changes):
    """The device is `meta`, which computes shapes, and refuses tensors of the CPU as a GPU does."""
    config = job.config.changed(changes, "train")
    mixture = job.mixture(config, job.sources())
    network = move_to(create_classifier(config.architecture, len(job.labels), config.image_size), "cpu").to("meta")
    images, targets = (tensor.to("meta") for tensor in mixture.batch(0, 0, config.image_size))
    images, targets = make_mix(config, len(job.labels))(make_augment(config)(images), targets)
    logits = network(images)
    cross_entropy(logits, targets).backward()
    assert logits.is_meta and all(weight.grad.is_meta for weight in network.parameters())
