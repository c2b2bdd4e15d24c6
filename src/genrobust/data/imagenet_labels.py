"""Match the class words of stored images with ImageNet's classes: by WordNet id, by number or by name."""

from __future__ import annotations

from genrobust.core import UserError
from genrobust.data.imagenet_classes import by_number, descriptions, wnids
from genrobust.data.stored_images import StoredImages

# Share of the 1,000 label names that must be ImageNet's. A few are written in several ways, such as crane and crane2.
LABEL_NAMES_ALIKE = 0.9


def wordnet_ids(stored: StoredImages, official: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return the WordNet id of each group of `stored` that is a WordNet id, a number or one of ImageNet's names.

    Args:
        official: Sorted WordNet ids of the classes of the set. Numbers index these if none is too large. Otherwise they
            index all 1,000.
    """
    has_own_names = len(stored.label_names) == len(wnids()) and not set(stored.label_names) & set(wnids())
    if has_own_names:
        _require_order(stored)
        return dict(zip(stored.label_names, wnids(), strict=True))
    numbers = [int(group) for group in stored.groups if group.isdecimal()]
    ids = wnids()
    if official and numbers and max(numbers) < len(official):
        ids = official
    id_of_name: dict[str, str] = {}
    for wnid, name in zip(wnids(), descriptions(), strict=True):
        # Two classes are called "crane": that name means neither.
        id_of_name[name] = "" if name in id_of_name else wnid
    known = set(wnids())
    found: dict[str, str] = {}
    for group in stored.groups:
        if group in known:
            wnid = group
        else:
            wnid = by_number(group, ids) or id_of_name.get(group, "")
        if wnid:
            found[group] = wnid
    return found


def _require_order(stored: StoredImages) -> None:
    """Raise UserError unless the 1,000 label names of `stored` are ImageNet's, in its order."""
    alike = 0
    for name, description in zip(stored.label_names, descriptions(), strict=True):
        alike += name.split(",")[0].casefold() == description.split(",")[0].casefold()
    if alike < LABEL_NAMES_ALIKE * len(wnids()):
        problem = f"only {alike} of its 1,000 label names are ImageNet's at that label"
        raise UserError(f"{stored.path}: {problem}: name the labels by WordNet id and save the set again")
