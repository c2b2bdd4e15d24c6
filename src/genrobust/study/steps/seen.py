"""The images that a classifier trained on, and the images of other sets that are copies of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from genrobust.classifiers import TrainingImages, find_training_images, is_checkpoint, shorten
from genrobust.core import ImageSet, Subset, prefix
from genrobust.leaks import ContentsOf, Copies, NearCopiesOf, copies_of_tests
from genrobust.study.context import Context
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.generate import Generate
from genrobust.study.steps.images import GivenImages


@dataclass(frozen=True, slots=True)
class Seen:
    """The images that a classifier trained on, directly or through its generator or the network that it started from.

    Attributes:
        real: Image sets by source, such as "real of STUDY".
        generated: Generated image sets by source.
        recorded: The records of checkpoints whose images are not open here.
        unknown: Pretrained networks without a record.
    """

    real: Mapping[str, ImageSet] = field(default_factory=dict)
    generated: Mapping[str, ImageSet] = field(default_factory=dict)
    recorded: tuple[TrainingImages, ...] = ()
    unknown: tuple[str, ...] = ()

    def record(self, study: str, contents_of: ContentsOf) -> TrainingImages:
        """Return the record for the checkpoint of a classifier that `study` trains."""
        hashes: dict[str, np.ndarray] = {}
        unknown = [*self.unknown]
        for record in self.recorded:
            hashes |= record.hashes
            unknown += record.unknown
        for source, images in {**self.real, **self.generated}.items():
            contents = contents_of(images)
            if contents is None:
                unknown.append(source)
            else:
                hashes[source] = np.sort(shorten(contents))
        return TrainingImages(study, hashes, tuple(dict.fromkeys(unknown)))

    def copies_of(
        self, tests: Mapping[str, ImageSet], contents_of: ContentsOf, near_copies_of: NearCopiesOf | None
    ) -> Iterator[Copies]:
        """Yield the copies of images in `tests` that it trained on, by source.

        Near copies are searched among real images, if `near_copies_of` is not None.
        """
        near_copies_of = near_copies_of or _no_near_copies
        found: list[Copies | None] = []
        for source, images in self.real.items():
            found.append(copies_of_tests(source, images, tests, contents_of, near_copies_of))
        for source, images in self.generated.items():
            found.append(copies_of_tests(source, images, tests, contents_of, _no_near_copies))
        for record in self.recorded:
            for source, hashes in record.hashes.items():
                found.append(_recorded_copies(source, hashes, tests, contents_of))
        for copies in found:
            if copies is not None:
                yield replace(copies, left_out=False)

    def describe_unknown(self) -> str:
        """Name the training images that are unknown. "" if all are known."""
        unknown = [*self.unknown, *(name for record in self.recorded for name in record.unknown)]
        return ", ".join(dict.fromkeys(unknown))


def seen_by_spec(spec: str) -> Seen:
    """Return what the classifier `spec` trained on, by the record next to its weights."""
    record = find_training_images(spec)
    if record is None:
        return Seen(unknown=(spec,))
    return Seen(recorded=(record,))


def seen_by_run(step: ClassifierStep) -> Seen:
    """Return what a classifier of a study trains on. The images are made already."""
    context = step.context
    study = context.recipe.name
    real: dict[str, ImageSet] = {}
    generated: dict[str, ImageSet] = {}
    for mixed in step.parts:
        part = mixed.part
        images = mixed.open()
        if part.per_class is not None or part.fraction is not None:
            images = Subset(images, prefix(images, part.per_class, part.fraction))
        datasets = mixed.source.datasets
        of_kind = generated if datasets else real
        of_kind[f"{part.source} of {study}"] = images
        for name in datasets:
            for learned in sorted(Generate(context, name).made_from):
                real[f"{learned} of {study}"] = GivenImages(context, learned).open()
    val = context.data.val
    if len(val):
        real[f"{val.name} of {study}"] = val
    before = seen_before(step) if step.origin is None else seen_by_run(step.origin)
    return Seen({**before.real, **real}, {**before.generated, **generated}, before.recorded, before.unknown)


def seen_before(step: ClassifierStep) -> Seen:
    """Return what the network trained on outside of the study that a classifier, or its first arm, starts from."""
    if step.origin is not None:
        return seen_before(step.origin)
    train = step.run.train
    if train.is_pretrained:
        return seen_by_spec(train.init)
    return Seen()


def describe_starts_seen(context: Context) -> Iterator[str]:
    """Yield warnings of the networks that arms start from: of test images that they trained on, or may have.

    Only checkpoints of studies record their images. Of other networks the report says what is known.
    """
    recipe = context.recipe
    starts = [recipe.train_of(arm) for arm in recipe.arms]
    specs = [train.init for train in starts if train.is_pretrained and train.origin_arm is None]
    for spec in dict.fromkeys(specs):
        seen = seen_by_spec(spec)
        for copies in seen.copies_of(context.own_tests, context.census.contents, None):
            yield f"train.init: {spec}: {copies}"
        if not seen.recorded and is_checkpoint(Path(spec)):
            yield f"train.init: {spec}: its training images are not recorded, and may be among the test images"


def _recorded_copies(
    source: str, hashes: np.ndarray, tests: Mapping[str, ImageSet], contents_of: ContentsOf
) -> Copies | None:
    """Return the images of `source` with these `hashes` that are copies of images in `tests`. None for none."""
    originals: dict[int, str] = {}
    for test, images in tests.items():
        contents = contents_of(images)
        if contents is not None:
            for place in np.flatnonzero(np.isin(hashes, shorten(contents))).tolist():
                originals.setdefault(place, test)
    if originals:
        return Copies(source, originals, len(hashes), left_out=False, learned=True)
    return None


def _no_near_copies(images: ImageSet, tests: Mapping[str, ImageSet]) -> None:
    """Find none."""
