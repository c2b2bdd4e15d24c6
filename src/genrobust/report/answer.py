"""The answer of a study in words, about one arm. The recipe or validation images choose the arm, never a test set."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from genrobust.core import ArmRecord, Score, StudyRecord, Summary
from genrobust.report.arm_groups import averaged_over, with_group_records
from genrobust.report.rival_arms import best_augmentation, comparison_sentences, find_rivals, is_generated
from genrobust.report.wording import (
    MISLABELED,
    TOO_FEW_GROUPS,
    best_guess,
    count,
    gain,
    gain_over_shifts,
    guessing,
    guessing_in_words,
    is_above_guessing,
    is_below_guessing,
    is_sure,
    most_frequent,
    number,
    robustness_over,
    span,
)

# The verdict of a short version, whose arms train too little to be compared.
QUICK = "With --quick, the figures only show that everything runs: for an answer, run the study without it."
# An accuracy above 1.5 x guessing is not called guessing: over few groups of images, any interval reaches down to it.
GUESSING_FACTOR = 1.5
# There is no verdict if neither arm is surely above guessing on a third of the shifts, or more.
TOO_WEAK = 3
# The gains without one and without another group of images must differ by this many points to be mentioned.
MIN_RANGE = 1.0
# A title that asks whether something helps: "Pictograms: do generated icons make a classifier robust?"
_ASKS = re.compile(
    r"\b(do|does|did|is|are|can|could|will|would|has|have)\b[^?]*\b(help|robust|better|improve|accurate|gain)[^?]*\?",
    re.IGNORECASE,
)
# With one of these words in the title, a yes could mean that the arm is worse.
_REVERSED = re.compile(
    r"\b((hurt|harm|reduce|lower|lose|cost|need)s?|worse|less|without|instead|not|no|never)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a study.

    Attributes:
        arm: The arm, or group, of the answer; "" if nothing is compared.
        warnings: Test sets that look mislabeled, which make the answer doubtful.
        verdict: Whether the arm is better than its reference, or why the study does not say.
        guessed: The shifts on which both guess, unless the verdict names them or there are none.
        rival: An augmentation that may do as well without generated images, if there is one.
        details: Further results, then faults of the images.
    """

    arm: str
    warnings: tuple[str, ...]
    verdict: str
    guessed: tuple[str, ...] = ()
    rival: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """The whole answer except `rival`, the warnings first."""
        return *self.warnings, self.verdict, *self.guessed, *self.details


def find_answer(record: StudyRecord) -> Answer:
    """Return the study's answer in a few sentences, with metrics and uncertainty.

    The answer is about one arm, or about one group if the study has groups: the one that the recipe names under
    `answer`. If it names none, candidates are the arms that trained on generated images (without such arms, all but the
    references) and are pretrained if their reference is; the one with the highest accuracy on validation images is
    chosen. The answer has, in this order:

    - the verdict, which compares the arm with its reference. It begins with "Yes", "No" or "Not decided" if the title
      asks whether something helps, and both are pretrained or neither is. With --quick, it compares nothing.
    - shifts on which neither the arm nor its reference is surely above guessing. The verdict is "Not decided" if they
      are a third of the shifts or more.
    - a warning if only one of the two started from a pretrained network.
    - comparisons with retrieved images and with augmentation alone, if the arm trained on generated images.
    - its accuracy, the accuracy of guessing, its gain without any one group of images, its effective robustness, and
      how it was chosen.
    - faults of the images.
    """
    groups = record.summary.groups
    compared = with_group_records(record)
    candidates = _find_candidates(compared, groups)
    arm = record.answer or _choose_arm(candidates)
    warnings = tuple(_mislabeled_sets(record))
    noun = "group" if groups else "arm"
    if not arm:
        return Answer(arm, warnings, f"The study compares no {noun} with another.", details=record.warnings)
    summary = compared.summary
    rivals = find_rivals(compared, arm)
    details = [
        *_start_note(summary, arm),
        *comparison_sentences(rivals, arm),
        _accuracy_sentence(summary, arm),
        *_range_without_groups(summary, arm),
        *_robustness_sentence(summary, arm),
        *_choice_sentence(compared, candidates, arm, noun),
    ]
    if groups:
        details.append(_means_sentence(record, arm))
    details += record.warnings
    if "--quick" in record.command.split():
        return Answer(arm, warnings, QUICK, details=tuple(details))
    return Answer(
        arm=arm,
        warnings=warnings,
        verdict=_verdict(compared, arm),
        guessed=tuple(_guessing_note(summary, arm)),
        rival=tuple(best_augmentation(summary, rivals, arm)),
        details=tuple(details),
    )


