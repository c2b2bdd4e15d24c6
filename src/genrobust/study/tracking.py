"""A study's curves, scores and pictures in TensorBoard or Weights & Biases, where its recipe asks for them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import GenrobustError, MissingPackage, Picture, StudyRecord, digest, make_folder, slug
from genrobust.recipe import Recipe, recipe_yaml

if TYPE_CHECKING:
    from genrobust.train import Watch

EXTRAS = {"tensorboard": "track", "wandb": "wandb"}  # of genrobust, that bring the package of this name
CELL = 64  # pixels: a picture's side on a sheet
ROWS = 16  # classes on a sheet, evenly through those of the gallery


class Tracking:
    """The trackers that `recipe` names. Each run of theirs has a folder in `folder`; what has one is not logged again.

    Raises:
        MissingPackage: A tracker is not installed.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        for name in recipe.track:
            if find_spec(name) is None:
                raise MissingPackage(name, EXTRAS[name], f"track: [{name}]")
        self._recipe, self._folder = recipe, folder

    @contextmanager
    def training(self, name: str, checkpoint: Path) -> Iterator[Watch]:
        """Yield a function that logs metrics of the training `name` of `checkpoint` by step.

        If the training ran without a tracker, its validations are logged now.
        """
        with self._runs(f"{slug(name)}-{checkpoint.name[-6:]}") as runs:

            def watch(step: int, metrics: Mapping[str, float]) -> None:
                for run in runs:
                    run.log(step, metrics)

            yield watch
            if missed := [run for run in runs if not run.folder.exists()]:
                for entry in read_checkpoint_info(checkpoint).training["history"]:
                    for run in missed:
                        run.log(int(entry["step"]), {key: value for key, value in entry.items() if key != "step"})

    def outcome(self, record: StudyRecord) -> None:
        """Log the scores of a finished study and some of its images."""
        if not self._recipe.track:
            return
        scores = record.summary.scores.items()
        means = {f"{k.metric}/{k.test_set}/{k.arm}": s.value for k, s in scores if k.seed is None and not k.minus}
        known = digest([means, recipe_yaml(self._recipe), [picture.data.hex() for picture in record.pictures]], 6)
        with self._runs(f"study-{known}") as runs:
            for run in runs:
                if not run.folder.exists():
                    run.log(0, means, _contact_sheets(record.pictures))

    @contextmanager
    def _runs(self, name: str) -> Iterator[list[_TensorBoard | _Wandb]]:
        kinds: dict[str, type[_TensorBoard] | type[_Wandb]] = {"tensorboard": _TensorBoard, "wandb": _Wandb}
        runs = [kinds[tracker](self._folder / tracker / name, self._recipe) for tracker in self._recipe.track]
        try:
            yield runs
        finally:
            for run in runs:
                run.close()


class _TensorBoard:
    """Files of events in `folder`. TensorBoard drops what a killed process logged from the first step of the next."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self._recipe = folder, recipe
        self._writer: Any = None  # Any: torch types none of its methods

    def log(self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, np.ndarray] | None = None) -> None:
        """Log `metrics` of `step`, and `pictures`, uint8 [H, W, 3]."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            make_folder(self.folder)
            self._writer = SummaryWriter(str(self.folder), purge_step=step)
            self._writer.add_text("recipe", f"```yaml\n{recipe_yaml(self._recipe)}```", step)
        for name, pixels in (pictures or {}).items():
            self._writer.add_image(f"images/{name}", pixels, step, dataformats="HWC")
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # before the training's state is saved, so that no point is lost between the two

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Wandb:
    """A run of the project genrobust, in a group named after the study; the mode is that of W&B's own settings."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self._recipe = folder, recipe
        self._run: Any = None

    def log(self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, np.ndarray] | None = None) -> None:
        """Log `metrics` of `step`, and `pictures`, uint8 [H, W, 3]; W&B drops steps before the last that it has."""
        import wandb

        if self._run is None:
            make_folder(self.folder)
            try:
                self._run = wandb.init(
                    project="genrobust",
                    group=self._recipe.name,
                    name=self.folder.name,
                    id=digest(str(self.folder.resolve())),
                    resume="allow",
                    dir=self.folder,
                    config=self._recipe.model_dump(mode="json"),
                    reinit="create_new",
                    settings=wandb.Settings(console="off"),
                )
            except wandb.Error as error:
                raise GenrobustError(
                    f"Weights & Biases: {error}. Log in with wandb login, set WANDB_MODE=offline to keep everything "
                    f"in {self.folder}, or leave wandb out of track"
                ) from error
        images = {f"images/{name}": wandb.Image(pixels) for name, pixels in (pictures or {}).items()}
        self._run.log({**metrics, **images}, step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def _contact_sheets(pictures: Sequence[Picture]) -> dict[str, np.ndarray]:
    """The pictures of each source as one, uint8 [H, W, 3]: a row a class."""
    by_origin: dict[str, dict[str, list[Image.Image]]] = {}
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.data)).convert("RGB")
        by_origin.setdefault(picture.origin, {}).setdefault(picture.class_name, []).append(image)
    sheets = {}
    for origin, of_class in by_origin.items():
        rows = dict(list(of_class.items())[:: -(-len(of_class) // ROWS)])
        paper = Image.new("RGB", (CELL * max(map(len, rows.values())), CELL * len(rows)), "white")
        for y, row in enumerate(rows.values()):
            for x, image in enumerate(row):
                paper.paste(image, (CELL * x, CELL * y))
        sheets[origin] = np.asarray(paper)
    return sheets
