"""Leave out images of a study that are copies of images in other sets.

- No set that is learned from holds a copy of an image that is tested or chosen by: exact and near copies.
- A set that something is chosen by holds no copy of another test image.
- A set without labels holds no exact copy of an image that has a label and is learned from, such as a training image.
- A test set holds no exact copy of training and validation images, of test sets before it, and of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from genrobust.core import ImageSet, LabelSpace, StudyData
from genrobust.data import leave_out
from genrobust.leaks.notices import Copies, LabelConflict, LabeledFile

# Part of the names of kept searches: raise it if thumbnails change, or which images count as near copies. It is in this
# module because this one loads no torch.
NEAR_VERSION = 3
# Returns the hashes of the files of a set, as `hash_contents` does.
ContentsOf = Callable[[ImageSet], np.ndarray | None]
# Returns for each image of a set the place of its near copy among the images of the test sets, one set after the other,
# -1 for none. None if near copies are not searched.
NearCopiesOf = Callable[[ImageSet, Mapping[str, ImageSet]], np.ndarray | None]
Notices = list[Copies | LabelConflict]


@dataclass(frozen=True, slots=True)
class _Original:
    """Image `place` of `images`, which a study calls `set_name`."""

    set_name: str
    images: ImageSet
    place: int

    @property
    def key(self) -> str:
        return self.images.keys[self.place]

    def accepts(self, label: int) -> bool:
        """Return whether `label` is right for the image."""
        accepted = self.images.accepted
        return label == self.images.labels[self.place] or (accepted is not None and label in accepted[self.place])


def without_leaks(
    data: StudyData, contents_of: ContentsOf, near_copies_of: NearCopiesOf, chosen_by: Collection[str] = ()
) -> tuple[StudyData, Notices]:
    """Leave the copies of test images out of all sets that are learned from, and describe them.

    All sets but the test sets are learned from: by a classifier, a generator, a filter or a choice. Anything may be
    chosen on the shifted validation set, so the other sets hold no copies of its images either.

    Args:
        chosen_by: Test sets that something is chosen by, or the shifted validation set.
    """
    notices: Notices = []

    def clean(key: str, images: ImageSet, others: Mapping[str, ImageSet]) -> ImageSet:
        originals, near = _copied_tests(images, others, contents_of, near_copies_of)
        if not originals:
            return images
        # The labels of unlabeled images mean nothing, and a near copy may show another thing.
        if data.has_labels(key):
            exact = {place: original for place, original in originals.items() if place not in near}
            notices.extend(_label_conflicts(images.name, images, exact, data.labels))
        found = _describe(images.name, images, originals, left_out=True)
        notices.append(replace(found, near=len(near), learned=True))
        where = " and ".join(Counter(found.originals.values()))
        then = ", or set data.near_copies: keep" if near else ""
        return leave_out(originals, data, key, images, f"is a copy of a test image ({where}): add others{then}")

    tests = dict(data.tests)
    not_chosen = {name: images for name, images in tests.items() if name not in chosen_by}
    for name in data.tests:
        if name in chosen_by:
            tests[name] = clean(name, tests[name], not_chosen)
    changed: dict[str, ImageSet] = {}
    protected = dict(tests)
    if data.shifted_val is not None:
        shifted_val = clean("shifted_val", data.shifted_val, not_chosen)
        changed["shifted_val"] = protected[shifted_val.name] = shifted_val
    for key, images in data.learned.items():
        if key != "shifted_val":
            changed[key] = clean(key, images, protected)
    return replace(data.replaced(changed), tests=tests), notices


def without_copies(data: StudyData, contents_of: ContentsOf, beside: Collection[str] = ()) -> tuple[StudyData, Notices]:
    """Leave the exact copies out of the test sets. Describe all among training, validation and test sets.

    A test image is left out if it is in training or validation, in an earlier test set, or earlier in its own: the
    accuracy on it says nothing new, and an interval that counts it twice is too narrow.

    Args:
        beside: Test sets that count in no mean. They may hold the images of other test sets, with other labels.
    """
    tests = dict(data.tests)
    first: dict[bytes, _Original] = {}
    notices: Notices = []
    for name, images in {"train": data.train, "val": data.val, **data.tests}.items():
        hashes = contents_of(images)
        if hashes is None:
            continue
        known = first
        if name in beside:
            known = {content: original for content, original in first.items() if original.set_name not in tests}
        originals: dict[int, _Original] = {}
        own: dict[bytes, _Original] = {}
        for place, content in enumerate(map(bytes, hashes)):
            original = known.get(content, own.get(content))
            if original is None:
                own[content] = _Original(name, images, place)
            else:
                originals[place] = original
        if name not in beside:
            first |= own
        if not originals:
            continue
        notices.extend(_label_conflicts(name, images, originals, data.labels))
        notices.append(_describe(name, images, originals, left_out=name in tests))
        if name in tests:
            others = " and ".join({original.set_name: None for original in originals.values()})
            then = f"leave {name} out, or name it in evaluate.beside if it has other labels"
            tests[name] = leave_out(originals, data, name, images, f"is a copy of one of {others}: {then}")
    return replace(data, tests=tests), notices


def copies_of_tests(
    name: str, images: ImageSet, tests: Mapping[str, ImageSet], contents_of: ContentsOf, near_copies_of: NearCopiesOf
) -> Copies | None:
    """Return the images of the set `name` that are copies or near copies of images in `tests`. None for none."""
    originals, near = _copied_tests(images, tests, contents_of, near_copies_of)
    if not originals:
        return None
    return replace(_describe(name, images, originals, left_out=True), near=len(near), learned=True)


def without_withheld(data: StudyData, contents_of: ContentsOf) -> StudyData:
    """Leave the exact copies of withheld images out of the images to search."""
    pool, withheld = data.search_pool, data.withheld
    if pool is None or withheld is None:
        return data
    originals = _exact_copies(pool, {withheld.name: withheld}, contents_of)
    if not originals:
        return data
    why = "is a copy of a withheld image: remove a pattern from data.retrieved.without"
    return replace(data, search_pool=leave_out(originals, data, "search_pool", pool, why))


def without_labeled_images(data: StudyData, contents_of: ContentsOf) -> tuple[StudyData, Notices]:
    """Leave the exact copies of labeled images that are learned from out of the images without labels. Describe them.

    A classifier knows these images, so estimates of its accuracy would be too high.

    Raises:
        UserError: No image of a set is left, or a file cannot be read.
    """
    notices: Notices = []
    unlabeled = dict(data.unlabeled)
    labeled = {key: images for key, images in data.learned.items() if data.has_labels(key)}
    for name, images in data.unlabeled.items():
        originals = _exact_copies(images, labeled, contents_of)
        if originals:
            notices.append(_describe(name, images, originals, left_out=True))
            first = next(iter(originals.values()))
            why = (
                f"is a copy of a labeled image, the first of {first.set_name}: give data.unlabeled.{name} other images"
            )
            unlabeled[name] = leave_out(originals, data, f"unlabeled.{name}", images, why)
    return replace(data, unlabeled=unlabeled), notices


def _copied_tests(
    images: ImageSet, tests: Mapping[str, ImageSet], contents_of: ContentsOf, near_copies_of: NearCopiesOf
) -> tuple[dict[int, _Original], set[int]]:
    """Return the originals of the copies in `images`, by the places of the copies, and the places of near copies."""
    originals = _exact_copies(images, tests, contents_of)
    places = near_copies_of(images, tests)
    near: set[int] = set()
    if places is not None:
        near = {*np.flatnonzero(places >= 0).tolist()} - originals.keys()
        originals |= {place: _joined_image(tests, int(places[place])) for place in near}
    return dict(sorted(originals.items())), near


def _joined_image(tests: Mapping[str, ImageSet], place: int) -> _Original:
    """Return the image at `place` of the test sets, one after the other."""
    for name, images in tests.items():
        if place < len(images):
            return _Original(name, images, place)
        place -= len(images)
    raise IndexError(place)


def _exact_copies(images: ImageSet, others: Mapping[str, ImageSet], contents_of: ContentsOf) -> dict[int, _Original]:
    """Return the first original of each exact copy of an image in `others`, by the place of the copy."""
    hashes = contents_of(images)
    if hashes is None:
        return {}
    first: dict[bytes, _Original] = {}
    for name, other in others.items():
        their_hashes = contents_of(other)
        if their_hashes is not None:
            for place, content in enumerate(map(bytes, their_hashes)):
                first.setdefault(content, _Original(name, other, place))
    contents = enumerate(map(bytes, hashes))
    return {place: first[content] for place, content in contents if content in first}


def _describe(name: str, images: ImageSet, originals: Mapping[int, _Original], left_out: bool) -> Copies:
    copy, original = next(iter(originals.items()))
    sets = {place: original.set_name for place, original in originals.items()}
    return Copies(name, sets, len(images), left_out, example=(images.keys[copy], original.key))


def _label_conflicts(
    name: str, images: ImageSet, originals: Mapping[int, _Original], labels: LabelSpace
) -> Iterator[LabelConflict]:
    """Yield the conflict of the set `name`, if copies in it have other labels than their originals."""
    conflicts = [place for place, original in originals.items() if not original.accepts(int(images.labels[place]))]
    if conflicts:
        place = conflicts[0]
        original = originals[place]
        yield LabelConflict(
            count=len(conflicts),
            copy=LabeledFile(name, images.keys[place], labels.label_names[images.labels[place]]),
            original=LabeledFile(
                original.set_name, original.key, labels.label_names[original.images.labels[original.place]]
            ),
        )
