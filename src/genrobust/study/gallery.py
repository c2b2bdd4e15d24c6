"""The gallery of a report, pictures of what the arms trained on, and its environment: versions and the machine."""

from __future__ import annotations

import io
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata

from genrobust.core import ImageSet, LabelSpace, Picture, cores, hardware
from genrobust.report import count, thumbnail

CLASSES = 8  # shown, evenly through the label space
PER_SOURCE = 7  # images of each class from each source: one a style, where there are seven
SIDE = 128  # pixels at the most: a report is one file


def gallery(labels: LabelSpace, sources: Mapping[str, ImageSet]) -> Iterator[Picture]:
    """Yield pictures of the same few classes from each of `sources`, one of each style first."""
    stride = max(1, len(labels) // CLASSES)
    for label in range(0, len(labels), stride)[:CLASSES]:
        for origin, images in sources.items():
            for index in _one_of_each_style(images, label):
                png = io.BytesIO()
                thumbnail(images.image(index), SIDE).save(png, "PNG")
                name = labels.classes[label].name
                yield Picture(png.getvalue(), origin, name, images.styles[index], images.keys[index])


def _one_of_each_style(images: ImageSet, label: int) -> list[int]:
    here = [i for i, of in enumerate(images.labels) if of == label]
    firsts = list({images.styles[i]: i for i in reversed(here)}.values())[::-1]
    chosen = firsts + [i for i in here if i not in firsts]
    return sorted(chosen[:PER_SOURCE], key=lambda i: images.styles[i])


def environment(device: str, threads: int, workers: int) -> dict[str, str]:
    """Describe versions and machine, by name: no host name, no path."""
    computes = f" ({hardware(device).why})" if device == "cpu" else ""
    packages = ("genrobust", "torch", "timm", "diffusers", "transformers")
    return {name: metadata.version(name) for name in packages} | {
        "Python": platform.python_version(),
        "machine": f"{count(cores(), 'CPU core')}, {platform.machine()}, {platform.system()}",
        "device": f"{device}{computes}; {count(workers, 'worker')} of {count(threads, 'thread')}",
    }
