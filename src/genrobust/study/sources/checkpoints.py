"""The classifiers of a study, trained or not: where each lies, and all that it depends on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.classifiers import BICUBIC, Blueprint, Initial, initial_of_run, open_initial
from genrobust.core import Artifact, UserError, artifact_folder, digest, find_clip, plugins_of
from genrobust.data import Review, withheld_cells
from genrobust.recipe import PRETRAINED, FilterConfig, MixturePart, Recipe, TrainConfig, load_recipe
from genrobust.study.context import Context, Rebuilt
from genrobust.study.estimates import NetworkSize, network_size
from genrobust.study.sources.images import Images
from genrobust.study.training_runs import TrainingRun, recipe_and_name, run_of
from genrobust.train import PACKING, RESIZING, Mixture, Source


class Checkpoints(Rebuilt):
    """The classifiers of a study, by their runs, and the images that they train on.

    Args:
        named_by: The recipes, by name, that name this one under `train.init`, the study's own left out.
        others: The recipes that are named there, by name: those of a worker are read and placed by who sent it.
        reviews: As for `Images`.
    """

    def __init__(
        self,
        context: Context,
        named_by: tuple[str, ...] = (),
        others: dict[str, Recipe] | None = None,
        reviews: dict[Path, Review] | None = None,
    ) -> None:
        self.context, self.named_by = context, named_by
        self.others: dict[str, Recipe] = {} if others is None else others
        self.images = Images(context, self._judge, reviews)
        self.reviews = self.images.reviews
        self.initial: dict[str, Initial] = {}  # networks that runs start from, by the settings that name one
        self._planned: dict[TrainingRun, PlannedCheckpoint] = {}
        self._elsewhere: dict[str, Checkpoints] = {}

    @property
    def named_as(self) -> str:
        """The name of the recipe in the `train.init` that leads to it; "" for the study's own."""
        return self.named_by[-1] if self.named_by else ""

    def of(self, run: TrainingRun) -> PlannedCheckpoint:
        """Return the classifier of a run."""
        if run not in self._planned:
            self._planned[run] = PlannedCheckpoint(self, run)
        return self._planned[run]

    def of_arm(self, name: str, seed: int | None = None) -> PlannedCheckpoint:
        """Return the classifier of an arm, by default of the first seed."""
        recipe = self.context.recipe
        return self.of(run_of(recipe, recipe.arm(name), recipe.seeds[0] if seed is None else seed))

    def judge_of(self, rule: FilterConfig) -> PlannedCheckpoint | None:
        """Return the classifier that a filter judges by; None for a filter that judges by something else."""
        return self.of_arm(rule.arm) if rule.by == "classifier" else None

    def _judge(self, rule: FilterConfig) -> Path:
        """The folder of the CLIP or of the classifier that a filter judges by."""
        judge = self.judge_of(rule)
        return find_clip(rule.clip or "") if judge is None else judge.folder

    def elsewhere(self, recipe: str) -> Checkpoints:
        """Return the classifiers of another recipe that this one names under `train.init`.

        Raises:
            UserError: That recipe names this one.
        """
        if recipe in self.named_by:
            raise UserError(f"train.init: {' < '.join([*self.named_by, recipe])}: these recipes start from each other")
        if recipe not in self._elsewhere:
            context = self.context
            if recipe not in self.others:
                self.others[recipe] = context.executor.placed(load_recipe(recipe, [f"device={context.recipe.device}"]))
            other = Context(self.others[recipe], context.out, context.executor, context.log)
            named_by = (*self.named_by, recipe)
            self._elsewhere[recipe] = Checkpoints(other, named_by, self.others, self.reviews)
        return self._elsewhere[recipe]


