"""The plan of a study: all its steps in their order, each created once, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, cached_property, partial
from itertools import combinations

from genrobust.classifiers import require_clip
from genrobust.core import REAL, RETRIEVED, RETRIEVED_ALL, RETRIEVED_BY_CLASS, RETRIEVED_BY_SEARCH, UserError
from genrobust.data import Review, read_review
from genrobust.recipe import GENERATED, ArmConfig, FilterConfig, MixturePart
from genrobust.study.batch import in_order
from genrobust.study.context import Context
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.describe import Describe
from genrobust.study.steps.filter import Filter
from genrobust.study.steps.generate import Generate
from genrobust.study.steps.images import GivenImages, ImageStep, MixedImages
from genrobust.study.steps.interpolate import Interpolate
from genrobust.study.steps.pack import Pack
from genrobust.study.steps.predict import Predict, PredictZeroShot
from genrobust.study.steps.pseudo_labels import PseudoLabels
from genrobust.study.steps.retrieve import Retrieve
from genrobust.study.steps.search import Search
from genrobust.study.steps.step import Step
from genrobust.study.steps.train import Train
from genrobust.study.training_runs import TrainingRun, arm_runs, curve_runs, grid, run_of

# The real images that a dataset may be made from, in words.
REAL_IMAGES = {REAL: "the real images", RETRIEVED_ALL: "the images of retrieved-all"}


class StudyPlan:
    """The steps of a study, by what they make."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.recipe = context.recipe
        # Each step is created once, since it keeps what it has computed.
        # By name, the step that generates a dataset, without its filter, whether an arm mixes it or not.
        self.dataset = cache(partial(Generate, context))
        # By name, the step that makes a source of images.
        self.images = cache(self._create_images)
        self._pseudo_labels = cache(self._create_pseudo_labels)
        self.classifier = cache(self._create_classifier)

    @cached_property
    def runs(self) -> list[TrainingRun]:
        """The classifiers that are trained: of all arms, then of the baseline line."""
        images = len(self.context.data.train)
        return [*arm_runs(self.recipe), *grid(self.recipe.train, self.recipe.robustness.grid, images)]

    @cached_property
    def points(self) -> list[TrainingRun]:
        """More classifiers between a pretrained network and a fine-tuned one, which arms ask for as a curve."""
        return curve_runs(self.recipe)

    def steps(self) -> list[Step]:
        """Return all steps of the study, each after those that it needs.

        Arms that need no images of the study's own making are trained first, for a first result. Then a CLIP searches,
        and all datasets are generated, before the other trainings.
        """
        runs = [*self.runs, *self.points]
        zero_shot = self.zero_shot()
        description = self.description()
        ends: list[Step] = [] if zero_shot is None else [zero_shot]
        ends += in_order(self._trained_first())
        ends += [self.images(name) for name in sorted({RETRIEVED_BY_SEARCH} & self.recipe.sources())]
        for name in self.recipe.generated_sets():
            if self._is_generated(name):
                ends += in_order([self.dataset(name)])
        ends += in_order(self.train(runs))
        ends += self.predict(runs)
        if description is not None:
            ends += in_order([description])
        return list(dict.fromkeys(ends))

    def _is_generated(self, name: str) -> bool:
        """Whether the study generates the images, so they are not the user's own."""
        is_own = name == GENERATED and self.recipe.data.generated is not None
        return name in self.recipe.dataset_names and not is_own

    def unfiltered(self, name: str) -> ImageStep:
        """Return the step of generated images without their filter: the study's, or the user's own."""
        if self._is_generated(name):
            return self.dataset(name)
        return GivenImages(self.context, name)

    def _create_images(self, name: str) -> ImageStep:
        if self._is_generated(name):
            dataset = self.dataset(name)
            rule = self.recipe.filter_of(name)
            if rule is None:
                return dataset
            return self._create_filter(dataset, rule)
        if name in (RETRIEVED, RETRIEVED_BY_CLASS):
            first = self._first_generated or GivenImages(self.context, RETRIEVED_ALL)
            return Retrieve(self.context, first, match_styles=name == RETRIEVED)
        if name == RETRIEVED_BY_SEARCH:
            return Search(self.context, self._first_generated)
        return GivenImages(self.context, name)

    def _images_of(self, part: MixturePart, seed: int) -> ImageStep:
        """Return the step that makes the images of a part of a mixture, for trainings with `seed`."""
        if part.labels is None:
            return self.images(part.source)
        return self._pseudo_labels(part.source, part.labels, seed)

    def _create_pseudo_labels(self, source: str, arm: str, seed: int) -> PseudoLabels:
        teacher = Predict(self.context, self.arm(arm, seed), of_arm=False, only=source)
        return PseudoLabels(self.context, source, teacher)

    @cached_property
    def _first_generated(self) -> ImageStep | None:
        """The generated images that retrieved ones are matched to; None if arms mix none."""
        names = self.recipe.generated_sets()
        return self.unfiltered(names[0]) if names else None

    def _create_filter(self, dataset: Generate, rule: FilterConfig) -> Filter:
        if rule.by == "classifier":
            return Filter(self.context, dataset, rule, self.arm(rule.arm))
        if rule.file is None:
            clip = require_clip(rule.clip or "", f"datasets.{dataset.name}.filter.clip")
            return Filter(self.context, dataset, rule, clip)
        return Filter(self.context, dataset, rule, self._read_review(dataset, rule))

    def _read_review(self, dataset: Generate, rule: FilterConfig) -> Review:
        """Read the review of a filter once, since a person may continue it meanwhile."""
        assert rule.file is not None
        review = read_review(rule.file)
        # The name is known before anything is generated.
        if review.dataset != dataset.folder.name:
            raise UserError(
                f"datasets.{dataset.name}.filter.file: {rule.file} is a review of {review.dataset}, and not of "
                f"{dataset.folder}: review this with genrobust view"
            )
        return review

    def _create_classifier(self, run: TrainingRun) -> ClassifierStep:
        origin_arm = run.train.origin_arm
        origin = None if origin_arm is None else self.arm(origin_arm)
        parts = tuple(MixedImages(part, self._images_of(part, run.seed)) for part in run.parts)
        if run.alpha == 1:
            return Train(self.context, run, parts, origin)
        tuned = self.classifier(run.tuned)
        assert isinstance(tuned, Train)
        return Interpolate(self.context, run, parts, origin, tuned)

    def arm(self, name: str, seed: int | None = None) -> ClassifierStep:
        """Return the step that makes the classifier of an arm, by default of the first seed."""
        seed = self.recipe.seeds[0] if seed is None else seed
        return self.classifier(run_of(self.recipe, self.recipe.arm(name), seed))

    def train(self, runs: Iterable[TrainingRun]) -> list[ClassifierStep]:
        """Return the steps that make the classifiers of `runs`: first all trainings, then mixed weights."""
        made = [self.classifier(run) for run in runs]
        trained = [step for step in made if isinstance(step, Train)]
        mixed = [step for step in made if isinstance(step, Interpolate)]
        return [*dict.fromkeys([*trained, *(step.tuned for step in mixed)]), *mixed]

    def _trained_first(self) -> list[Train]:
        """Return the trainings of arms that need no images that the study makes."""
        trainings = [step for step in self.train(arm_runs(self.recipe)) if isinstance(step, Train)]
        return [
            step for step in trainings if all(isinstance(need, GivenImages | Pack | Train) for need in in_order([step]))
        ]

    def predict(self, runs: Iterable[TrainingRun]) -> list[Predict]:
        return [self.prediction(run) for run in runs]

    def prediction(self, run: TrainingRun) -> Predict:
        step = self.classifier(run)
        return Predict(self.context, step, step.folder in self._folders_of_arms)

    @cached_property
    def _folders_of_arms(self) -> set[object]:
        """The checkpoints of arms, which baseline models and points of curves may share."""
        return {self.classifier(run).folder for run in arm_runs(self.recipe)}

    def steps_for(self, runs: Iterable[TrainingRun]) -> list[Step]:
        """Return the steps up to the predictions of `runs`, each after those that it needs."""
        return in_order(self.predict(runs))

    def zero_shot(self) -> PredictZeroShot | None:
        """Return the step that predicts with the recipe's zero-shot CLIP, if it names one."""
        config = self.recipe.zero_shot
        if config is None:
            return None
        return PredictZeroShot(self.context, config)

    def pictured(self) -> list[str]:
        """Return the sources that a report shows side by side."""
        others = self.recipe.sources() & {RETRIEVED, RETRIEVED_BY_SEARCH, *self.context.data.extra}
        return [REAL, *self.recipe.generated_sets(), *sorted(others)]

    def description(self) -> Describe | None:
        """Return the step that shows the pictured sources to a CLIP, if the recipe asks for image quality."""
        if self.recipe.quality is None:
            return None
        return Describe(self.context, {name: self.images(name) for name in self.pictured()}, self.recipe.quality)

    def require_trainable(self, runs: Iterable[TrainingRun]) -> None:
        """Report early if a classifier cannot be trained; makes each network once that trainings start from.

        Networks of other arms are not trained yet.
        """
        trainings = [step for step in self.train(runs) if isinstance(step, Train)]
        left = [step for step in trainings if not step.is_made()]
        for step in left:
            step.require_size()
            step.require_styles()
        first: dict[object, Train] = {}
        for step in left:
            if step.origin is None:
                first[step.network_key] = step
        notes: dict[str, None] = {}
        for step in first.values():
            notes |= dict.fromkeys(step.make_initial())
        for note in notes:
            self.context.log(note)

    def doubts(self) -> Iterator[str]:
        """Yield a warning for each arm that is not what its recipe seems to say.

        It has fewer images, saw more real ones, or is a mixture with a random last layer.
        """
        for arm in self.recipe.arms:
            yield from self._doubts_of_start(arm)
            names = [part.source for part in arm.mixture if self._is_generated(part.source)]
            datasets = [self.dataset(name) for name in names]
            for one, other in combinations(datasets, 2):
                if one.first_images == other.first_images:
                    count = min(one.generate.per_class, other.generate.per_class)
                    yield (
                        f"{arm.name} mixes {one.name} and {other.name}, whose first {count:,} images of each class are "
                        "the same: give one of them a data_seed"
                    )
            for part in arm.mixture:
                if part.source in REAL_IMAGES and (part.fraction or part.per_class):
                    for dataset in datasets:
                        if part.source in dataset.made_from | self._judged_by(dataset.name):
                            words = REAL_IMAGES[part.source]
                            yield f"{arm.name} mixes a part of {words}, and {dataset.name} uses all of them"

    def _doubts_of_start(self, arm: ArmConfig) -> Iterator[str]:
        """Yield a warning if an arm is to be a mixture of its classifier and one with a random last layer."""
        train = self.recipe.train_of(arm)
        if not train.wise_ft or train.probes:
            return
        initial = self.arm(arm.name).open_initial()
        if initial is not None and initial.gets_new_head(self.context.data.labels):
            yield (
                f"{arm.name}: train.wise_ft mixes its weights with those before training, whose last layer is random "
                f"because {initial.opened.name} does not know all classes: use method: lp-ft, which trains the last "
                "layer first, or leave out wise_ft"
            )

    def _judged_by(self, name: str) -> set[str]:
        """The sources that a classifier learned completely which filters the dataset `name`."""
        rule = self.recipe.filter_of(name)
        if rule is None or rule.by != "classifier":
            return set()
        parts = self.recipe.arm(rule.arm).mixture
        return {part.source for part in parts if not (part.fraction or part.per_class)}

    def describe_found(self) -> list[str]:
        """Describe what retrieval, the search and predicted labels found, once they are made."""
        sources = [self.images(name) for name in sorted(self.recipe.sources() - self.context.data.unlabeled.keys())]
        for arm in self.recipe.arms:
            sources += [self._images_of(part, self.recipe.seeds[0]) for part in arm.mixture if part.labels is not None]
        found = [source.describe_found(source.open()) for source in sources]
        return [words for words in found if words]
