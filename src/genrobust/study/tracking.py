"""A study's curves, scores and pictures in TensorBoard or Weights & Biases, where its recipe asks for them.

Under the folder `track` each tracker has one of its own, with the list of the steps that are logged: a training that is
resumed after a kill, or is found done, logs nothing twice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import (
    GenrobustError,
    MissingPackage,
    Picture,
    StudyRecord,
    Summary,
    digest,
    make_folder,
    reading,
    refusal,
    slug,
)

if TYPE_CHECKING:
    from genrobust.train import Watch

EXTRAS = {"tensorboard": "track", "wandb": "wandb"}  # of genrobust, that bring the package of this name
LOGGED = "logged.jsonl"
CELL = 64  # pixels: a picture's side on a sheet
ROWS = 16  # classes on a sheet, evenly through those of the gallery


class Tracking:
    """The `trackers` that a recipe names; all that they write here lies in `folder`.

    `recipe` is the recipe as YAML, which is shown beside every run, and `study` its name.

    Raises:
        MissingPackage: A tracker is not installed.
    """

    def __init__(self, trackers: Sequence[str], folder: Path, study: str, recipe: str) -> None:
        for name in trackers:
            if find_spec(name) is None:
                raise MissingPackage(name, EXTRAS[name], f"track: [{name}]")
        self._trackers = [_Tracker(name, folder / name, study, recipe) for name in trackers]
        self._recipe = recipe

    @contextmanager
    def training(self, name: str, checkpoint: Path) -> Iterator[Watch]:
        """Yield what logs the metrics of the training of `checkpoint`, by its step; `name` is that of the training.

        Of a training that ran without a tracker the validations are logged now.
        """
        for tracker in self._trackers:
            tracker.read()
        runs = [_Run(tracker, f"{slug(name)}-{checkpoint.name[-6:]}") for tracker in self._trackers]

        def watch(step: int, metrics: Mapping[str, float]) -> None:
            for run in runs:
                run.log(step, metrics)

        try:
            yield watch
            if runs:
                for entry in read_checkpoint_info(checkpoint).training["history"]:
                    watch(int(entry["step"]), {key: value for key, value in entry.items() if key != "step"})
        finally:
            for run in runs:
                run.close()

    def outcome(self, record: StudyRecord) -> None:
        """Log the scores of a finished study and some of its images; nothing where both were logged before."""
        if not self._trackers:
            return
        metrics, sheets = _mean_scores(record.summary), _contact_sheets(record.pictures)
        known = digest([metrics, self._recipe, [picture.data.hex() for picture in record.pictures]], 6)
        for tracker in self._trackers:
            run = _Run(tracker, f"study-{known}")
            run.log(0, metrics, sheets)
            run.close()


class _Tracker:
    """One of the trackers: opens its runs, and knows the last step that each of them logged."""

    def __init__(self, name: str, folder: Path, study: str, recipe: str) -> None:
        self._name, self._folder, self._study, self._recipe = name, folder, study, recipe
        self.last: dict[str, int] = {}
        self.read()

    def read(self) -> None:
        """Read the last step that each run logged so far, by whatever process.

        Raises:
            GenrobustError: The file of these is damaged.
        """
        logged, then = self._folder / LOGGED, f"; delete {self._folder} to track anew"
        if logged.exists():
            with reading(logged, ValueError, TypeError, then=then, kind=GenrobustError):
                self.last = dict(map(json.loads, logged.read_bytes().splitlines()))

    def open(self, run: str) -> _TensorBoard | _Wandb:
        make_folder(self._folder)
        if self._name == "wandb":
            return _Wandb(self._folder, self._study, run, self._recipe)
        return _TensorBoard(self._folder / run, self._recipe, first=self.last.get(run, -1) + 1)

    def note(self, run: str, step: int) -> None:
        self.last[run] = step
        line = json.dumps([run, step]) + "\n"
        with (self._folder / LOGGED).open("ab", buffering=0) as file:
            before = file.tell()
            try:
                file.write(line.encode())
            except OSError as error:
                file.truncate(before)  # or half a line would stay on a full disk
                raise refusal(self._folder, error) from error


class _Run:
    """A run of a tracker that is opened when there is something new to log, and logs no step twice."""

    def __init__(self, tracker: _Tracker, name: str) -> None:
        self._tracker, self._name = tracker, name
        self._run: _TensorBoard | _Wandb | None = None

    def log(self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, np.ndarray] | None = None) -> None:
        if step <= self._tracker.last.get(self._name, -1):
            return
        if self._run is None:
            self._run = self._tracker.open(self._name)
        for name, pixels in (pictures or {}).items():
            self._run.picture(name, pixels)
        self._run.scalars(step, metrics)
        self._tracker.note(self._name, step)

    def close(self) -> None:
        if self._run is not None:
            self._run.close()


class _TensorBoard:
    """A file of events in the run's folder, for steps from `first` on; TensorBoard overlooks earlier files' from there.

    Those are what a process had logged when it was killed, before it could note that in the list.
    """

    def __init__(self, folder: Path, recipe: str, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first or None)  # Any: torch types none of its methods
        if first == 0:
            self._writer.add_text("recipe", f"```yaml\n{recipe}```")

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # before the training's state is saved, so that no point is lost between the two

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Show `pixels`, uint8 [H, W, 3]."""
        self._writer.add_image(f"images/{name}", pixels, 0, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of the project genrobust, in a group named after the study; the mode is that of W&B's own settings."""

    def __init__(self, folder: Path, study: str, run: str, recipe: str) -> None:
        import wandb
        import yaml

        try:
            self._run = wandb.init(
                project="genrobust",
                group=study,
                name=run,
                id=digest([str(folder.resolve()), run]),
                resume="allow",
                dir=folder,
                config=yaml.safe_load(recipe),
                reinit="create_new",
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            raise GenrobustError(
                f"Weights & Biases: {error}. Log in with wandb login, set WANDB_MODE=offline to keep everything in "
                f"{folder}, or leave wandb out of track"
            ) from error
        self._image = wandb.Image

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self._run.log({f"images/{name}": self._image(pixels)}, step=0, commit=False)

    def close(self) -> None:
        self._run.finish()


def _mean_scores(summary: Summary) -> dict[str, float]:
    """The means over seeds by metric, test set and arm, in each metric's unit."""
    return {
        f"{key.metric}/{key.test_set}/{key.arm}": score.value
        for key, score in summary.scores.items()
        if key.seed is None and not key.minus
    }


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
