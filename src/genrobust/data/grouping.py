"""The groups of images that a recipe tells apart: by a pattern on their names, or by a column of their table."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from genrobust.core import ImageSet, StudyData, UserError, is_missing
from genrobust.recipe import GroupRule

log = logging.getLogger(__name__)

KEY = "data.groups"
CONTAINERS = (bytes, list, dict)


class GroupedImages:
    """The images of another ImageSet, whose fingerprint it keeps, with the group of each: an ImageSet."""

    def __init__(self, images: ImageSet, groups: Sequence[str] | None) -> None:
        self._images = images
        self.name, self.labels, self.keys, self.styles = images.name, images.labels, images.keys, images.styles
        self.accepted = getattr(images, "accepted", None)
        self.protocol: str = getattr(images, "protocol", "")
        self.fingerprint = images.fingerprint  # groups change intervals, and no prediction
        self.groups = None if groups is None else tuple(groups)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def encoded(self) -> Callable[[int], Path | bytes] | None:
        """As `ListedImages.encoded`; None where the images have no files."""
        return getattr(self._images, "encoded", None)

    def image(self, index: int) -> Image.Image:
        return self._images.image(index)


def with_groups(data: StudyData, rules: Mapping[str, GroupRule] | GroupRule | None) -> StudyData:
    """Return `data` with the groups of its test images: by the rule of each test set, or one for all of them.

    A set without a rule stays as it is. Where a rule gives each image a group of its own, the set has no groups.

    Raises:
        UserError: A rule for no test set, an unknown column, an image without a group, or a set of one group. The
            message names the key, the set and the first image.
    """
    if rules is None:
        return data
    if isinstance(rules, GroupRule):
        return replace(data, tests={name: _grouped(KEY, name, images, rules) for name, images in data.tests.items()})
    for name in rules:
        if name not in data.tests:
            raise UserError(f"{KEY}.{name}: no test set {name!r}; there are {', '.join(data.tests)}")
    grouped = {name: _grouped(f"{KEY}.{name}", name, data.tests[name], rule) for name, rule in rules.items()}
    return replace(data, tests=data.tests | grouped)


def _grouped(key: str, name: str, images: ImageSet, rule: GroupRule) -> GroupedImages:
    if rule.pattern is not None:
        key, then = f"{key}.pattern", f"change {rule.pattern!r} so that it finds one in every name"
        groups = _groups_by_pattern(images, rule.pattern)
    else:
        key, then = f"{key}.column", f"fill in {rule.column!r}"
        groups = _groups_by_column(key, name, images, str(rule.column))
    if missing := sorted(image for image, group in zip(images.keys, groups, strict=True) if not group):
        problem = f"{len(missing):,} of the {len(images):,} images of {name!r} have no group, the first {missing[0]!r}"
        raise UserError(f"{key}: {problem}: {then}, or give this set no rule")
    if (count := len(set(groups))) == len(images):
        log.warning("%s: each image of %s is a group of its own: its intervals are over images", key, name)
        return GroupedImages(images, None)
    if count == 1:
        raise UserError(
            f"{key}: all {len(images):,} images of {name!r} are of one group, {groups[0]!r}, and an interval over "
            "groups needs two: change the rule, or give a rule to each of the other sets by its name"
        )
    return GroupedImages(images, [str(group) if rule.shared else f"{name}: {group}" for group in groups])


def _groups_by_pattern(images: ImageSet, pattern: str) -> list[str | None]:
    regex = re.compile(pattern)
    which = "group" if "group" in regex.groupindex else 1
    return [match[which] if (match := regex.search(image)) else None for image in images.keys]


def _groups_by_column(key: str, name: str, images: ImageSet, column: str) -> list[str | None]:
    read = getattr(images, "column", None)
    if read is None:
        raise UserError(f"{key}: the images of {name!r} come from a reader without columns: use a pattern")
    try:
        values = read(column)
    except UserError as error:
        raise UserError(f"{key}: test set {name!r}: {error}") from None
    odd = [(image, value) for image, value in zip(images.keys, values, strict=True) if isinstance(value, CONTAINERS)]
    if odd:
        image, value = min(odd, key=lambda pair: pair[0])
        problem = f"{image!r} of {name!r} has a {type(value).__name__} under {column!r}"
        raise UserError(f"{key}: {problem}, and a group is a text or a number: name another column")
    return [_group_name(value) for value in values]


def _group_name(value: Any) -> str | None:
    """A value as the name of a group; None for a missing one. 3.0 is 3, as which pandas saves it beside NaN."""
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return None if is_missing(text) else text
