"""The curves of a study's trainings in TensorBoard, if its recipe has `track: true`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core import require_packages, slug

if TYPE_CHECKING:
    from genrobust.train import Watch


class Tracking:
    """Writes event files: a folder for each training, below `folder`; None writes nothing.

    `recipe` is the recipe as YAML, shown with every run.
    """

    def __init__(self, folder: Path | None, recipe: str) -> None:
        if folder is not None:
            require_packages(["tensorboard"], "track", "track: true")
        self._folder = folder
        self._recipe = recipe

    @contextmanager
    def training(self, name: str, checkpoint: Path) -> Iterator[Watch]:
        """Yield the function that logs the metrics of a step of the training of `checkpoint`, called `name`."""
        if self._folder is None:
            yield lambda step, metrics: None
            return
        folder = self._folder / f"{slug(name)}-{checkpoint.name[-6:]}"
        # torch does not type its methods.
        writer: Any = None

        def watch(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal writer
            # TensorBoard drops the points from `step` on that a killed process left.
            if writer is None:
                writer = self._open(folder, step)
            for key, value in metrics.items():
                writer.add_scalar(key, value, step)
            # Flush before the training's state is saved, so that no point is lost between the two.
            writer.flush()

        try:
            yield watch
        finally:
            if writer is not None:
                writer.close()

    def _open(self, folder: Path, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        is_new = not folder.exists()
        writer: Any = SummaryWriter(str(folder), purge_step=None if is_new else step)
        if is_new:
            writer.add_text("recipe", f"```yaml\n{self._recipe}```")
        return writer
