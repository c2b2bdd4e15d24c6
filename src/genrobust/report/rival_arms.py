"""Rivals of generated images: arms with retrieved images, or with another augmentation alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from genrobust.core import NOT_GENERATED, REAL, ArmRecord, Score, StudyRecord, Summary
from genrobust.report.wording import TOO_FEW_GROUPS, is_sure, number, span

RETRIEVED_IMAGES = "retrieved images"
AUGMENTATION = "augmentation alone"
# Comparisons of each kind, with the rivals that are most accurate on the test sets and speak most against the answer.
MAX_COMPARED = 3
# By kind, and by the name of the rival, the difference of the answer's arm minus the rival in top-1.
Rivals = dict[str, dict[str, Score]]


def is_generated(arm: ArmRecord, record: StudyRecord) -> bool:
    """Return whether an arm trained on generated images."""
    return bool(arm.parts.keys() - set(record.not_generated))


def find_rivals(record: StudyRecord, arm: str) -> Rivals:
    """Return the rivals of an `arm` that trained on generated images, with the differences on the leading test set.

    Rivals are pretrained if the arm is. They are the most accurate ones of each kind, in the study's order.
    """
    arms = {one.name: one for one in record.arms}
    ours = arms[arm]
    if not is_generated(ours, record):
        return {}
    pretrained = record.summary.pretrained
    peers = [one for one in record.arms if (one.name in pretrained) == (arm in pretrained)]
    kinds = {
        RETRIEVED_IMAGES: _retrieved_arms(record, peers, ours),
        AUGMENTATION: _augmented_arms(record, peers, ours),
    }
    return {kind: _differences(record.summary, arm, names) for kind, names in kinds.items()}


def _retrieved_arms(record: StudyRecord, peers: Sequence[ArmRecord], ours: ArmRecord) -> list[str]:
    """Return the arms with retrieved and no generated images that trained as ours did; if there are none, all."""
    retrieved = set(NOT_GENERATED) - {REAL}
    found = [one for one in peers if one.parts.keys() & retrieved and not is_generated(one, record)]
    alike = [one for one in found if one.augmentation == ours.augmentation and _trained_alike(one, ours)]
    return [one.name for one in alike or found]


def _augmented_arms(record: StudyRecord, peers: Sequence[ArmRecord], ours: ArmRecord) -> list[str]:
    """Return the arms with the images of our reference and another augmentation, trained for as long as ours."""
    summary = record.summary
    reference = next(one for one in record.arms if one.name == summary.reference_of(ours.name))
    # The reference may have an augmentation of its own. The arm that it is compared with is no rival.
    excluded = summary.reference_of(reference.name)
    names = []
    for one in peers:
        has_same_images = one.parts == reference.parts and one.drawing == reference.drawing
        is_augmented = one.augmentation != reference.augmentation
        if has_same_images and is_augmented and one.name != excluded and _trained_alike(one, ours):
            names.append(one.name)
    return names


def _trained_alike(one: ArmRecord, other: ArmRecord) -> bool:
    """Return whether two arms have the same network, steps and batch size."""
    return (one.architecture, one.steps, one.batch_size) == (other.architecture, other.steps, other.batch_size)


def _differences(summary: Summary, arm: str, rivals: Sequence[str]) -> dict[str, Score]:
    """Return the difference of `arm` minus each of the most accurate `rivals`, in their order."""

    def accuracy(name: str) -> float:
        return summary.score("top1", name, summary.leading).value

    best = sorted(rivals, key=accuracy)[-MAX_COMPARED:]
    differences = {}
    for name in rivals:
        score = summary.difference("top1", arm, name, summary.leading)
        if name in best and score is not None:
            differences[name] = score
    return differences


def best_augmentation(summary: Summary, rivals: Rivals, arm: str) -> Iterator[str]:
    """Say that the most accurate augmentation alone may do as well as `arm`, or does better."""
    differences = rivals.get(AUGMENTATION, {})
    reached = {name: summary.score("top1", name, summary.leading).value for name in differences}
    if not reached:
        return
    best = max(reached, key=reached.__getitem__)
    how = "may do as well as"
    if is_sure(differences[best]):
        if differences[best].value > 0:
            return
        how = "does better than"
    yield f"Augmentation alone {how} {arm}: {best} reaches {number(reached[best])} %."


def comparison_sentences(rivals: Mapping[str, Mapping[str, Score]], arm: str) -> Iterator[str]:
    """Compare `arm` with its rivals, one sentence per kind."""
    for kind, differences in rivals.items():
        if differences:
            texts = [_brief_difference(score, name) for name, score in differences.items()]
            yield f"Compared with {kind}, {arm} is {' and '.join(texts)}."


def _brief_difference(score: Score, other: str) -> str:
    """Write a difference in few words: "2.9 points above drawing styles (−0.1 to +6.9, which may be chance)"."""
    where = "above" if score.value > 0 else "below"
    points = f"{number(abs(score.value))} points {where} {other}"
    if not score.has_interval:
        return f"{points} ({TOO_FEW_GROUPS} for an interval)"
    doubt = "" if is_sure(score) else ", which may be chance"
    return f"{points} ({span(score, True)}{doubt})"
