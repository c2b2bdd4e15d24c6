"""The targets of a training whose images count differently in the loss, or are labeled by another classifier."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genrobust.core import progress_bar
from genrobust.recipe import TrainConfig
from genrobust.train.mixture import Mixture


class Targets:
    """The distribution over classes that each image of a mixture is to get, times its weight in the loss.

    The cross-entropy is linear in them, so that Mixup and CutMix treat them as any targets.
    """

    def __init__(self, mixture: Mixture, classes: int, config: TrainConfig, device: torch.device) -> None:
        """Let the teachers of the mixture's sources label their images, on `device`; others keep their labels.

        Raises:
            UserError: A teacher is not trained, or an image cannot be read.
            GenrobustError: A teacher is damaged.
        """
        self._labels, self._classes, self._smoothing = torch.from_numpy(mixture.labels), classes, config.label_smoothing
        self._weights = torch.from_numpy(
            np.repeat([np.float32(source.loss_weight) for source in mixture.sources], list(mixture.counts.values()))
        )
        self._soft: list[tuple[int, Tensor]] = []  # the first image that a teacher labels, and its labels
        end = 0
        for source, (images, _) in zip(mixture.sources, mixture.shares(), strict=True):
            end += len(images)
            if (teacher := source.teacher) is not None:
                with progress_bar("labeling", len(images)) as bar:
                    logits = teacher.logits(teacher.load(device), images, 2 * config.batch_size, device, bar.advance)
                soft = (torch.from_numpy(logits) / source.temperature).softmax(dim=1)
                self._soft.append((end - len(images), soft))

    def of(self, indices: np.ndarray) -> Tensor:
        """Return the targets of a batch, float32 [B, K], in rows that sum to 1 on average."""
        images = torch.from_numpy(indices)
        hard = F.one_hot(self._labels[images], self._classes).float()
        targets = (1 - self._smoothing) * hard + self._smoothing / self._classes
        for start, soft in self._soft:
            labeled = (images >= start) & (images < start + len(soft))
            targets[labeled] = soft[images[labeled] - start]
        weights = self._weights[images]
        return targets * (weights / weights.mean())[:, None]


def make_targets(mixture: Mixture, classes: int, config: TrainConfig, device: torch.device) -> Targets | None:
    """Return the targets of a mixture; None where they are its labels, and all images count the same."""
    is_plain = all(source.loss_weight == 1 and source.teacher is None for source in mixture.sources)
    return None if is_plain else Targets(mixture, classes, config, device)