def _find_candidates(record: StudyRecord, groups: Collection[str]) -> list[ArmRecord]:
    """Return the arms that the answer may be about. In a study with `groups`, only these."""
    summary = record.summary
    compared = [arm for arm in record.arms if summary.reference_of(arm.name) != arm.name]
    if groups:
        compared = [arm for arm in compared if arm.name in groups]
    compared = [arm for arm in compared if is_generated(arm, record)] or compared
    # A gain over an arm from scratch could be one of the pretrained network.
    return [arm for arm in compared if not _starts_differ(summary, arm.name)] or compared


def _starts_differ(summary: Summary, arm: str) -> bool:
    """Return whether only one of `arm` and its reference started from a pretrained network."""
    return (arm in summary.pretrained) != (summary.reference_of(arm) in summary.pretrained)


def _choose_arm(candidates: Sequence[ArmRecord]) -> str:
    """Return the arm with the highest validation accuracy, the first one if none was validated; "" without any."""
    if not candidates:
        return ""

    def validation(arm: ArmRecord) -> float:
        return -1.0 if arm.val_top1 is None else arm.val_top1

    return max(candidates, key=validation).name


def _mislabeled_sets(record: StudyRecord) -> Iterator[str]:
    """Warn of test sets on which all arms are surely below guessing, and of a clean set far below validation."""
    summary, arms = record.summary, record.arms
    for test in summary.tests:
        scores = {arm.name: summary.score("top1", arm.name, test) for arm in arms}
        is_wrong = all(is_below_guessing(score) for score in scores.values())
        if test == summary.clean:
            is_wrong = is_wrong or _is_far_below_validation(summary, arms)
        if not is_wrong:
            continue
        best = max(arms, key=lambda arm: scores[arm.name].value)
        score = scores[best.name]
        reached = f"{number(score.value)} % ({span(score)})"
        compared = f"{best_guess(summary, test)} ({number(most_frequent(summary, test))} %)"
        if best.val_top1 is not None:
            compared += f" and {number(best.val_top1)} % on validation images"
        yield f"Warning: on {test}, the best arm, {best.name}, has {reached}; compare {compared}. Perhaps {MISLABELED}."


def _is_far_below_validation(summary: Summary, arms: Sequence[ArmRecord]) -> bool:
    """Return whether all arms are surely nearer to guessing, on the clean set, than to their validation accuracy."""
    chance = guessing(summary, summary.clean)
    for arm in arms:
        if arm.val_top1 is None:
            return False
        if summary.score("top1", arm.name, summary.clean).hi >= (chance + arm.val_top1) / 2:
            return False
    return True


def _verdict(record: StudyRecord, arm: str) -> str:
    """Say whether `arm` is better than its reference, by how much and how surely."""
    summary = record.summary
    reference = summary.reference_of(arm)
    gained = gain(summary, "top1", arm, summary.leading)
    # Every arm is scored on every set.
    assert gained is not None
    elsewhere = gain_over_shifts(summary, "top1", arm)
    where = _leading_set_in_words(summary, only_these=elsewhere is not None and not is_sure(elsewhere))
    over = f"{where[0].lower()}{where[1:]}"
    pair = _difference_in_words(gained, arm, reference, " of top-1 accuracy")
    if elsewhere is None:
        others = ""
    else:
        others = f" {_gain_on_others(summary, gained, elsewhere)}"
    if not summary.shifts:
        why = "the study has no shifted test set"
        if summary.left_out:
            why = "no shifted test set is large enough to average over"
        return f"Not decided: {why}. {where}, {pair}."
    if not any(is_above_guessing(summary, name) for name in (arm, reference)):
        ours = f"{arm} ({number(summary.score('top1', arm).value)} %)"
        theirs = f"{reference} ({number(summary.score('top1', reference).value)} %)"
        rates = guessing_in_words(summary)
        return f"Not decided: {over}, neither {ours} nor {theirs} is surely above guessing; {rates}."
    guessed = _guessed_shifts(summary, arm)
    if len(guessed) * TOO_WEAK >= len(summary.shifts):
        neither = _neither_in_words(summary, arm, guessed)
        return f"Not decided, too weak to tell: {over}, {pair}, and {neither}.{others}"
    if not _asks_about(record, arm):
        return f"{where}, {pair}.{others}"
    return f"{_decision(record, gained)}: {over}, {pair}.{others}"


