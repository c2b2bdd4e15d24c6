"""The comparisons of a study, and the settings of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from genrobust.core import MEAN_OF_SHIFTS, Line, UserError, group_reference

# With fewer replicates, none is expected outside a 95 % interval.
MIN_BOOTSTRAP = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparisons of a study, and the settings of its scores.

    Attributes:
        clean: The clean test set.
        shifts: The shifted test sets.
        reference: The arm that an arm is compared with if `references` does not name another.
        references: The arm that each arm is compared with; itself for none.
        groups: Arms that are averaged over, by the name of the group.
        pairs: Further differences: an arm, and the arm to subtract.
        transform: The scale of baseline lines: "logit", "probit" or "linear".
        min_images: A shift with fewer images is left out of the means.
        pictures: By test set, the picture that each image was made from; for sets of copies, such as corrupted ones.
        beside: Further shifts that are left out of the means, with the reason.
        bootstrap: Replicates of each interval.
        published: Lines of shifts that no baseline model was scored on.
        image_groups: By test set, the group of each image, such as its designer; for test sets with known groups.
        subsets: Subsets of test sets on which top-1 accuracy is measured too, by a name and by test set: bool, the
            images in the subset. The score is the mean over the shifts in the mean that have images in the subset. If
            none has, it is the accuracy on the clean set's images in it.

    Raises:
        ValueError: `bootstrap` is below 20; a test set is named twice; `image_groups`, `pictures`, `published` or
            `subsets` name an unknown one; or a test set or a subset has a name that scores have already.
    """

    clean: str
    shifts: Sequence[str]
    reference: str
    references: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pairs: Sequence[tuple[str, str]] = ()
    transform: str = "logit"
    min_images: int = 150
    pictures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    bootstrap: int = 1000
    published: Mapping[str, Line] = field(default_factory=dict)
    image_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subsets: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bootstrap < MIN_BOOTSTRAP:
            raise ValueError(
                f"bootstrap: {self.bootstrap} replicates give no 95 % interval: take {MIN_BOOTSTRAP} or more"
            )
        tests = self.tests
        if len(set(tests)) < len(tests):
            raise ValueError(f"shifts: name each test set once, and {self.clean!r} as clean alone")
        for name in sorted({*self.subsets, MEAN_OF_SHIFTS}):
            if name in tests or (name == MEAN_OF_SHIFTS and name in self.subsets):
                raise ValueError(f"{name!r} is the name of other scores: give this set another name")
        self._require_known_tests("image_groups", self.image_groups)
        self._require_known_tests("pictures", self.pictures)
        self._require_known_tests("published", self.published)
        for masks in self.subsets.values():
            self._require_known_tests("subsets", masks)

    def _require_known_tests(self, argument: str, by_test: Mapping[str, object]) -> None:
        for name in by_test:
            if name not in self.tests:
                raise ValueError(f"{argument}: no test set {name!r}; there are {', '.join(self.tests)}")

    @property
    def tests(self) -> tuple[str, ...]:
        """The test sets, the clean one first."""
        return (self.clean, *self.shifts)

    def find_references(self, arms: Sequence[str]) -> dict[str, str]:
        """Return the reference of each of `arms` and of each group.

        Raises:
            UserError: A name that is no arm, or a group that has the name of an arm.
        """
        references = dict.fromkeys(arms, self.reference) | dict(self.references)
        _require_arms("reference", [self.reference], arms)
        for pair in (*self.pairs, *references.items()):
            _require_arms("a difference", pair, arms)
        for group, members in self.groups.items():
            _require_arms(f"group {group!r}", members, arms)
        for group in self.groups:
            if group in arms:
                raise UserError(f"group {group!r} is called like an arm: give it another name")
        of_groups = {group: group_reference(group, self.groups, references) for group in self.groups}
        return references | of_groups


def _require_arms(role: str, names: Sequence[str], arms: Sequence[str]) -> None:
    for name in names:
        if name not in arms:
            raise UserError(f"{role}: {name!r} is no arm with predictions; the arms are {', '.join(arms)}")
