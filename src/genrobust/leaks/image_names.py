"""Images that their names put together with test images, such as two drawings of one photograph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from genrobust.core import ImageSet, StudyData
from genrobust.data import APART, Names, leave_out, names_if_known
from genrobust.recipe import ImageRule

# The part of a name before its last number.
NUMBERED = ImageRule(pattern=r"(?:^|/)([^/]*\d)[^/\d]+\d+[^/\d]*$")
# A date does not name a thing: a day has many photographs.
_DATE = re.compile(r"(?:19|20)\d{6}")
_LONG_NUMBER = re.compile(r"\d{3}")
# A class with so few names may be named by them itself, or its set may, as in n01440764_10026.
_FEW_NAMES = 3


def apart_from_tests(data: StudyData, rule: ImageRule | None) -> tuple[StudyData, list[str]]:
    """Remove learned images that belong together with a test image by `rule`. Return a notice for each such set.

    The other sets do not share names with the shifted validation set either. A set that lacks the column of the rule
    does not change.
    """
    if rule is None:
        return data, []
    if data.shifted_val is None:
        chosen = set()
    else:
        chosen = {*names_apart(data.shifted_val, rule)}
    tested = {name for images in data.tests.values() for name in names_apart(images, rule)}
    left: dict[str, ImageSet] = {}
    notices = []
    for key, images in data.learned.items():
        names = names_apart(images, rule)
        avoided = (tested if key == "shifted_val" else tested | chosen) - {None}
        together = [place for place, name in enumerate(names) if name in avoided]
        if together:
            left[key] = leave_out(together, data, key, images, f"belongs together with a test image: change {APART}")
            number = f"{len(together):,} of the {len(images):,} images of {images.name}"
            notices.append(f"{number} belong together with test images ({APART}), left out")
    return data.replaced(left), notices


def names_apart(images: ImageSet, rule: ImageRule) -> Names:
    return names_if_known(APART, images, rule)


def describe_same_names(images: ImageSet, tests: Mapping[str, ImageSet]) -> str:
    """Describe images that have the name of a test image except for the last number. "" if the names mean nothing.

    They mean something if a class has more than a few such names, with a number of three digits or more that is no
    date, and if most of the names come more than once in one of the sets. ``photo_0001``, ``n01440764_10026`` and
    ``20260131_0001`` mean nothing.
    """
    names = names_apart(images, NUMBERED)
    test_names = {test: names_apart(test_images, NUMBERED) for test, test_images in tests.items()}
    counts = Counter(names)
    test_counts: Counter[str | None] = Counter()
    for of_test in test_names.values():
        test_counts.update(of_test)
    shared = {name for name in counts.keys() & test_counts.keys() if name and _has_long_number(name)}
    places = [place for place, name in enumerate(names) if name in shared]
    classes = len({*images.labels[places].tolist()})
    repeated = max(_count_repeated(shared, counts), _count_repeated(shared, test_counts))
    if len(shared) <= _FEW_NAMES * classes or 2 * repeated < len(shared):
        return ""
    test = next(test for test, of_test in test_names.items() if names[places[0]] in of_test)
    example = tests[test].keys[list(test_names[test]).index(names[places[0]])]
    return (
        f"{len(places):,} of the {len(images):,} images of {images.name} have names of test images except for the last "
        f"number, such as {images.keys[places[0]]} and {example} of {test}: if these show one thing, leave them out by "
        f"{APART}: {{pattern: '{NUMBERED.pattern}'}}"
    )


def _has_long_number(name: str) -> bool:
    return _LONG_NUMBER.search(_DATE.sub("", name)) is not None


def _count_repeated(names: Collection[str], counts: Mapping[str | None, int]) -> int:
    return sum(counts[name] > 1 for name in names)
