"""The images that the arms of a study mix, by the name of their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from genrobust.core import (
    REAL,
    RETRIEVED,
    RETRIEVED_ALL,
    RETRIEVED_BY_CLASS,
    RETRIEVED_BY_SEARCH,
    RETRIEVED_WITHHELD,
    ImageSet,
    Subset,
    UserError,
)
from genrobust.data import Review, list_cells, read_review, withheld_cells
from genrobust.recipe import GENERATED, FilterConfig, MixturePart
from genrobust.study.context import Context, Rebuilt
from genrobust.study.sources.dataset import GeneratedDataset
from genrobust.study.sources.filtered import FilteredDataset
from genrobust.study.sources.retrieved import RetrievedImages
from genrobust.study.sources.search import PoolSearch
from genrobust.study.sources.source import GivenImages, ImageSource

REAL_IMAGES = {REAL: "the real images", RETRIEVED_ALL: "the images of retrieved-all"}  # that a dataset is made from


class Images(Rebuilt):
    """The sources of a study: real, generated, filtered and retrieved images, and those under data.extra.

    Args:
        judge: Returns the folder of the CLIP or of the classifier that a filter judges by.
        reviews: The reviews that filters name, by file, which are read once: a person may go on meanwhile.
    """

    def __init__(
        self, context: Context, judge: Callable[[FilterConfig, str], Path], reviews: dict[Path, Review] | None = None
    ) -> None:
        self.context, self.judge = context, judge
        self.reviews: dict[Path, Review] = {} if reviews is None else reviews
        self._datasets: dict[str, GeneratedDataset] = {}
        self._sources: dict[str, ImageSource] = {}
        self._opened: dict[str, ImageSet] = {}

    def dataset(self, name: str) -> GeneratedDataset:
        """Return the generated dataset called `name`, without its filter, mixed by an arm or not.

        Raises:
            UserError: The recipe has no such dataset.
        """
        if name not in self._datasets:
            self._datasets[name] = GeneratedDataset(self.context, name)
        return self._datasets[name]

    @cached_property
    def datasets(self) -> dict[str, GeneratedDataset]:
        """The datasets that the arms mix and the study generates, by name."""
        return {name: self.dataset(name) for name in self.context.recipe.generated_sets() if self._is_drawn(name)}

    def _is_drawn(self, name: str) -> bool:
        """Whether the study generates the images, which are not the user's own."""
        recipe = self.context.recipe
        return name in recipe.dataset_names and not (name == GENERATED and recipe.data.generated is not None)

    def unfiltered(self, name: str) -> ImageSource:
        """Return generated images that arms mix, without their filter: drawn by the study, or the user's own."""
        return self.dataset(name) if self._is_drawn(name) else GivenImages(self.context, self._given(name))

    @property
    def first(self) -> ImageSource | None:
        """The generated images that retrieved ones are matched to; None where the arms mix none."""
        names = self.context.recipe.generated_sets()
        return self.unfiltered(names[0]) if names else None

    def of(self, name: str) -> ImageSource:
        """Return the source called `name`: what its images depend on, and how many there are, made or not.

        Raises:
            UserError: There are no images to retrieve from, or its filter applies a review of another dataset.
        """
        if name in self._sources:
            return self._sources[name]
        context = self.context
        source: ImageSource
        if self._is_drawn(name):
            dataset, rule = self.dataset(name), context.recipe.filter_of(name)
            source = dataset if rule is None else self._filtered(dataset, rule)
        elif name in (RETRIEVED, RETRIEVED_BY_CLASS):
            source = RetrievedImages(context, self.first, match_styles=name == RETRIEVED)
        elif name == RETRIEVED_BY_SEARCH:
            source = PoolSearch(context, self.first)
        else:
            source = GivenImages(context, self._given(name))
        self._sources[name] = source
        return source

    def _given(self, name: str) -> ImageSet:
        data = self.context.data
        others = {
            REAL: data.train,
            GENERATED: data.generated,
            RETRIEVED_ALL: data.retrieval,
            RETRIEVED_WITHHELD: data.withheld,
        }
        if (images := {**data.extra, **others}[name]) is None:
            raise UserError(f"an arm mixes {name}, but this data has no such images: see data.retrieved")
        return images

    def _filtered(self, dataset: GeneratedDataset, rule: FilterConfig) -> FilteredDataset:
        if rule.file is None:
            return FilteredDataset(dataset, rule, self.judge(rule, dataset.name))
        if rule.file not in self.reviews:
            self.reviews[rule.file] = read_review(rule.file)
        review = self.reviews[rule.file]
        if review.dataset != dataset.folder.name:  # known before anything is generated
            raise UserError(
                f"datasets.{dataset.name}.filter.file: {rule.file} is a review of {review.dataset}, and not of "
                f"{dataset.folder}: review this with genrobust view"
            )
        return FilteredDataset(dataset, rule, review)

    def is_made(self, name: str) -> bool:
        """Return whether the images of a source are made, and its filter is."""
        return name in self._opened or self.of(name).is_made

    def open(self, name: str) -> ImageSet:
        """Return the images of a source, which is made already."""
        if name not in self._opened:
            source = self.of(name)
            self._opened[name] = source.images
            if found := source.report():
                self.context.log(found)
        return self._opened[name]

    def open_part(self, part: MixturePart) -> ImageSet:
        """Return the images of a source, which is made already, or those of the withheld cells."""
        images = self.open(part.source)
        if part.cells == "all":
            return images
        cells = withheld_cells(self.context.data)
        return Subset(images, [i for i, cell in enumerate(list_cells(images)) if cell in cells])

    def known_counts(self, part: MixturePart) -> np.ndarray:
        """Count the images that a source has for a part, int [K]: where it is not made yet, its `class_counts`."""
        made = self.is_made(part.source)
        return self.context.count_by_class(self.open_part(part)) if made else self.of(part.source).class_counts

    def doubts(self) -> Iterator[str]:
        """Yield a warning of each arm whose images are fewer, or saw more real ones, than its mixture says."""
        for arm in self.context.recipe.arms:
            drawn = [self.dataset(part.source) for part in arm.mixture if self._is_drawn(part.source)]
            for one, other in combinations(drawn, 2):
                if one.first_images == other.first_images:
                    count = min(one.generate.per_class, other.generate.per_class)
                    yield (
                        f"{arm.name} mixes {one.name} and {other.name}, whose first {count:,} images of each class are "
                        "the same: give one of them a data_seed"
                    )
            for part in arm.mixture:
                if part.source in REAL_IMAGES and (part.fraction or part.per_class):
                    for dataset in drawn:
                        if part.source in dataset.made_from | self._judged_by(dataset.name):
                            words = REAL_IMAGES[part.source]
                            yield f"{arm.name} mixes a part of {words}, and {dataset.name} uses all of them"

    def _judged_by(self, name: str) -> set[str]:
        """The sources from which a classifier that filters the dataset `name` learned, all of each."""
        recipe, rule = self.context.recipe, self.context.recipe.filter_of(name)
        parts = recipe.arm(rule.arm).mixture if rule is not None and rule.by == "classifier" else ()
        return {part.source for part in parts if not (part.fraction or part.per_class)}

    def reports(self) -> Iterator[str]:
        """Yield what retrieval and the search found, once they are made."""
        return filter(None, (self.of(name).report() for name in sorted(self.context.recipe.sources())))