def _leading_set_in_words(summary: Summary, only_these: bool) -> str:
    """Name the test sets of the verdict. `only_these` says that it is about exactly these shifts."""
    if not summary.shifts:
        return f"On {summary.clean}"
    if len(summary.shifts) > 1:
        return f"Over {'these ' if only_these else ''}{len(summary.shifts)} shifted test sets"
    return f"On {summary.shifts[0]}, the one shifted test set{' in the mean' if summary.left_out else ''}"


def _gain_on_others(summary: Summary, gained: Score, elsewhere: Score) -> str:
    """Say the gain on other shifts of the same kind, and that it is undecided if the first one is not."""
    undecided = "undecided: " if is_sure(gained) and not is_sure(elsewhere) else ""
    sets = len(summary.shifts)
    return f"On other shifts like these, the gain is {undecided}{span(elsewhere, True)}, estimated from {sets} shifts."


def _asks_about(record: StudyRecord, arm: str) -> bool:
    """Return whether a yes or no about `arm` answers the title, and is not about a pretrained network."""
    others = [one for one in record.arms if one.name == arm and not is_generated(one, record)]
    is_about_others = bool(others) and "generat" in record.title.lower()
    return not is_about_others and _asks_whether(record.title, arm) and not _starts_differ(record.summary, arm)


def _asks_whether(title: str, arm: str) -> bool:
    """Return whether a title asks if the arm helps. If it compares with "than", the arm must come before."""
    asked = _ASKS.search(title)
    if asked is None or _REVERSED.search(asked[0]):
        return False
    first, than, _ = asked[0].partition(" than ")
    return not than or arm in first


def _decision(record: StudyRecord, gained: Score) -> str:
    """Return "Yes", "No" or "Not decided", with its limit: "Yes, for one seed"."""
    if not is_sure(gained):
        return "Not decided"
    word = "Yes" if gained.value > 0 else "No"
    if len(record.summary.seeds) == 1:
        return f"{word}, for one seed"
    return word


def _guessed_shifts(summary: Summary, arm: str) -> list[str]:
    """Return the shifts on which both `arm` and its reference guess, so their difference there means nothing."""

    def is_guessed(name: str, shift: str) -> bool:
        accuracy = summary.score("top1", name, shift).value
        is_low = accuracy < GUESSING_FACTOR * most_frequent(summary, shift)
        return is_low and not is_above_guessing(summary, name, shift)

    reference = summary.reference_of(arm)
    return [shift for shift in summary.shifts if is_guessed(arm, shift) and is_guessed(reference, shift)]


def _neither_in_words(summary: Summary, arm: str, shifts: Sequence[str]) -> str:
    """Say on which shifts an arm and its reference guess."""
    return f"on {', '.join(shifts)}, neither {arm} nor {summary.reference_of(arm)} is surely above guessing"


def _guessing_note(summary: Summary, arm: str) -> Iterator[str]:
    """Say on which shifts `arm` and its reference guess, unless the verdict does."""
    shifts = _guessed_shifts(summary, arm)
    if 0 < len(shifts) * TOO_WEAK < len(summary.shifts):
        note = _neither_in_words(summary, arm, shifts)
        they = "it counts" if len(shifts) == 1 else "they count"
        yield f"{note[0].upper()}{note[1:]}; {they} in the mean."


def _start_note(summary: Summary, arm: str) -> Iterator[str]:
    """Warn that only one of `arm` and its reference is pretrained."""
    if _starts_differ(summary, arm):
        reference = summary.reference_of(arm)
        started, other = (arm, reference) if arm in summary.pretrained else (reference, arm)
        yield f"{started} started from a pretrained network and {other} did not, which may explain the difference."


