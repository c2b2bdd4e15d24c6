"""Turns the data section of a recipe into the images of a study."""

from __future__ import annotations

from dataclasses import replace

from genrobust.config import DataConfig
from genrobust.data import StudyData
from genrobust.sources import folders, imagenet, pictograms
from genrobust.sources.places import open_place


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
