"""A study's answer in words: about one arm, which the recipe names or validation images choose, never a test set."""

from __future__ import annotations

from genrobust.core import RETRIEVED, RETRIEVED_BY_SEARCH, ArmRecord, Score, StudyRecord, Summary
from genrobust.report.groups import averaged_over, averaged_record
from genrobust.report.wording import count, gain, guessing, is_sure, number, robustness_over, span
from genrobust.robustness import EXPLAINED


def answer(record: StudyRecord) -> tuple[str, ...]:
    """Return the study's answer in a few sentences, with figures and uncertainty.

    It compares one arm with its reference: the one that the recipe names under `answer`, or else, among those that
    trained on generated images (or, without such, among all but the references), that with the highest accuracy on
    validation images. Arms that trained on retrieved images, and have the same reference, are reported beside it. If a
    study has groups, it is about these. The last sentences say how the arm was chosen.
    """
    if record.summary.groups:
        averaged = averaged_record(record)
        if not _candidates(averaged):
            return ("The study compares none of its groups with another.",)
        return (*_told(averaged, "group"), f"All are means over {_members(record)}.")
    return _told(record, "arm")


def _told(record: StudyRecord, noun: str) -> tuple[str, ...]:
    summary = record.summary
    others = _candidates(record)
    best = max(others, key=lambda other: -1.0 if other.val_top1 is None else other.val_top1, default=None)
    arm = record.answer or (best and best.name)
    if not arm and len(summary.arms) > 1 + len(summary.trained_elsewhere):
        return ("The study compares none of its arms with another.",)
    if not arm:
        alone = f"The study has one arm, {summary.reference}, so nothing is compared."
        if not summary.shifts:
            return (alone,)
        score = summary.score("top1", summary.reference)
        over = count(len(summary.shifts), "shifted test set")
        return (f"{alone} Over {over} it averaged {number(score.value)} % top-1 ({span(score)}).",)
    chosen = _choice(record, others, arm, noun)
    sentences = (_accuracy_sentence(summary, arm), _robustness_sentence(summary, arm), _controls_sentence(record, arm))
    return (*(sentence for sentence in (*sentences, chosen) if sentence),)


def _candidates(record: StudyRecord) -> list[ArmRecord]:
    """The arms that the answer may be about."""
    summary = record.summary
    compared = [arm for arm in record.arms if summary.reference_of(arm.name) != arm.name and arm.name in summary.arms]
    return [arm for arm in compared if arm.parts.keys() - set(record.not_generated)] or compared


def _choice(record: StudyRecord, others: list[ArmRecord], arm: str, noun: str) -> str:
    """How the arm of the answer was chosen; "" where there was no choice."""
    if record.answer:
        return f"The recipe named {arm} for this answer before there was any result."
    if len(others) < 2:
        return ""
    known = [other for other in others if other.val_top1 is not None]
    best = next((other.val_top1 for other in known if other.name == arm), None)
    if best is None:
        return f"It is about {arm} because the recipe lists it first, not because it did best."
    return (
        f"Of {count(len(known), noun)}, the validation images chose {arm} ({number(best)} % of them right); no test "
        "set was used."
    )


def _members(record: StudyRecord) -> str:
    """How many arms a group has: "3 architectures", or, where they differ, "the architectures of each group"."""
    noun, sizes = averaged_over(record), {len(arms) for arms in record.summary.groups.values()}
    return count(sizes.pop(), noun.removesuffix("s")) if len(sizes) == 1 else f"the {noun} of each group"


