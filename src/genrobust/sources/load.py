"""Turns the data section of a recipe into the images of a study."""

from __future__ import annotations

from genrobust.config import DataConfig
from genrobust.data import StudyData
from genrobust.sources import folders, imagenet, pictograms


def load_data(config: DataConfig) -> StudyData:
    """The study's images, wherever `config` says they come from. Raises UserError that names what is wrong there."""
    if config.source == "folders":
        return folders.load(config)
    if config.source == "imagenet":
        return imagenet.load(config)
    return pictograms.load()
