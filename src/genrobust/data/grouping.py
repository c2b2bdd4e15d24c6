"""Finds a name for each image by a rule of the recipe: its style, its group, or the thing that it shows.

A rule is a pattern for the path of an image, or a column of its table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from genrobust.core import (
    ImageSet,
    NoColumn,
    StudyData,
    Subset,
    UserError,
    digest,
    is_missing,
    plain_number,
    some_of,
    with_attributes,
)
from genrobust.recipe import GroupRule, ImageRule

KEY, STYLES, APART = "data.groups", "data.styles", "data.groups_apart"
Names = Sequence[str | None]  # of the images of a set; None for an image without a name

LISTED_SETS = 4  # in a message


@dataclass(frozen=True, slots=True)
class FoundNames:
    """The names that a rule finds in image sets.

    Attributes:
        key: The key of the rule in the recipe, such as ``data.groups.pattern``.
        sets: The image sets by name.
        names: The names of the images of each set.
    """

    key: str
    sets: Mapping[str, ImageSet]
    names: Mapping[str, Names]

    def unnamed(self) -> list[tuple[str, str]]:
        """Return the set and the key of each image without a name."""
        return [
            (set_name, image)
            for set_name, names in self.names.items()
            for image, name in zip(self.sets[set_name].keys, names, strict=True)
            if not name
        ]

    def notice(self, consequence: str) -> str | None:
        """Say how many images have a name, and the `consequence` for the others. None if all have one."""
        unnamed = self.unnamed()
        if not unnamed:
            return None
        missing = Counter(set_name for set_name, _ in unnamed)
        parts = []
        for set_name in missing:
            total = len(self.sets[set_name])
            parts.append(f"{total - missing[set_name]:,} of the {total:,} images of {set_name}")
        set_name, image = unnamed[0]
        return (
            f"{self.key} finds a name for {some_of(parts, LISTED_SETS)}; "
            f"the others, such as {image!r} of {set_name}, {consequence}"
        )


def find_names(
    key: str, sets: Mapping[str, ImageSet], rule: ImageRule, column_required_in: Sequence[str] | None = None
) -> FoundNames:
    """Find the name of each image of `sets` by `rule`, which is the section `key` of the recipe.

    Args:
        column_required_in: The sets that must have the column of the rule. The images of another set without this
            column have no name. By default, all sets must have it.
    """
    names: dict[str, Names] = {}
    for set_name, images in sets.items():
        if column_required_in is None or set_name in column_required_in:
            names[set_name] = names_by(key, set_name, images, rule)
        else:
            names[set_name] = names_if_known(key, images, rule)
    found = FoundNames(_full_key(key, rule), sets, names)
    if not any(name for of_set in names.values() for name in of_set):
        raise UserError(f"{found.key}: {_nothing_found(sets, rule)}")
    return found


def _nothing_found(sets: Mapping[str, ImageSet], rule: ImageRule) -> str:
    """Explain that `rule` finds no name in `sets`, with an example of what it is applied to."""
    listed = some_of(sets, LISTED_SETS)
    if rule.pattern is None:
        return f"the column {rule.column!r} is empty for every image of {listed}: name another column"
    total = sum(map(len, sets.values()))
    example = next((images.keys[0] for images in sets.values() if len(images)), "")
    return (
        f"{rule.pattern!r} finds a name for none of the {total:,} images of {listed}\n"
        f"It is searched for in the path of an image below the folder of its set, such as {example!r}: change it"
    )


def names_by(key: str, set_name: str, images: ImageSet, rule: ImageRule) -> Names:
    """Return the name of each image by `rule`, which is the section `key` of the recipe."""
    if rule.pattern is not None:
        return _names_by_pattern(images, rule.pattern)
    try:
        values = images.column(str(rule.column))
    except UserError as error:
        raise type(error)(f"{_full_key(key, rule)}: {set_name!r}: {error}") from None
    texts = [plain_number(str(value)) for value in values]
    return [None if is_missing(text) else text for text in texts]


def names_if_known(key: str, images: ImageSet, rule: ImageRule) -> Names:
    """Return the name of each image by `rule`. No image has a name if the set lacks the column."""
    try:
        return names_by(key, images.name, images, rule)
    except NoColumn:
        return [None] * len(images)


def _full_key(key: str, rule: ImageRule) -> str:
    if rule.pattern is None:
        return f"{key}.column"
    return f"{key}.pattern"


def _names_by_pattern(images: ImageSet, pattern: str) -> Names:
    regex = re.compile(pattern)
    which = "group" if "group" in regex.groupindex else 1
    names: list[str | None] = []
    for image in images.keys:
        match = regex.search(image)
        # A group that did not take part in the match is None, and an empty text is no name.
        names.append(match[which] or None if match else None)
    return names


def with_styles(data: StudyData, rule: ImageRule | None) -> StudyData:
    """Return `data` with the styles of the training images, and of the labeled images to retrieve, by `rule`."""
    if rule is None:
        return data
    train, notice = _styled(data.train, rule)
    data = replace(data, train=train).noted(notice)
    if data.retrieval is None:
        return data
    retrieval, notice = _styled(data.retrieval, rule)
    return replace(data, retrieval=retrieval).noted(notice)


def _styled(images: ImageSet, rule: ImageRule) -> tuple[Subset, str | None]:
    """Return `images` with their styles, and a notice if some have none."""
    found = find_names(STYLES, {images.name: images}, rule)
    styles = [style or "" for style in found.names[images.name]]
    styled = with_attributes(images, styles=styles, fingerprint=digest([images.fingerprint, styles]))
    return styled, found.notice("have no style")


def with_groups(data: StudyData, rules: Mapping[str, GroupRule] | GroupRule | None) -> StudyData:
    """Return `data` with the groups of its test images: by the rule of each test set, or by one rule for all of them.

    The shifted validation set counts as a test set. A set without a rule does not change. A set has no groups if its
    rule gives each image a group of its own that no other test set has.
    """
    if rules is None:
        return data
    scored = _scored(data)
    grouped = _find_groups(scored, rules)
    for name, (_, groups) in grouped.items():
        # Groups change intervals and no prediction, so the fingerprint stays.
        scored[name] = with_attributes(scored[name], groups=groups)
    shared = _in_several(scored)
    for name, (key, groups) in grouped.items():
        if len({*groups}) == len(groups) and shared.isdisjoint(groups):
            scored[name] = with_attributes(scored[name], groups=None)
            data = data.noted(f"{key}: each image of {name} is a group of its own, so its intervals are over images")
    return _with_scored(data, scored)


def _find_groups(
    scored: Mapping[str, ImageSet], rules: Mapping[str, GroupRule] | GroupRule
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the key of the rule and the group of each image, by test set."""
    if isinstance(rules, GroupRule):
        return {name: _group_names(KEY, name, images, rules) for name, images in scored.items()}
    for name in rules:
        if name not in scored:
            raise UserError(f"{KEY}.{name}: no test set {name!r}; there are {', '.join(scored)}")
    return {name: _group_names(f"{KEY}.{name}", name, scored[name], rule) for name, rule in rules.items()}


