"""A study's curves, scores and images in TensorBoard, if its recipe has `track: true`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import StudyRecord, digest, require_packages, slug

if TYPE_CHECKING:
    from genrobust.train import Watch

SIDE = 64  # pixels of an image that is shown


class Tracking:
    """Writes event files: a folder for each training and for the outcome, below `folder`; None writes nothing.

    `recipe` is the recipe as YAML, which is shown beside every run.

    Raises:
        MissingPackage: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, recipe: str) -> None:
        if folder is not None:
            require_packages(["tensorboard"], "track", "track: true")
        self._folder, self._recipe = folder, recipe

    @contextmanager
    def training(self, name: str, checkpoint: Path) -> Iterator[Watch]:
        """Yield the function that logs the metrics of a step of the training of `checkpoint`, which is called `name`.

        Of a training that ran without tracking the validations are logged now.
        """
        if self._folder is None:
            yield lambda step, metrics: None
            return
        folder = self._folder / f"{slug(name)}-{checkpoint.name[-6:]}"
        writer: Any = None  # torch types none of its methods

        def watch(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal writer
            if writer is None:  # TensorBoard drops the points from `step` on that a killed process left
                writer = self._open(folder, step)
            for key, value in metrics.items():
                writer.add_scalar(key, value, step)
            writer.flush()  # before the training's state is saved, so that no point is lost between the two

        try:
            yield watch
            if writer is None and not folder.exists():
                for entry in read_checkpoint_info(checkpoint).training["history"]:
                    watch(int(entry["step"]), {key: value for key, value in entry.items() if key != "step"})
        finally:
            if writer is not None:
                writer.close()

    def outcome(self, record: StudyRecord) -> None:
        """Log the scores of a finished study, means over seeds, and its images; once for each outcome."""
        if self._folder is None:
            return
        means = {
            f"{key.metric}/{key.test_set}/{key.arm}": score.value
            for key, score in record.summary.scores.items()
            if key.seed is None and not key.minus
        }
        folder = self._folder / f"study-{digest([means, [picture.data.hex() for picture in record.pictures]], 6)}"
        if folder.exists():
            return
        writer = self._open(folder, 0)
        for name, value in means.items():
            writer.add_scalar(name, value, 0)
        for origin in dict.fromkeys(picture.origin for picture in record.pictures):
            images = [_pixels(picture.data) for picture in record.pictures if picture.origin == origin]
            writer.add_images(f"images/{origin}", np.stack(images), 0, dataformats="NHWC")
        writer.close()

    def _open(self, folder: Path, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        is_new = not folder.exists()
        writer: Any = SummaryWriter(str(folder), purge_step=None if is_new else step)
        if is_new:
            writer.add_text("recipe", f"```yaml\n{self._recipe}```")
        return writer


def _pixels(data: bytes) -> np.ndarray:
    """The image in a file, uint8 [SIDE, SIDE, 3]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE)))