class PlannedCheckpoint:
    """The classifier of one run among `checkpoints`, those of its recipe."""

    def __init__(self, checkpoints: Checkpoints, run: TrainingRun) -> None:
        self.checkpoints, self.run = checkpoints, run
        self.context, self.images = checkpoints.context, checkpoints.images

    @cached_property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        run = self.run
        word = " ".join([*dict.fromkeys(part.source for part in run.parts), f"s{run.seed}"])
        word += "" if run.alpha == 1 else f" wise-ft {run.alpha:g}"
        return artifact_folder(self.context.out / "checkpoints", word, self.inputs)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that it depends on."""
        run, context, initial, start = self.run, self.context, self.initial, {}
        if run.alpha != 1:
            return {"tuned": self.tuned.folder.name, "wise_ft": run.alpha}
        train = run.train.effective
        if initial is not None:  # by its weights, wherever they lie
            train, start = initial.settings(train), {"initial": initial.identity}
        return {
            "mixture": self._mixture_identity,
            "val": context.data.val.fingerprint,
            "train": train.model_dump(mode="json", exclude={"save_every", *(["init"] if start else [])}),
            "seed": run.seed,
            "threads": context.recipe.threads,
            "device": context.device,
            **start,
            **({"plugins": plugins} if (plugins := plugins_of(type(train), type(train.augmentation))) else {}),
        }

    @property
    def is_trained(self) -> bool:
        """Whether it is trained; fetches it where another machine trained it."""
        return Artifact(self.folder).fetch().is_finished

    @property
    def tuned(self) -> PlannedCheckpoint:
        """The one that is trained for this one."""
        return self.checkpoints.of(self.run.tuned)

    @property
    def _mixture_identity(self) -> str:
        """A hash of all that the batches of the training depend on beside its settings and seed."""
        images = [
            [self.images.of(p.source).identity, p.weight, p.per_class, p.fraction, *self._drawing(p)]
            for p in self.run.parts
        ]
        if self.run.train.crop != "random-resized":
            return digest(images)
        return digest([images, RESIZING, *([PACKING] if self.context.recipe.data.packed else [])])

    def _drawing(self, part: MixturePart) -> list[dict[str, Any]]:
        """The keys that say how images of a part are drawn; none for none."""
        drawing = part.drawing
        if "cells" in drawing:
            drawing["cells"] = sorted(withheld_cells(self.context.data))
        return [drawing] if drawing else []

    @cached_property
    def initial(self) -> Initial | None:
        """The network that it starts from; None where its weights are random.

        Raises:
            UserError: There is no such network, it cannot be trained, or has not the last layer that is asked for.
            GenrobustError: It cannot be fetched from the hub.
        """
        train, opened = self.run.train, self.checkpoints.initial
        if not train.is_pretrained:
            return None
        key = digest([train.init, train.architecture, train.model_kwargs])
        if key not in opened:
            opened[key] = self._open_initial()
        return opened[key]

    def _open_initial(self) -> Initial:
        train, origin = self.run.train, self.origin
        if origin is None:
            return open_initial(train, self.context.data.labels.label_names, lambda: self.context.class_texts)
        return initial_of_run(train, origin.folder, origin.context.data.labels.label_names, origin._blueprint)

    @cached_property
    def settings(self) -> TrainConfig:
        """The settings of its training, with the architecture of the network that it starts from."""
        return self.run.train if self.initial is None else self.initial.settings(self.run.train)

    @property
    def interpolation(self) -> str:
        """How its images are resized."""
        return BICUBIC if self.initial is None else self.initial.blueprint.interpolation

    @property
    def _blueprint(self) -> Blueprint:
        settings = self.settings
        return Blueprint(settings.architecture, settings.network_kwargs, settings.image_size, self.interpolation)

    @property
    def size(self) -> NetworkSize:
        """The size of its network."""
        return network_size(self.context.out, self.settings, len(self.context.data.labels))

    @cached_property
    def origin(self) -> PlannedCheckpoint | None:
        """The classifier that it starts from, perhaps of another recipe; None where it starts from something else.

        Raises:
            UserError: A recipe is named without an arm, or with an unknown one.
        """
        train = self.run.train
        if train.origin_arm is not None:
            return self.checkpoints.of_arm(train.origin_arm)
        recipe, arm = recipe_and_name(train.init)
        if not recipe or train.init == PRETRAINED:  # which is the name of a recipe as well
            return None
        others = self.checkpoints.elsewhere(recipe)
        names = others.context.recipe.arm_names
        if arm not in names:
            known = ", ".join(map(repr, names))
            raise UserError(f"train.init: {train.init} names no arm of {recipe}: write {recipe}:ARM, one of {known}")
        return others.of_arm(arm)

    def require_styles(self) -> None:
        """Raise UserError if a part is to be balanced by style, and its images, once made, have none."""
        for source in (part.source for part in self.run.parts if "style" in part.balance):
            if self.images.is_made(source) and not any(self.images.open(source).styles):
                raise UserError(
                    f"arm {self.run.of!r}: mixture: {source}: balance: its images have no styles: leave style out, or "
                    "give them some (data.styles, or prompts that name styles)"
                )

    def mixture(self) -> Mixture:
        """Return the images that it trains on, which are made already."""
        train, packed = self.run.train, self.context.out / "packed" if self.context.recipe.data.packed else None
        parts = [
            Source(
                part.source,
                self.images.open_part(part),
                part.weight,
                part.per_class,
                part.fraction,
                part.balance,
            )
            for part in self.run.parts
        ]
        settings = train.batch_size, train.image_size, train.crop, packed, self.interpolation
        return Mixture(parts, *settings)
