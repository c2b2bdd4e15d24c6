"""The images that the arms of a study mix, by the name of their source, and what each is a function of."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import (
    BICUBIC,
    Blueprint,
    Initial,
    OpenClassifier,
    hash_clip,
    initial_of_run,
    open_initial,
    open_run,
)
from genrobust.core import (
    REAL,
    RETRIEVED,
    RETRIEVED_BY_CLASS,
    RETRIEVED_BY_SEARCH,
    Artifact,
    ImageSet,
    Subset,
    UserError,
    artifact_folder,
    digest,
    find_clip,
    plugins_of,
    prefix,
    some_of,
)
from genrobust.data import Review, filled_quotas, kept, read_filter, read_review, retrieve
from genrobust.generate import class_templates
from genrobust.recipe import PRETRAINED, FilterConfig, MixturePart, Recipe, TrainConfig, load_recipe
from genrobust.study.context import Context
from genrobust.study.stages.generate import GeneratedDataset
from genrobust.study.stages.searching import PoolSearch
from genrobust.study.training_runs import TrainingRun, recipe_and_name, run_of
from genrobust.train import PACKING, RESIZING

MOST_SHARDS = 500_000  # of all datasets: listing the job of each takes 200 MB


class Sources:
    """The sources of a study: real, generated, filtered and retrieved images, and those under data.extra.

    `identity` and `class_counts` are known before anything is made, from the recipe and the real images; `images` opens
    what is made.

    Args:
        named_by: The recipes, by name, that name this one under `train.init`, the study's own left out.
        others: The recipes that are named there, by name: those of a worker are read and placed by who sent it.
        reviews: The reviews that filters name, by file, which are read once too: a person may go on meanwhile.
    """

    def __init__(
        self,
        context: Context,
        named_by: tuple[str, ...] = (),
        others: dict[str, Recipe] | None = None,
        reviews: dict[Path, Review] | None = None,
    ) -> None:
        self.context, self._named_by = context, named_by
        self._others: dict[str, Recipe] = {} if others is None else others
        self._reviews: dict[Path, Review] = {} if reviews is None else reviews
        self._initial: dict[str, Initial] = {}
        self._datasets: dict[str, GeneratedDataset] = {}
        self._images: dict[str, ImageSet] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Sources, (self.context, self._named_by, self._others, self._reviews)

    def dataset(self, name: str) -> GeneratedDataset:
        """Return the generated dataset called `name`.

        Raises:
            UserError: The recipe has no such dataset.
        """
        if name not in self._datasets:
            self._datasets[name] = GeneratedDataset(self.context, name)
        return self._datasets[name]

    @cached_property
    def datasets(self) -> dict[str, GeneratedDataset]:
        """The generated datasets that the arms mix, by name."""
        datasets = {name: self.dataset(name) for name in self.context.recipe.generated_sets()}
        if (shards := sum(len(dataset.shards) for dataset in datasets.values())) > MOST_SHARDS:
            raise UserError(
                f"generate.shard_size: the datasets have {shards:,} shards together, and a study plans up to "
                f"{MOST_SHARDS:,}: raise it"
            )
        return datasets

    @property
    def first(self) -> GeneratedDataset | None:
        """The generated dataset that retrieved images are matched to; None where the arms mix none."""
        return next(iter(self.datasets.values()), None)

    @property
    def pool(self) -> ImageSet:
        """The images to retrieve from: the generator's training data.

        Raises:
            UserError: There are none, or none of a class of which images are generated.
        """
        pool = self.context.data.retrieval
        if pool is None:
            raise UserError("an arm mixes retrieved images, but this data has none: name a folder under data.retrieved")
        if self.first is not None:
            wanted = self.class_counts(self.first.name)
            names = [
                self.context.data.labels.names[k]
                for k in np.flatnonzero((wanted > 0) & (self._count_by_class(pool) == 0))
            ]
            if names:
                raise UserError(
                    f"data.retrieved: no image shows {some_of(names)}, of which images are generated: add some, or "
                    "leave out the arms that mix retrieved images"
                )
        return pool

    @cached_property
    def search(self) -> PoolSearch:
        """The search for images of each class.

        Raises:
            UserError: There are no images to search.
        """
        data, per_class = self.context.data, self.context.recipe.data.retrieved.per_class
        pool = data.retrieval if data.unlabeled is None else data.unlabeled
        if pool is None:
            raise UserError(
                f"an arm mixes {RETRIEVED_BY_SEARCH}, but this data has no images to search: name a folder of images "
                "under data.retrieved.search"
            )
        wanted = np.full(len(data.labels), per_class)
        if per_class is None:
            assert self.first is not None  # the recipe has seen to it
            wanted = self.class_counts(self.first.name)
        return PoolSearch(self.context, pool, data.unlabeled is None, self.class_texts(), wanted)

    def reads(self, name: str) -> list[GeneratedDataset]:
        """Return the generated datasets that a source is made of."""
        if name in (RETRIEVED, RETRIEVED_BY_CLASS):
            return [] if self.first is None else [self.first]
        return [self.datasets[name]] if name in self.datasets else []

    def identity(self, name: str) -> str:
        """Return a hash of all that the images of a source depend on."""
        rule = self.context.recipe.filter_of(name)
        if name in self.datasets:
            unfiltered = self.datasets[name].identity
            return unfiltered if rule is None else self.filter_folder(name, rule).name
        if name in (RETRIEVED, RETRIEVED_BY_CLASS):
            matched, per_class = None if self.first is None else self.first.identity, self._per_class
            more: list[Any] = [] if per_class is None else [per_class]
            given = [self.first.images] if self.first is not None and self.first.user_provided else []
            if any(getattr(images, "as_stored", False) for images in (self.pool, *given)):
                more.append("in fair order")
            return digest([self.pool.fingerprint, matched, name if matched else RETRIEVED, *more])
        if name == RETRIEVED_BY_SEARCH:
            return self.search.folder.name
        return self._real_or_extra(name).fingerprint

    def class_counts(self, name: str) -> np.ndarray:
        """Count the images of a source, int [K], if no filter leaves any image out and retrieval finds all."""
        if name == RETRIEVED_BY_SEARCH:
            return self.search.wanted
        if name in (RETRIEVED, RETRIEVED_BY_CLASS):
            wanted = self._count_by_class(self.pool) if self.first is None else self.class_counts(self.first.name)
            return wanted if self._per_class is None else np.minimum(wanted, self._per_class)
        if name not in self.datasets:
            return self._count_by_class(self._real_or_extra(name))
        dataset = self.datasets[name]
        if dataset.user_provided:
            return self._count_by_class(dataset.images)
        return np.full(len(dataset.plan.labels), dataset.plan.per_class)

    def known_counts(self, name: str) -> np.ndarray:
        """Count the images of a source that is made, int [K], and of any other as `class_counts` does."""
        return self._count_by_class(self.images(name)) if self.is_made(name) else self.class_counts(name)

    def _count_by_class(self, images: ImageSet) -> np.ndarray:
        return np.bincount(images.labels, minlength=len(self.context.data.labels))

    def is_made(self, name: str) -> bool:
        """Return whether the images of a source are made, and its filter is."""
        if name in self._images:
            return True
        if name == RETRIEVED_BY_SEARCH:
            return self.search.is_done
        rule = self.context.recipe.filter_of(name) if name in self.datasets else None
        made = not any(dataset.missing_shards() for dataset in self.reads(name))
        return made and (rule is None or Artifact(self.filter_folder(name, rule)).is_finished)

    def images(self, name: str) -> ImageSet:
        """Return the images of a source, which is made already."""
        if name not in self._images:
            self._images[name] = self._open(name)
            if name == RETRIEVED and self.first is not None:
                self.context.log(self.report_retrieval())
        return self._images[name]

    def _open(self, name: str) -> ImageSet:
        if name in self.datasets:
            images, rule = self.datasets[name].images, self.context.recipe.filter_of(name)
            return images if rule is None else kept(images, read_filter(self.filter_folder(name, rule)))
        if name in (RETRIEVED, RETRIEVED_BY_CLASS):
            matched = self._match_targets
            return matched if self.first is None else retrieve(self.pool, matched, match_styles=name == RETRIEVED)
        return self.search.images if name == RETRIEVED_BY_SEARCH else self._real_or_extra(name)

    @property
    def _per_class(self) -> int | None:
        return self.context.recipe.data.retrieved.per_class

    @property
    def _match_targets(self) -> ImageSet:
        """The images that retrieved ones are matched to; those to retrieve from where no generated ones are mixed."""
        images = self.pool if self.first is None else self.first.images
        if self._per_class is None:
            return images
        return Subset(images, prefix(images, self._per_class))

    def report_retrieval(self) -> str:
        """Say how many images were retrieved by class and style, and how well that matched the styles."""
        retrieved, wanted = self.images(RETRIEVED), self._match_targets
        said = f"Retrieval found {len(retrieved):,} images for {len(wanted):,} generated ones"
        said += " (some classes ran short)" if len(retrieved) < len(wanted) else ""
        styled = any(wanted.styles)
        if styled:
            said += f" and filled {100 * filled_quotas(retrieved, wanted):.0f} % of the quotas of class and style"
        if RETRIEVED_BY_CLASS in self.context.recipe.sources():
            other = self.images(RETRIEVED_BY_CLASS)
            said += f"; {len(set(retrieved.keys) & set(other.keys)):,} of them are found by class alone, too"
            if styled:
                said += f", which fills {100 * filled_quotas(other, wanted):.0f} %"
        return f"{said}."

    def class_texts(self) -> list[list[str]]:
        """Return the recipe's prompts of each class: what a CLIP knows it by."""
        labels = self.context.data.labels
        templates = class_templates(self.context.recipe.generate.prompts, labels)
        return [[t.fill(c.prompt) for t in of_class] for of_class, c in zip(templates, labels.classes, strict=True)]

    def _real_or_extra(self, name: str) -> ImageSet:
        data = self.context.data
        return data.train if name == REAL else data.extra[name]

    def judge(self, rule: FilterConfig) -> Path:
        """Return the folder of the CLIP or of the classifier that a filter judges by."""
        run = self.judge_run(rule)
        return find_clip(rule.clip or "") if run is None else self.checkpoint(run)

    def judge_run(self, rule: FilterConfig) -> TrainingRun | None:
        """Return the run whose classifier a filter judges by; None for others."""
        recipe = self.context.recipe
        return run_of(recipe, recipe.arm(rule.arm), recipe.seeds[0]) if rule.by == "classifier" else None

    def review(self, name: str, rule: FilterConfig) -> Review | None:
        """Return the review that a filter of the dataset `name` applies; None for a filter that judges by a model.

        Raises:
            UserError: There is no such file, or it is no review, or one of another dataset.
        """
        if rule.file is None:
            return None
        if rule.file not in self._reviews:
            self._reviews[rule.file] = read_review(rule.file)
        review, wanted = self._reviews[rule.file], self.dataset(name).folder
        if review.dataset != wanted.name:  # known before anything is generated
            raise UserError(
                f"datasets.{name}.filter.file: {rule.file} is a review of {review.dataset}, and not of {wanted}: "
                "review this with genrobust view"
            )
        return review

    def filter_inputs(self, name: str, rule: FilterConfig) -> dict[str, Any]:
        """Return all that the list of what is left out of a dataset depends on."""
        if (review := self.review(name, rule)) is not None:
            known = digest(review.rejected)
        else:
            judge = self.judge(rule)
            known = hash_clip(judge) if rule.by == "clip" else judge.name
        rule_keys = rule.model_dump(mode="json", exclude={"file"})  # which is known by content
        return {"dataset": self.dataset(name).identity, "rule": rule_keys, "judge": known}

    def filter_folder(self, name: str, rule: FilterConfig) -> Path:
        """Return where that list lies, or will lie."""
        folder = artifact_folder(self.context.out / "filters", rule.by, self.filter_inputs(name, rule))
        return Artifact(folder).fetch().folder

    def mixture_identity(self, run: TrainingRun) -> str:
        """Return a hash of all that the batches of a training depend on beside its settings and seed."""
        images = [
            [self.identity(p.source), p.weight, p.per_class, p.fraction, *self._drawing(run, p)] for p in run.parts
        ]
        if run.train.crop != "random-resized":
            return digest(images)
        return digest([images, RESIZING, *([PACKING] if self.context.recipe.data.packed else [])])

    def _drawing(self, run: TrainingRun, part: MixturePart) -> list[dict[str, Any]]:
        """The keys that say how images of a part are drawn and learned from, a teacher by its folder; none for none."""
        drawing, teacher = part.drawing, self.teacher_of(run, part)
        if teacher is not None:
            drawing["labels"]["arm"] = self.checkpoint(teacher).name
        return [drawing] if drawing else []

    def checkpoint(self, run: TrainingRun) -> Path:
        """Return the folder where the classifier of a run lies, or will lie."""
        word = " ".join([*dict.fromkeys(part.source for part in run.parts), f"s{run.seed}"])
        word += "" if run.alpha == 1 else f" wise-ft {run.alpha:g}"
        return artifact_folder(self.context.out / "checkpoints", word, self.checkpoint_inputs(run))

    def checkpoint_inputs(self, run: TrainingRun) -> dict[str, Any]:
        """Return all that the classifier of a run depends on."""
        if run.alpha != 1:
            return {"tuned": self.checkpoint(run.tuned).name, "wise_ft": run.alpha}
        context, initial, start = self.context, self.initial(run), {}
        # The name does not depend on how often the training saves its state.
        train = run.train.model_copy(update={"save_every": TrainConfig.model_fields["save_every"].default})
        if initial is not None:  # by its weights, wherever they lie
            train, start = initial.settings(train), {"initial": initial.identity}
        return {
            "mixture": self.mixture_identity(run),
            "val": context.data.val.fingerprint,
            "train": train.model_dump(mode="json", exclude={"init"} if start else None),
            "seed": run.seed,
            "threads": context.recipe.threads,
            "device": context.device,
            **start,
            **({"plugins": plugins} if (plugins := plugins_of(type(train), type(train.augmentation))) else {}),
        }

    def initial(self, run: TrainingRun) -> Initial | None:
        """Return the network that a run starts from; None where its weights are random.

        Raises:
            UserError: There is no such network, it cannot be trained, or has not the last layer that is asked for.
            GenrobustError: It cannot be fetched from the hub.
        """
        train = run.train
        if not train.is_pretrained:
            return None
        key = digest([train.init, train.head, train.architecture, train.model_kwargs])
        if key not in self._initial:
            self._initial[key] = self._open_initial(run)
        return self._initial[key]

    def _open_initial(self, run: TrainingRun) -> Initial:
        if (origin := self.origin(run)) is None:
            return open_initial(run.train, self.context.data.labels.label_names, self.class_texts)
        sources, first = origin
        return initial_of_run(run.train, *sources._trained(first))

    def _trained(self, run: TrainingRun) -> tuple[Path, tuple[str, ...], Blueprint]:
        """The folder of a run's classifier, which may not be trained yet, its classes and its blueprint."""
        settings, interpolation = self.settings(run), self.interpolation(run)
        blueprint = Blueprint(settings.architecture, settings.network_kwargs, settings.image_size, interpolation)
        return self.checkpoint(run), self.context.data.labels.label_names, blueprint

    def teacher_of(self, run: TrainingRun, part: MixturePart) -> TrainingRun | None:
        """Return the run whose classifier labels the images of a `part` of `run`; None where they keep their labels."""
        recipe = self.context.recipe
        return None if part.labels is None else run_of(recipe, recipe.arm(part.labels.arm), run.seed)

    def teacher(self, run: TrainingRun, part: MixturePart) -> OpenClassifier | None:
        """Open the classifier of `teacher_of`, which may not be trained yet."""
        teacher = self.teacher_of(run, part)
        return None if teacher is None else open_run(teacher.name, *self._trained(teacher))

    def needed(self, run: TrainingRun) -> list[tuple[Sources, TrainingRun]]:
        """Return the runs whose classifiers a run starts from or is taught by, each with the sources of its recipe."""
        teachers = [(self, teacher) for part in run.parts if (teacher := self.teacher_of(run, part)) is not None]
        return teachers if (origin := self.origin(run)) is None else [origin, *teachers]

    def require_styles(self, run: TrainingRun) -> None:
        """Raise UserError if a part of a run is to be balanced by style, and its images, once made, have none."""
        for source in (part.source for part in run.parts if "style" in part.balance):
            if self.is_made(source) and not any(self.images(source).styles):
                raise UserError(
                    f"arm {run.of!r}: mixture: {source}: balance: its images have no styles: leave style out, or give "
                    "them some (data.styles, or prompts that name styles)"
                )

    @property
    def named_as(self) -> str:
        """The name of the recipe in the `train.init` that leads to it; "" for the study's own."""
        return self._named_by[-1] if self._named_by else ""

    def origin(self, run: TrainingRun) -> tuple[Sources, TrainingRun] | None:
        """Return the run whose classifier `run` starts from, with the sources of its recipe.

        None where it starts from something else.

        Raises:
            UserError: A recipe is named without an arm, or with an unknown one.
        """
        spec, recipe = run.train.init, self.context.recipe
        if (origin_arm := run.train.origin_arm) is not None:
            return self, run_of(recipe, recipe.arm(origin_arm), recipe.seeds[0])
        name, arm = recipe_and_name(spec)
        if not name or spec == PRETRAINED:  # which is the name of a recipe as well
            return None
        if name in self._named_by:
            raise UserError(f"train.init: {' < '.join([*self._named_by, name])}: these recipes start from each other")
        context = self.context
        if name not in self._others:
            self._others[name] = context.executor.placed(load_recipe(name, [f"device={recipe.device}"]))
        other = self._others[name]
        if arm not in other.arm_names:
            known = ", ".join(map(repr, other.arm_names))
            raise UserError(f"train.init: {spec} names no arm of {name}: write {name}:ARM, one of {known}")
        other_context = Context(other, context.out, context.executor, context.log)
        return Sources(other_context, (*self._named_by, name), self._others, self._reviews), run_of(
            other, other.arm(arm), other.seeds[0]
        )

    def interpolation(self, run: TrainingRun) -> str:
        """Return how a run resizes images."""
        initial = self.initial(run)
        return BICUBIC if initial is None else initial.blueprint.interpolation

    def settings(self, run: TrainingRun) -> TrainConfig:
        """Return the settings of a run, with the architecture of the network that it starts from."""
        initial = self.initial(run)
        return run.train if initial is None else initial.settings(run.train)
