"""Images that their names put together with test images, such as two drawings of one photograph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from genrobust.core import ImageSet, StudyData
from genrobust.data import APART, leave_out, names_apart, names_by
from genrobust.recipe import ImageRule

NUMBERED = ImageRule(pattern=r"(?:^|/)([^/]*\d)[^/\d]+\d+[^/\d]*$")  # a name up to its last number
_DATE = re.compile(r"(?:19|20)\d{6}")  # a day has many photographs of many things
_NAMES = 3  # of a class: where there are no more, the name may be that of the class or the set, as in n01440764_10026


def apart_from_tests(
    data: StudyData, rule: ImageRule | None, chosen_by: Collection[str] = ()
) -> tuple[StudyData, list[str]]:
    """Return `data` without what is learned from and has a test image's name by `rule`, with a notice on each such set.

    Sets other than the training images may lack the column of the rule, and stay as they are, with a notice.

    Args:
        chosen_by: The sets that something is chosen by, or that are scored; among them, the shifted validation set
            counts as a test set.

    Raises:
        UserError: The training images lack it, no image of a set is left, or no training image of a class.
    """
    if rule is None:
        return data, []
    own = data.shifted_val
    chosen = {*names_apart(own, rule)} if own is not None and own.name in chosen_by else set()
    tested = {name for images in data.tests.values() for name in names_apart(images, rule)}
    left: dict[str, ImageSet] = {}
    notices = []
    sets = {images.name: images for images in (*data.learned.values(), *data.tests.values())}
    if rule.column and (lacking := [name for name, images in sets.items() if not any(names_apart(images, rule))]):
        notices.append(
            f"{', '.join(lacking)}: without the column {rule.column!r} of {APART}, no image is known to belong "
            "together with others"
        )
    for key, images in data.learned.items():
        names = names_by(APART, images.name, images, rule)[1] if key == "train" else names_apart(images, rule)
        avoided = (tested if key == "shifted_val" else tested | chosen) - {None}
        if together := [place for place, name in enumerate(names) if name in avoided]:
            left[key] = leave_out(together, data, key, images, f"belongs together with a test image: change {APART}")
            number = f"{len(together):,} of the {len(images):,} images of {images.name}"
            notices.append(f"{number} belong together with test images ({APART}), left out")
    return data.replaced(left), notices


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
