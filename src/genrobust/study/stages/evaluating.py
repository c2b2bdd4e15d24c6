"""The predictions of a study: of its classifiers and of its zero-shot CLIP, in folders named after what they are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import fetch_checkpoint
from genrobust.core import StudyData, digest, fetch, slug
from genrobust.recipe import Recipe
from genrobust.study.rates import measured, of_evaluating, of_zero_shot, place_of

if TYPE_CHECKING:
    from genrobust.classifiers import SavedPredictions


class Evaluation:
    """What classifiers answer on the sets `tests` of `data`, kept below `out`."""

    def __init__(self, recipe: Recipe, data: StudyData, tests: Sequence[str], out: Path) -> None:
        self._recipe, self._out = recipe, out
        self._labels, self._sets = data.labels, {name: data.tests[name] for name in tests}
        self._place = place_of(recipe)

    def predictions(self, checkpoint: Path) -> SavedPredictions[str]:
        """The checkpoint's predictions on every set, made now where they are not there yet."""
        return self._predicted([checkpoint])[checkpoint]

    def _predicted(self, checkpoints: Sequence[Path]) -> dict[Path, SavedPredictions[str]]:
        """The predictions of many checkpoints, for which each image is decoded once."""
        from genrobust.classifiers import open_checkpoint, predict_sets

        recipe = self._recipe
        for checkpoint in checkpoints:
            fetch_checkpoint(checkpoint)
        of = of_evaluating(recipe.train, recipe.evaluate, self._place)
        with measured(self._out, "evaluate", of, sum(map(self.missing, checkpoints))):
            opened = {self._folder(one): open_checkpoint(one, recipe.evaluate) for one in checkpoints}
            how = recipe.evaluate.batch_size, recipe.device, recipe.threads
            made = predict_sets(opened, self._sets, self._labels, *how)
        return {checkpoint: made[self._folder(checkpoint)] for checkpoint in checkpoints}

    def zero_shot(self) -> SavedPredictions[str]:
        """What the recipe's zero-shot CLIP answers on every set; nothing where it has none."""
        from genrobust.classifiers import SavedPredictions

        recipe = self._recipe
        if recipe.zero_shot is None:
            return SavedPredictions({})
        from genrobust.classifiers import open_zero_shot, predict_sets
        from genrobust.core import find_clip

        with measured(self._out, "evaluate", of_zero_shot(recipe.zero_shot, self._place), self.missing(None)):
            clip, size = find_clip(recipe.zero_shot.clip), recipe.train.image_size
            opened = open_zero_shot(clip, self.class_texts(), self._labels.ids, recipe.evaluate, size)
            how, out = (recipe.evaluate.batch_size, recipe.device, recipe.threads), self._zero_shot_folder()
            return predict_sets({out: opened}, self._sets, self._labels, *how)[out]

    def make(self, checkpoints: Iterable[Path | None]) -> None:
        """Make the predictions of `checkpoints`, and of the zero-shot CLIP for None."""
        asked = list(checkpoints)
        self._predicted([checkpoint for checkpoint in asked if checkpoint is not None])
        if None in asked:
            self.zero_shot()

    def class_texts(self) -> list[list[str]]:
        """The recipe's prompts of each class: what a CLIP knows it by."""
        from genrobust.generate import class_templates

        templates, classes = class_templates(self._recipe.generate.prompts, self._labels), self._labels.classes
        return [[t.fill(c.prompt) for t in of_class] for of_class, c in zip(templates, classes, strict=True)]

    def missing(self, checkpoint: Path | None) -> int:
        """How many test images the checkpoint has not seen, or the recipe's zero-shot CLIP for None."""
        if checkpoint is None and self._recipe.zero_shot is None:
            return 0
        folder = self._zero_shot_folder() if checkpoint is None else self._folder(checkpoint)
        fetch(folder, "*.npz")
        return sum(len(images) for name, images in self._sets.items() if not (folder / f"{slug(name)}.npz").exists())

    def _folder(self, checkpoint: Path) -> Path:
        how = self._recipe.evaluate.protocol
        return self._out / "predictions" / (digest([checkpoint.name, how]) if how else checkpoint.name)

    def _zero_shot_folder(self) -> Path:
        from genrobust.core import find_clip, hash_folder

        assert self._recipe.zero_shot is not None  # those who ask have looked
        what = [hash_folder(find_clip(self._recipe.zero_shot.clip)), self._recipe.generate.prompts]
        what += filter(None, [self._recipe.evaluate.protocol])
        return self._out / "predictions" / digest(what)
