"""A study's answer in words: about one arm, which the recipe names or validation images choose, never a test set."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from genrobust.core import (
    NOT_GENERATED,
    REAL,
    ArmRecord,
    Score,
    StudyRecord,
    Summary,
)
from genrobust.report.groups import averaged_over, with_group_records
from genrobust.report.wording import (
    MISLABELED,
    count,
    gain,
    guessing,
    is_above_guessing,
    is_below_guessing,
    is_sure,
    number,
    over_shifts,
    rates,
    robustness_over,
    span,
    without_looking,
)

GUESSING_FACTOR = 1.5  # an accuracy above 1.5 x guessing is not called so: over few groups, any interval reaches down
TOO_WEAK = 3  # no verdict if on one in so many shifts, or more, neither arm is surely above guessing
RETRIEVED_IMAGES, AUGMENTATION = "retrieved images", "augmentation alone"
MATTERS = 1.0  # points between the gains without one and without another group: less is not said
MAX_COMPARED = 3  # comparisons of a kind, with the best on the test sets: whatever speaks most against the answer
# A title that asks whether something helps: "Pictograms: do generated icons make a classifier robust?"
_ASKS = re.compile(
    r"\b(do|does|did|is|are|can|could|will|would|has|have)\b[^?]*\b(help|robust|better|improve|accurate|gain)[^?]*\?",
    re.IGNORECASE,
)
# Words by which a yes could mean that the arm is worse.
_REVERSED = re.compile(
    r"\b((hurt|harm|reduce|lower|lose|cost|need)s?|worse|less|without|instead|not|no|never)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a study.

    Attributes:
        arm: The arm, or group, that it is about; "" where nothing is compared.
        warnings: Test sets that look mislabeled, which make it doubtful.
        verdict: Whether the arm is better than its reference, or why the study does not say.
        guessed: Names the shifts on which both guess, unless the verdict does or there are none.
        rival: Names an augmentation that may do as well without generated images, if there is one; `details` compares.
        details: What was wrong with the images, and further findings.
    """

    arm: str
    warnings: tuple[str, ...]
    verdict: str
    guessed: tuple[str, ...] = ()
    rival: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of it, the warnings first."""
        return *self.warnings, self.verdict, *self.guessed, *self.details


def answer(record: StudyRecord) -> Answer:
    """Return the study's answer in a few sentences, with metrics and uncertainty.

    The answer is about one arm, or one group if the study has groups: the one that the recipe names under `answer`, or
    else, among those that trained on generated images (or, without such, among all but the references) and are
    pretrained where their reference is, the one with the highest accuracy on validation images. It says, in this order:

    - the verdict, which compares the arm with its reference. It begins with "Yes", "No" or "Not decided" where the
      title asks whether something helps, and both are pretrained or neither is.
    - shifts on which neither the arm nor its reference is surely above guessing; the verdict is "Not decided" if these
      are a third or more.
    - whether one of both alone started from a pretrained network.
    - comparisons with retrieved images and with augmentation alone, if the arm trained on generated images.
    - its accuracy beside that of guessing, its gain without any one group of images, its effective robustness, and
      how it was chosen.
    """
    compared = with_group_records(record)
    candidates = _candidates(compared, record.summary.groups)
    best = max(candidates, key=lambda arm: -1.0 if arm.val_top1 is None else arm.val_top1, default=None)
    arm = record.answer or (best.name if best else "")
    warnings, noun = tuple(_mislabeled_sets(record)), "group" if record.summary.groups else "arm"
    if not arm:
        return Answer(arm, warnings, f"The study compares no {noun} with another.", details=record.warnings)
    rivals = _rivals(compared, arm)
    details = (
        *record.warnings,
        *_start_note(compared.summary, arm),
        *_comparison_sentences(rivals, arm),
        _accuracy_sentence(compared.summary, arm),
        *_without_groups(compared.summary, arm),
        _robustness_sentence(compared.summary, arm),
        _choice_sentence(compared, candidates, arm, noun),
        _means_sentence(record, arm) if record.summary.groups else "",
    )
    guessed = tuple(_guessing_notes(compared.summary, arm))
    rival = tuple(_rival(compared.summary, rivals.get(AUGMENTATION, {})))
    return Answer(arm, warnings, _verdict(compared, arm), guessed, rival, tuple(filter(None, details)))


def _mislabeled_sets(record: StudyRecord) -> Iterator[str]:
    """Say on which test sets all arms are surely below guessing; of the clean one, also if nearer to it than to val."""
    summary, arms = record.summary, record.arms
    for test in summary.tests:
        scores, chance = {arm.name: summary.score("top1", arm.name, test) for arm in arms}, guessing(summary, test)
        is_wrong = all(map(is_below_guessing, scores.values())) or (
            test == summary.clean
            and all(arm.val_top1 is not None and scores[arm.name].hi < (chance + arm.val_top1) / 2 for arm in arms)
        )
        if not is_wrong:
            continue
        best = max(arms, key=lambda arm: scores[arm.name].value)
        val = "" if best.val_top1 is None else f" and {number(best.val_top1)} % on validation images"
        yield (
            f"Warning: on {test}, the best arm, {best.name}, has {number(scores[best.name].value)} % "
            f"({span(scores[best.name])}); compare guessing ({number(chance)} %){val}. Perhaps {MISLABELED}."
        )


def _candidates(record: StudyRecord, groups: Collection[str]) -> list[ArmRecord]:
    """Return the arms that the answer may be about: of a study with `groups`, these alone."""
    summary = record.summary
    compared = [arm for arm in record.arms if summary.reference_of(arm.name) != arm.name]
    compared = [arm for arm in compared if not groups or arm.name in groups]
    compared = [arm for arm in compared if _is_generated(arm, record)] or compared
    began = set(summary.pretrained)  # a gain over an arm from scratch would be one of the pretrained network
    return [a for a in compared if (a.name in began) == (summary.reference_of(a.name) in began)] or compared


def _verdict(record: StudyRecord, arm: str) -> str:
    """Say whether `arm` is better than its reference, by how much and how surely, in one sentence."""
    summary, reference = record.summary, record.summary.reference_of(arm)
    test_set, where = _leading_set(summary)
    gained = gain(summary, "top1", arm, test_set)
    assert gained is not None  # every arm is scored on every set
    beyond = over_shifts(summary, "top1", arm)
    if beyond is not None and not is_sure(beyond):
        where = where.replace("Over ", "Over these ")
    beside = f"; over shifts like these {span(beyond, True)}" if beyond else ""
    beside += ", undecided" if beyond and is_sure(gained) and not is_sure(beyond) else ""
    pair = _difference_phrase(gained, arm, reference, " of top-1 accuracy", beside)
    over = f"{where[0].lower()}{where[1:]}"
    if not summary.shifts:
        left_out = "no shifted test set is large enough to average over"
        why = left_out if summary.left_out else "the study has no shifted test set"
        return f"Not decided: {why}. {where}, {pair}."
    if not any(is_above_guessing(summary, name) for name in (arm, reference)):
        ours, theirs = (f"{name} ({number(summary.score('top1', name).value)} %)" for name in (arm, reference))
        return f"Not decided: {over}, neither {ours} nor {theirs} is surely above guessing ({rates(summary)})."
    if len(weak := _guessed_shifts(summary, arm)) * TOO_WEAK >= len(summary.shifts):
        return f"Not decided, too weak to tell: {over}, {pair}, and {_neither(summary, arm, weak)}."
    others = [one for one in record.arms if one.name == arm and not _is_generated(one, record)]
    about_others = bool(others) and "generat" in record.title.lower()
    starts_apart = (arm in summary.pretrained) != (reference in summary.pretrained)
    if about_others or not _asks_whether(record.title, arm) or starts_apart:
        return f"{where}, {pair}."
    word = "Not decided" if not is_sure(gained) else "Yes" if gained.value > 0 else "No"
    limits = ["for one seed"] if len(summary.seeds) == 1 and is_sure(gained) else []
    limits += ["with --quick"] if "--quick" in record.command.split() else []
    return f"{', '.join([word, *limits])}: {over}, {pair}."


def _asks_whether(title: str, arm: str) -> bool:
    """Return whether a title asks if the arm helps: where it compares with "than", the arm comes before."""
    asked = _ASKS.search(title)
    if asked is None or _REVERSED.search(asked[0]):
        return False
    first, than, _ = asked[0].partition(" than ")
    return not than or arm in first


def _leading_set(summary: Summary) -> tuple[str, str]:
    """Return the test set that the verdict is about, or the mean of shifts, and what it is in words."""
    if not summary.shifts:
        words = f"On {summary.clean}"
    elif len(summary.shifts) > 1:
        words = f"Over {len(summary.shifts)} shifted test sets"
    else:
        words = f"On {summary.shifts[0]}, the one shifted test set{' in the mean' if summary.left_out else ''}"
    return summary.leading, words


def _rivals(record: StudyRecord, arm: str) -> dict[str, dict[str, Score]]:
    """Return what could help in the place of the generated images of `arm`: retrieved ones, or augmentation alone.

    Of each kind, the arms that trained alike, or for retrieved images, without such, any: those that are pretrained
    where `arm` is, with what `arm` has above each, in the study's order, the `MAX_COMPARED` best on the test sets.
    """
    summary, (test_set, _) = record.summary, _leading_set(record.summary)
    arms = {one.name: one for one in record.arms}
    ours, real = arms[arm], arms[summary.reference_of(arm)]
    if not _is_generated(ours, record):
        return {}
    retrieved, begun = set(NOT_GENERATED) - {REAL}, set(summary.pretrained)
    peers = [one for one in record.arms if (one.name in begun) == (arm in begun)]
    controls = [one for one in peers if one.parts.keys() & retrieved and not _is_generated(one, record)]
    alike = [one for one in controls if (one.augmentation, _training(one)) == (ours.augmentation, _training(ours))]
    augmented = [
        one
        for one in peers
        if (one.parts, one.drawing) == (real.parts, real.drawing)
        and one.augmentation != real.augmentation
        and one.name != summary.reference_of(real.name)  # what the augmentation of `real` is itself compared with
        and _training(one) == _training(ours)
    ]
    rivals: dict[str, dict[str, Score]] = {}
    for kind, others in ((RETRIEVED_IMAGES, alike or controls), (AUGMENTATION, augmented)):
        scores = {one.name: summary.score("top1", one.name, test_set).value for one in others}
        best = sorted(scores, key=scores.__getitem__)[-MAX_COMPARED:]
        pairs = {name: summary.difference("top1", arm, name, test_set) for name in scores if name in best}
        rivals[kind] = {name: score for name, score in pairs.items() if score is not None}
    return rivals


def _rival(summary: Summary, augmented: Mapping[str, Score]) -> Iterator[str]:
    """Say which augmentation alone may do as well as the arm, or does better: the best on the test sets.

    `augmented` has what the arm has above each.
    """
    test_set, _ = _leading_set(summary)
    reached = {name: summary.score("top1", name, test_set).value for name in augmented}
    if reached:
        best = max(reached, key=reached.__getitem__)
        if augmented[best].lo <= 0:
            how = "does better" if augmented[best].hi < 0 else "may do as well"
            yield f"Augmentation alone {how}: {best} reaches {number(reached[best])} %."


def _comparison_sentences(rivals: Mapping[str, Mapping[str, Score]], arm: str) -> Iterator[str]:
    """Yield `arm` against its `rivals`: what else could help in the place of its generated images."""
    for kind, pairs in rivals.items():
        if pairs:
            texts = [_brief_difference(score, name) for name, score in pairs.items()]
            yield f"Compared with {kind}, {arm} is {' and '.join(texts)}."


def _guessed_shifts(summary: Summary, arm: str) -> list[str]:
    """Return the shifts on which both `arm` and its reference guess, so that their difference there means nothing."""

    def is_guessed(name: str, shift: str) -> bool:
        few = GUESSING_FACTOR * without_looking(summary, shift)
        return not is_above_guessing(summary, name, shift) and summary.score("top1", name, shift).value < few

    return [
        shift for shift in summary.shifts if is_guessed(arm, shift) and is_guessed(summary.reference_of(arm), shift)
    ]


def _neither(summary: Summary, arm: str, shifts: Sequence[str]) -> str:
    """Say on which shifts an arm and its reference guess."""
    return f"on {', '.join(shifts)}, neither {arm} nor {summary.reference_of(arm)} is surely above guessing"


def _guessing_notes(summary: Summary, arm: str) -> Iterator[str]:
    """Say on which shifts `arm` and its reference guess, where the verdict does not."""
    shifts = _guessed_shifts(summary, arm)
    if 0 < len(shifts) * TOO_WEAK < len(summary.shifts):
        note, they = _neither(summary, arm, shifts), "it counts" if len(shifts) == 1 else "they count"
        yield f"{note[0].upper()}{note[1:]}; {they} in the mean."


def _start_note(summary: Summary, arm: str) -> Iterator[str]:
    """Say that of `arm` and its reference one alone started from a pretrained network."""
    scratch, begun = sorted((arm, summary.reference_of(arm)), key=summary.pretrained.__contains__)
    if begun in summary.pretrained and scratch not in summary.pretrained:
        yield f"{begun} started from a pretrained network and {scratch} did not, which may explain the difference."


def _brief_difference(score: Score, other: str) -> str:
    """Say a difference in few words: "2.9 points above drawing styles (−0.1 to +6.9, which may be chance)"."""
    where, doubt = "above" if score.value > 0 else "below", "" if is_sure(score) else ", which may be chance"
    return f"{number(abs(score.value))} points {where} {other} ({span(score, True)}{doubt})"


def _training(arm: ArmRecord) -> tuple[object, ...]:
    return arm.architecture, arm.steps, arm.batch_size


def _is_generated(arm: ArmRecord, record: StudyRecord) -> bool:
    """Return whether an arm trained on generated images."""
    return bool(arm.parts.keys() - set(record.not_generated))


def _choice_sentence(record: StudyRecord, others: list[ArmRecord], arm: str, noun: str) -> str:
    """Say how the arm of the answer was chosen; "" where there was no choice."""
    if record.answer:
        return f"The recipe named {arm} for this answer."
    if len(others) < 2:
        return ""
    validated = [other for other in others if other.val_top1 is not None]
    best = next((other.val_top1 for other in validated if other.name == arm), None)
    if best is None:
        return f"This answer is about {arm} because the recipe lists it first, not because it did best."
    return (
        f"Of {count(len(validated), noun)}, {arm} was chosen for its accuracy on validation images ({number(best)} %); "
        "no test set was used."
    )


def _means_sentence(record: StudyRecord, arm: str) -> str:
    """Say what is a mean, and over how many arms: "3 architectures", or, where these differ, those of each group."""
    noun, groups = averaged_over(record), record.summary.groups
    what = "All are means" if record.summary.reference_of(arm) in groups else f"{arm} is a mean"
    sizes = {len(arms) for arms in groups.values()}
    members = count(sizes.pop(), noun.removesuffix("s")) if len(sizes) == 1 else f"the {noun} of each group"
    return f"{what} over {members}."


def _accuracy_sentence(summary: Summary, arm: str) -> str:
    reference, clean = summary.reference_of(arm), gain(summary, "top1", arm, summary.clean)
    assert clean is not None  # every arm is scored on the clean set
    test_set, _ = _leading_set(summary)
    ours, theirs = (number(summary.score("top1", name, test_set).value) for name in (arm, reference))
    reached = f"{arm} {'averaged' if len(summary.shifts) > 1 else 'reached'} {ours} % top-1 and {reference} {theirs} %"
    reached += f", where guessing gives {number(guessing(summary, test_set))} %"
    return (
        f"{reached}; on the clean set, {_difference_phrase(clean, arm, reference)}."
        if summary.shifts
        else f"{reached}."
    )


def _without_groups(summary: Summary, arm: str) -> Iterator[str]:
    """Say between which values the gain is if any one group of test images, such as one designer's, is left out.

    Nothing is said of groups that hardly matter, such as single photographs.
    """
    if not (gains := summary.without_group.get(arm)):
        return
    (lowest, least), (highest, most) = (end(gains.items(), key=itemgetter(1)) for end in (min, max))
    if most - least >= MATTERS:
        yield (
            f"Leaving out any one group of images, the gain over {summary.reference_of(arm)} stays between "
            f"{number(least, True)} points (without {lowest}) and {number(most, True)} (without {highest})."
        )


def _robustness_sentence(summary: Summary, arm: str) -> str:
    """Compare mean effective robustness; "" where one of both has none, for which “How to read it” has the reason."""
    gained, reference = gain(summary, "er", arm), summary.reference_of(arm)
    if gained is None:
        return ""
    over = robustness_over(summary)
    where = f"In effective robustness{f', {over}' if over else ''}"
    ours, theirs = summary.score("er", arm), summary.score("er", reference)
    values = f"{number(ours.value, True)} against {number(theirs.value, True)}"
    return f"{where}, {_difference_phrase(gained, arm, reference)}: {values}."


def _difference_phrase(score: Score, arm: str, other: str, quantity: str = "", beside: str = "") -> str:
    """Say a difference in words: "real+generated gains 12.5 points over real (95 % interval +11.0 to +14.1)".

    `beside` is said beside the interval.
    """
    interval = f"95 % interval {span(score, True)}{beside}"
    if not is_sure(score):
        return (
            f"{arm} differs from {other} by {number(score.value, True)} points{quantity}, which may be chance "
            f"({interval})"
        )
    verb, word = ("gains", "over") if score.value > 0 else ("loses", "to")
    return f"{arm} {verb} {number(abs(score.value))} points{quantity} {word} {other} ({interval})"
