"""Reviews: which images of a generated dataset a person accepts or rejects, in a file next to the dataset.

Each decision writes the whole file and reads it first. So a person may edit it, and several viewers of one dataset lose
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import UserError, parse_json, reading
from genrobust.data.shards import ShardDataset
from genrobust.store import lock, page_json, replacing


@dataclass(frozen=True, slots=True)
class Review:
    """The decisions in `file` on the images of the dataset called `dataset`.

    Attributes:
        fingerprint: Fingerprint of the images.
        accepted: Keys of accepted images.
        rejected: Reason for each rejected image, by key.
    """

    file: Path
    dataset: str
    fingerprint: str
    accepted: tuple[str, ...]
    rejected: dict[str, str]

    def check(self, images: ShardDataset) -> None:
        """Raise UserError if this is a review of other images, or names an unknown image."""
        if self.fingerprint != images.fingerprint:
            raise UserError(f"{self.file} is a review of other images than {images.folder}: run genrobust view")
        unknown = {*self.accepted, *self.rejected}.difference(images.keys)
        if unknown:
            raise UserError(f"{self.file} names {min(unknown)!a}, which is no image of {images.folder}: remove it")


def read_review(file: Path) -> Review:
    errors, then = (ValueError, KeyError, TypeError, AttributeError), ": genrobust view writes a review"
    with reading(f"the review {file}", *errors, then=then):
        content = parse_json(file.read_bytes())
        rejected = {str(key): str(reason) for key, reason in content["rejected"].items()}
        accepted = tuple(map(str, content["accepted"]))
        return Review(file, str(content["dataset"]), str(content["fingerprint"]), accepted, rejected)


def review_of(images: ShardDataset) -> Review:
    """Read the review of a dataset, ``NAME.review.json`` next to its folder. Without a file, it has no decisions."""
    folder = images.folder.resolve()
    file = folder.with_name(f"{folder.name}.review.json")
    if not file.exists():
        return Review(file, folder.name, images.fingerprint, (), {})
    review = read_review(file)
    review.check(images)
    return review


def decide(images: ShardDataset, keys: Sequence[str], reason: str | None) -> Review:
    """Write a decision on the images `keys`, and return the review.

    Args:
        reason: Reason to reject the images. "" accepts them, and None takes the decision back.
    """
    # The lock would create the folder again.
    if not images.folder.is_dir():
        raise UserError(f"{images.folder} is no longer there: move it back, or run genrobust view on its new place")
    with lock(images.folder, wait=True):
        review = review_of(images)
        accepted = set(review.accepted).difference(keys)
        rejected = {key: before for key, before in review.rejected.items() if key not in keys}
        if reason:
            rejected |= dict.fromkeys(keys, reason)
        elif reason is not None:
            accepted.update(keys)
        content = {
            "dataset": review.dataset,
            "fingerprint": review.fingerprint,
            "accepted": sorted(accepted),
            "rejected": dict(sorted(rejected.items())),
        }
        with replacing(review.file) as file:
            file.write(page_json(content).encode())
    return review_of(images)
