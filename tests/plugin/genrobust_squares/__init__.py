"""What a third party adds to genrobust: an engine, a figure and a reader, each a class."""

from __future__ import annotations

import numpy as np

from genrobust import Engine, ImageFigure, MemoryImages


class Squares(Engine):
    """Draws a square in the color of the class, somewhere on white."""

    modes = ("labels",)

    @classmethod
    def identity(cls, config):
        return {"generator": config.model, "squares_version": 1}

    def draw(self, requests):
        return [self._square(request.label, np.random.default_rng(request.seed)) for request in requests]

    def _square(self, label, noise):
        image = np.full((64, 64, 3), 255, np.uint8)
        x, y = noise.integers(0, 40, 2)
        image[y : y + 24, x : x + 24] = np.eye(3, dtype=np.uint8)[label % 3] * 200
        return image


class MeanConfidence(ImageFigure):
    """The mean of the highest probability."""

    title = "Mean confidence"
    note = "the highest softmax probability, averaged over the images"
    unit = "probability"
    digits = 3
    bounds = (0, 1)

    def of_images(self, answers):
        return np.exp(answers.highest - answers.normalizer)


class Arrays:
    """Reads a shifted test set from an .npz file: `pixels`, uint8 [N, H, W, 3], and `classes`, their ids [N]."""

    def open(self, name, shift, classes, same_class):
        found = np.load(shift.path, allow_pickle=False)
        labels = [classes.labels.index(id) for id in found["classes"]]
        return {name: MemoryImages(name, list(found["pixels"]), labels, [f"{name}-{i}" for i in range(len(labels))])}


arrays = Arrays()
