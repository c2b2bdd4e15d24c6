"""The groups and styles of images: by a pattern on their names, or by a column of their table."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from genrobust.core import (
    ImageSet,
    NoColumn,
    StudyData,
    Subset,
    UserError,
    digest,
    is_missing,
    plain_number,
    with_attributes,
)
from genrobust.recipe import GroupRule, ImageRule

log = logging.getLogger(__name__)

KEY, STYLES, APART = "data.groups", "data.styles", "data.groups_apart"


def with_styles(data: StudyData, rule: ImageRule | None) -> StudyData:
    """Return `data` with the styles of its training images and of the labeled ones to retrieve, by `rule`.

    Raises:
        UserError: An unknown column, or no image of a set has a style. The message names the key and the set.
    """
    if rule is None:
        return data
    data = replace(data, train=_styled(data.train, rule))
    return data if data.retrieval is None else replace(data, retrieval=_styled(data.retrieval, rule))


def _styled(images: ImageSet, rule: ImageRule) -> Subset:
    key, styles = names_by(STYLES, images.name, images, rule)
    if not any(styles):
        raise UserError(f"{key}: no image of {images.name} has a style, such as {images.keys[0]!r}: change the rule")
    named = [style or "" for style in styles]
    return with_attributes(images, styles=named, fingerprint=digest([images.fingerprint, named]))


def with_groups(data: StudyData, rules: Mapping[str, GroupRule] | GroupRule | None) -> StudyData:
    """Return `data` with the groups of its test images: by the rule of each test set, or one for all of them.

    The shifted validation set is such a set, too. A set without a rule stays as it is. Where a rule gives each image a
    group of its own, which no other test set has, the set has no groups.

    Raises:
        UserError: A rule for no test set, an unknown column, an image without a group, or a set of one group. The
            message names the key, the set and the first image.
    """
    if rules is None:
        return data
    scored = _scored(data)
    if isinstance(rules, GroupRule):
        named = {name: _group_names(KEY, name, images, rules) for name, images in scored.items()}
    else:
        for name in rules:
            if name not in scored:
                raise UserError(f"{KEY}.{name}: no test set {name!r}; there are {', '.join(scored)}")
        named = {name: _group_names(f"{KEY}.{name}", name, scored[name], rule) for name, rule in rules.items()}
    for name, (_, groups) in named.items():  # groups change intervals, and no prediction
        scored[name] = with_attributes(scored[name], groups=groups)
    shared = _in_several(scored)
    for name, (key, groups) in named.items():
        if len({*groups}) == len(groups) and shared.isdisjoint(groups):
            log.warning("%s: each image of %s is a group of its own: its intervals are over images", key, name)
            scored[name] = with_attributes(scored[name], groups=None)
    return _with_scored(data, scored)


def _scored(data: StudyData) -> dict[str, ImageSet]:
    """The sets that may be scored, by name: the test sets, and the shifted validation set."""
    return {**data.tests, **({} if data.shifted_val is None else {data.shifted_val.name: data.shifted_val})}


def _with_scored(data: StudyData, scored: Mapping[str, ImageSet]) -> StudyData:
    """Return `data` with other sets in the place of those of `_scored`."""
    shifted_val = data.shifted_val and scored[data.shifted_val.name]
    return replace(data, tests={name: scored[name] for name in data.tests}, shifted_val=shifted_val)


def _in_several(tests: Mapping[str, ImageSet]) -> set[str]:
    """The groups of which several test sets have images: a mean over these sets is no mean of independent ones."""
    times = Counter(group for images in tests.values() for group in {*(images.groups or ())})
    return {group for group, sets in times.items() if sets > 1}


def with_groups_apart(data: StudyData, rule: ImageRule | None) -> StudyData:
    """Return `data` with the test images that belong together by the `rule` of APART as groups, each other by itself.

    So are those of the shifted validation set, which may be scored. Sets that have groups, or nothing that belongs
    together with another image of theirs or of another shifted set, stay as they are.
    """
    if rule is None:
        return data
    scored = _scored(data)
    times = Counter(key for images in scored.values() for key in images.keys)
    named = dict(scored)
    for name, images in scored.items():
        keys = (key if times[key] == 1 else f"{name}: {key}" for key in images.keys)
        groups = tuple(group or key for group, key in zip(names_apart(images, rule), keys, strict=True))
        if images.groups is None:
            named[name] = with_attributes(images, groups=groups)
    shared = _in_several({name: images for name, images in named.items() if name != data.clean})
    for name, images in scored.items():
        own = named[name].groups or ()
        if len({*own}) == len(own) and (name == data.clean or shared.isdisjoint(own)):
            named[name] = images
    return _with_scored(data, named)


def _group_names(key: str, name: str, images: ImageSet, rule: GroupRule) -> tuple[str, tuple[str, ...]]:
    """Return the key of what `rule` goes by, and the group of each image."""
    key, groups = names_by(key, name, images, rule)
    then = f"fill in {rule.column!r}"
    if rule.pattern is not None:
        then = f"change {rule.pattern!r} so that it finds one in every name"
    if missing := sorted(image for image, group in zip(images.keys, groups, strict=True) if not group):
        problem = f"{len(missing):,} of the {len(images):,} images of {name!r} have no group, the first {missing[0]!r}"
        raise UserError(f"{key}: {problem}: {then}, or give this set no rule")
    if len(set(groups)) == 1 < len(images):
        raise UserError(
            f"{key}: all {len(images):,} images of {name!r} are of one group, {groups[0]!r}, and an interval over "
            "groups needs two: change the rule, or give a rule to each of the other sets by its name"
        )
    return key, tuple(str(group) if rule.shared else f"{name}: {group}" for group in groups)


def names_apart(images: ImageSet, rule: ImageRule) -> Sequence[str | None]:
    """Return the name of each image by the `rule` of APART; none where the set has no such column."""
    try:
        return names_by(APART, images.name, images, rule)[1]
    except NoColumn:
        return [None] * len(images)


def names_by(key: str, name: str, images: ImageSet, rule: ImageRule) -> tuple[str, list[str | None]]:
    """Return the key of what `rule` goes by, and the name that it finds for each image."""
    if rule.pattern is not None:
        return f"{key}.pattern", _names_by_pattern(images, rule.pattern)
    return f"{key}.column", _names_by_column(f"{key}.column", name, images, str(rule.column))


def _names_by_pattern(images: ImageSet, pattern: str) -> list[str | None]:
    regex = re.compile(pattern)
    which = "group" if "group" in regex.groupindex else 1
    return [(match[which] or None) if (match := regex.search(image)) else None for image in images.keys]


def _names_by_column(key: str, name: str, images: ImageSet, column: str) -> list[str | None]:
    try:
        values = images.column(column)
    except UserError as error:
        raise type(error)(f"{key}: {name!r}: {error}") from None
    return [_as_name(value) for value in values]


def _as_name(value: Any) -> str | None:
    """A value as a name; None for a missing one."""
    text = plain_number(str(value))
    return None if is_missing(text) else text
