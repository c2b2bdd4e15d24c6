"""Turns the data section of a recipe into the images of a study."""

from __future__ import annotations

from genrobust.core import StudyData
from genrobust.data.reader import shift_reader, source_reader
from genrobust.recipe import DataConfig


def load_data(config: DataConfig) -> StudyData:
    """Load the study's images, wherever `config` says they come from. Raises UserError that names what is wrong."""
    for name, shift in config.shifts.items():  # before anything is listed
        shift_reader(name, shift.kind)
    return source_reader(config.source).load(config)