def _choice_sentence(record: StudyRecord, candidates: Sequence[ArmRecord], arm: str, noun: str) -> Iterator[str]:
    """Say how the arm of the answer was chosen, if there was a choice."""
    validated = {one.name: one.val_top1 for one in candidates if one.val_top1 is not None}
    if record.answer:
        yield f"The recipe named {arm} for this answer."
    elif len(candidates) < 2:
        return
    elif arm not in validated:
        yield f"This answer is about {arm} because the recipe lists it first, not because it did best."
    else:
        yield (
            f"Of {count(len(validated), noun)}, {arm} was chosen for its accuracy on validation images "
            f"({number(validated[arm])} %); no test set was used."
        )


def _means_sentence(record: StudyRecord, arm: str) -> str:
    """Say which results are means, and over how many arms: "All are means over 3 architectures."."""
    noun, groups = averaged_over(record), record.summary.groups
    if record.summary.reference_of(arm) in groups:
        subject = "All are means"
    else:
        subject = f"{arm} is a mean"
    sizes = {len(members) for members in groups.values()}
    over = f"the {noun} of each group"
    if len(sizes) == 1:
        over = count(sizes.pop(), noun.removesuffix("s"))
    return f"{subject} over {over}."


def _accuracy_sentence(summary: Summary, arm: str) -> str:
    reference = summary.reference_of(arm)
    ours = number(summary.score("top1", arm, summary.leading).value)
    theirs = number(summary.score("top1", reference, summary.leading).value)
    verb = "averaged" if len(summary.shifts) > 1 else "reached"
    rates = guessing_in_words(summary, summary.leading)
    sentence = f"{arm} {verb} {ours} % top-1 and {reference} {theirs} %; {rates}."
    if not summary.shifts:
        return sentence
    clean = gain(summary, "top1", arm, summary.clean)
    # Every arm is scored on the clean set.
    assert clean is not None
    return f"{sentence} On the clean set, {_difference_in_words(clean, arm, reference)}."


def _range_without_groups(summary: Summary, arm: str) -> Iterator[str]:
    """Say the range of the gain if any one group of test images, such as one designer's, is left out.

    Groups that hardly matter, such as single photographs, are not mentioned.
    """
    gains = summary.without_group.get(arm, {})
    if not gains:
        return
    lowest, least = min(gains.items(), key=itemgetter(1))
    highest, most = max(gains.items(), key=itemgetter(1))
    if most - least >= MIN_RANGE:
        yield (
            f"Leaving out any one group of images, the gain over {summary.reference_of(arm)} stays between "
            f"{number(least, True)} points (without {lowest}) and {number(most, True)} (without {highest})."
        )


def _robustness_sentence(summary: Summary, arm: str) -> Iterator[str]:
    """Compare mean effective robustness, if both have one. “How to read it” says why one has none."""
    reference = summary.reference_of(arm)
    gained = gain(summary, "er", arm)
    if gained is None:
        return
    ours = number(summary.score("er", arm).value, True)
    theirs = number(summary.score("er", reference).value, True)
    over = robustness_over(summary)
    if over:
        where = f"In effective robustness, {over}"
    else:
        where = "In effective robustness"
    yield f"{where}, {_difference_in_words(gained, arm, reference)}: {ours} against {theirs}."


def _difference_in_words(score: Score, arm: str, other: str, quantity: str = "") -> str:
    """Write a difference: "real+generated gains 12.5 points over real (95 % interval +11.0 to +14.1)"."""
    interval = f"{TOO_FEW_GROUPS} for an interval"
    if score.has_interval:
        interval = f"95 % interval {span(score, True)}"
    if not is_sure(score):
        points = f"{number(score.value, True)} points{quantity}"
        return f"{arm} differs from {other} by {points}, which may be chance ({interval})"
    points = f"{number(abs(score.value))} points{quantity}"
    if score.value > 0:
        return f"{arm} gains {points} over {other} ({interval})"
    return f"{arm} loses {points} to {other} ({interval})"
