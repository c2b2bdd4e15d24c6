"""Images that their names put together with test images, such as two drawings of one photograph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from genrobust.core import ImageSet, StudyData
from genrobust.data import APART, Names, leave_out, names_if_known
from genrobust.recipe import ImageRule

NUMBERED = ImageRule(pattern=r"(?:^|/)([^/]*\d)[^/\d]+\d+[^/\d]*$")  # a name up to its last number
_DATE = re.compile(r"(?:19|20)\d{6}")  # a day has many photographs of many things
_NAMES = 3  # of a class: where there are no more, the name may be that of the class or the set, as in n01440764_10026


def apart_from_tests(data: StudyData, rule: ImageRule | None) -> tuple[StudyData, list[str]]:
    """Remove learned images that belong together with a test image by `rule`. Return a notice for each such set.

    The other sets do not share names with the shifted validation set either. A set that lacks the column of the rule
    does not change.

    Raises:
        UserError: No image of a set is left, or no training image of a class.
    """
    if rule is None:
        return data, []
    chosen = set() if data.shifted_val is None else {*names_apart(data.shifted_val, rule)}
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
    """Return the name of each image by the `rule` of APART."""
    return names_if_known(APART, images, rule)


def describe_same_names(images: ImageSet, tests: Mapping[str, ImageSet]) -> str:
    """Describe the images whose names are those of test images but for the last number; "" where that says nothing.

    It says something where a class has several such names, which hold another number of three digits or more, and most
    of them come more than once in one of the sets: of none of ``photo_0001``, ``n01440764_10026``, ``20260131_0001``.
    """
    mine = names_apart(images, NUMBERED)
    theirs = {test: names_apart(of, NUMBERED) for test, of in tests.items()}
    here, there = Counter(mine), Counter(name for names in theirs.values() for name in names)
    shared = {name for name in here.keys() & there.keys() if name and re.search(r"\d{3}", _DATE.sub("", name))}
    places = [place for place, name in enumerate(mine) if name in shared]
    repeated = max(sum(count[name] > 1 for name in shared) for count in (here, there))
    if len(shared) <= _NAMES * len({*images.labels[places].tolist()}) or 2 * repeated < len(shared):
        return ""
    name = mine[places[0]]
    test, example = next((test, tests[test].keys[names.index(name)]) for test, names in theirs.items() if name in names)
    return (
        f"{len(places):,} of the {len(images):,} images of {images.name} have names of test images except for the last "
        f"number, such as {images.keys[places[0]]} and {example} of {test}: if these show one thing, leave them out by "
        f"{APART}: {{pattern: '{NUMBERED.pattern}'}}"
    )
