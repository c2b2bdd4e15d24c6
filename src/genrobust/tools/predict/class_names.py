"""The readable names of the classes of a classifier."""

from __future__ import annotations

from genrobust.classifiers import OpenClassifier
from genrobust.data import readable_names


def class_names(model: OpenClassifier) -> list[str]:
    names = {**readable_names(model.classes), **model.descriptions}
    return [names[name] for name in model.classes]