def _accuracy_sentence(summary: Summary, arm: str) -> str:
    reference, clean = summary.reference_of(arm), gain(summary, "top1", arm, summary.clean)
    assert clean is not None  # every arm is scored on the clean set
    if not summary.shifts:
        why = "No shifted test set is large enough to average over"
        return f"{why}; on {summary.clean}, {arm} {_against(clean, reference)}."
    gained = gain(summary, "top1", arm)
    assert gained is not None  # a mean over shifts exists for all arms or none
    one = f"On {summary.shifts[0]}, the one shifted test set{' in the mean' if summary.left_out else ''}"
    over = one if len(summary.shifts) == 1 else f"Over {len(summary.shifts)} shifted test sets"
    ours, theirs = (summary.score("top1", name).value for name in (arm, reference))
    averaged = "reached" if len(summary.shifts) == 1 else "averaged"
    chance, best = guessing(summary), summary.score("top1", arm)
    guessed = f" Guessing would reach {number(chance)} %, which is within the interval of {arm}."
    return (
        f"{over}, {arm} {averaged} {number(ours)} % top-1 and {reference} {number(theirs)} %, {_change(gained)}; on "
        f"the clean set {arm} {_against(clean, reference)}.{guessed if best.lo <= chance else ''}"
    )


def _controls_sentence(record: StudyRecord, arm: str) -> str:
    """The accuracies of the arms that trained on retrieved images in place of generated ones; "" without such."""
    summary = record.summary
    parts = [
        f"{control.name}, the control with retrieved images, {_against(score, summary.reference_of(control.name))}"
        for control in record.arms
        if control.name != arm
        and _is_control(control, record)
        and summary.reference_of(control.name) == summary.reference_of(arm)
        if (score := gain(summary, "top1", control.name)) is not None
    ]
    return f"In top-1 over the shifts, {'; '.join(parts)}." if parts else ""


def _robustness_sentence(summary: Summary, arm: str) -> str:
    gained, reference = gain(summary, "er", arm), summary.reference_of(arm)
    if gained is None:
        return f"{_why_no_robustness(summary, arm, reference)}."
    ours, theirs = summary.score("er", arm).value, summary.score("er", reference).value
    over = robustness_over(summary)
    return (
        f"Its effective robustness{f', {over},' if over else ''} was {number(ours, True)} points and that of "
        f"{reference} {number(theirs, True)}, {_change(gained)}."
    )


def _why_no_robustness(summary: Summary, arm: str, reference: str) -> str:
    """Why there is no difference of mean effective robustness between an arm and its reference."""
    if not summary.shifts:
        return "Effective robustness has no mean either"
    if not summary.lines:
        return "Effective robustness has no baseline line to be measured from"
    if not any(shift in summary.lines and summary.lines[shift].r2 >= EXPLAINED for shift in summary.shifts):
        return "Effective robustness has no mean, since no line of a shift in it explains enough"
    own = summary.find("er", arm)
    if own is None:
        return "Its effective robustness has no mean, since some figures in it extrapolate a line"
    return (
        f"Its effective robustness was {number(own.value, True)} points; that of {reference} has no mean, since some "
        "figures in it extrapolate a line"
    )


def _is_control(arm: ArmRecord, record: StudyRecord) -> bool:
    """Whether an arm trained on retrieved images, and on no generated ones."""
    found = {RETRIEVED, RETRIEVED_BY_SEARCH} & arm.parts.keys()
    return bool(found) and arm.parts.keys() <= set(record.not_generated)


def _change(score: Score) -> str:
    """A difference after both figures: "a gain of 12.5 points (95 % interval +11.0 to +14.1)"."""
    if score.value == score.lo == score.hi == 0:
        return "no difference in any resample: they answer these images alike"
    interval = f"95 % interval {span(score, True)}"
    if not is_sure(score):
        return f"a difference of {number(score.value, True)} points that may be chance ({interval})"
    return f"a {'gain' if score.value > 0 else 'loss'} of {number(abs(score.value))} points ({interval})"


def _against(score: Score, reference: str) -> str:
    """A difference alone: "was 12.5 points above real (95 % interval +11.0 to +14.1)"."""
    interval = f"95 % interval {span(score, True)}"
    if not is_sure(score):
        return f"did not differ from {reference} beyond chance ({number(score.value, True)} points, {interval})"
    side = "above" if score.value > 0 else "below"
    return f"was {number(abs(score.value))} points {side} {reference} ({interval})"
