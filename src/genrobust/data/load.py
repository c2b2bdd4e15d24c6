"""Turns the data section of a recipe into the images of a study."""

from __future__ import annotations

from dataclasses import replace

from genrobust.core import StudyData
from genrobust.data import folders, imagenet, pictograms
from genrobust.data.places import open_place
from genrobust.recipe import DataConfig


def load_data(config: DataConfig) -> StudyData:
    """The study's images, wherever `config` says they come from. Raises UserError that names what is wrong there."""
    if config.source == "folders":
        return folders.load(config)
    if config.source == "imagenet":
        return imagenet.load(config)
    data = pictograms.load()
    classes = folders.FolderClasses(data.labels, data.labels.ids)
    extra = {n: folders.open_images(n, open_place(p), classes, config.same_class) for n, p in config.extra.items()}
    return replace(data, extra=dict(extra))