def _group_names(key: str, name: str, images: ImageSet, rule: GroupRule) -> tuple[str, tuple[str, ...]]:
    """Return the key of `rule` and the group of each image."""
    found = find_names(key, {name: images}, rule)
    missing = sorted(image for _, image in found.unnamed())
    if missing:
        if rule.pattern is None:
            remedy = f"fill in {rule.column!r}"
        else:
            remedy = f"change {rule.pattern!r} so that it finds one in every name"
        problem = f"{len(missing):,} of the {len(images):,} images of {name!r} have no group, the first {missing[0]!r}"
        raise UserError(f"{found.key}: {problem}: {remedy}, or give this set no rule")
    groups = [str(group) for group in found.names[name]]
    if len(set(groups)) == 1 < len(images):
        problem = f"all {len(images):,} images of {name!r} are of one group, {groups[0]!r}, and an interval needs two"
        raise UserError(f"{found.key}: {problem}: change the rule, or give this set no rule")
    if not rule.shared:
        groups = [f"{name}: {group}" for group in groups]
    return found.key, tuple(groups)


def _scored(data: StudyData) -> dict[str, ImageSet]:
    """Return the sets that may be scored, by name: the test sets and the shifted validation set."""
    scored = dict(data.tests)
    if data.shifted_val is not None:
        scored[data.shifted_val.name] = data.shifted_val
    return scored


def _with_scored(data: StudyData, scored: Mapping[str, ImageSet]) -> StudyData:
    """Return `data` with the sets `scored` instead of the sets of `_scored`."""
    shifted_val = data.shifted_val
    if shifted_val is not None:
        shifted_val = scored[shifted_val.name]
    return replace(data, tests={name: scored[name] for name in data.tests}, shifted_val=shifted_val)


def _in_several(tests: Mapping[str, ImageSet]) -> set[str]:
    """Return the groups that several test sets share. A mean over these sets is not over independent sets."""
    times = Counter(group for images in tests.values() for group in {*(images.groups or ())})
    return {group for group, sets in times.items() if sets > 1}


def with_groups_apart(data: StudyData, rule: ImageRule | None) -> StudyData:
    """Return `data` with groups for test images that belong together by the `rule` of APART.

    An image without a name is a group of its own. So are the images of the shifted validation set, which may be scored.
    A set does not change if it has groups, or if no image belongs together with another one of its own or of another
    shifted set.
    """
    if rule is None:
        return data
    scored = _scored(data)
    times = Counter(key for images in scored.values() for key in images.keys)
    grouped = dict(scored)
    for set_name, images in scored.items():
        if images.groups is not None:
            continue
        names = names_if_known(APART, images, rule)
        # The same file name in two sets does not mean the same image.
        own = [key if times[key] == 1 else f"{set_name}: {key}" for key in images.keys]
        groups = tuple(name or key for name, key in zip(names, own, strict=True))
        grouped[set_name] = with_attributes(images, groups=groups)
    shared = _in_several({set_name: images for set_name, images in grouped.items() if set_name != data.clean})
    for set_name, images in scored.items():
        own_groups = grouped[set_name].groups or ()
        is_shared = set_name != data.clean and not shared.isdisjoint(own_groups)
        if len({*own_groups}) == len(own_groups) and not is_shared:
            grouped[set_name] = images
    return _with_scored(data, grouped)


def check_groups_apart(data: StudyData, rule: ImageRule | None) -> StudyData:
    """Return `data` with a notice if the `rule` of APART finds a name for some images only."""
    if rule is None:
        return data
    learned = {images.name: images for images in data.learned.values()}
    found = find_names(APART, {**learned, **data.tests}, rule, column_required_in=[data.train.name])
    return data.noted(found.notice("are not known to belong together with any image"))
