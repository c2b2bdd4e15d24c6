"""A study's figures in words: numbers with their signs and intervals, the answer, and what it does not say."""

from __future__ import annotations

import re

from genrobust.core import MEAN_OF_SHIFTS, RETRIEVED, Difference, Score, StudyRecord, Summary
from genrobust.report.groups import averaged_over, averaged_record

MINUS, EN_DASH = "\u2212", "\u2013"
ELSEWHERE = "\u2021"  # a double dagger: learned from other data than the study's


def number(value: float, signed: bool = False) -> str:
    """One decimal with a true minus sign: "57.6", "−0.3", or "+12.5" where `signed`. No "−0.0"."""
    rounded = round(value, 1) + 0.0  # + 0.0 turns -0.0 into 0.0
    return (f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}").replace("-", MINUS)


def span(score: Score, signed: bool = False) -> str:
    """The interval of a Score: "55.1–60.2", or "+11.0 to +14.1" where `signed`."""
    between = " to " if signed else EN_DASH
    return f"{number(score.lo, signed)}{between}{number(score.hi, signed)}"


def is_sure(score: Score) -> bool:
    """Whether the interval of a difference excludes nothing at all."""
    return score.lo > 0 or score.hi < 0


def duration(seconds: float) -> str:
    """ "0.4 s", "42 s", "3 min 12 s", "1 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, noun: str) -> str:
    """ "1 seed", "3 classes", "1,300 images"."""
    plural = f"{noun}es" if noun.endswith("s") else re.sub(r"(?<![aeiou])y$", "ie", noun) + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def difference(
    summary: Summary, arm: str, test_set: str, figure: str = "top1", other: str | None = None
) -> Score | None:
    """`arm` minus `other` (None: its reference) on `test_set` (MEAN_OF_SHIFTS for the mean); None without a figure.

    `arm` may be a group, and `other` then what that is compared with.
    """
    for group in summary.groups:
        if (group.name, group.reference) == (arm, other):
            return {"top1": group.top1_gain, "er": group.er_gain}[figure].get(test_set)
    pair = arm, summary.reference_of(arm) if other is None else other

    def wanted(d: Difference) -> bool:
        return (d.arm, d.reference, d.test_set, d.figure) == (*pair, test_set, figure)

    return next((d.score for d in summary.differences if wanted(d)), None)


def row_name(summary: Summary, arm: str) -> str:
    """The name of a row, marked where it is a model that was trained elsewhere."""
    return f"{arm} {ELSEWHERE}" if arm in summary.trained_elsewhere else arm


def answer(record: StudyRecord) -> tuple[str, ...]:
    """The study's answer in two sentences, with figures and uncertainty.

    It is about the arm with the highest mean over the shifts among those that trained on generated images (else among
    all but the references), against its reference; an arm that trained on retrieved images is told beside it. Where a
    study has groups, it is about these.
    """
    if record.summary.groups:
        return (*answer(averaged_record(record)), f"All are means over {_members(record)}.")
    summary = record.summary
    arm = _focus(record)
    if arm is None and len(summary.arms) > 1 + len(summary.trained_elsewhere):
        return ("The study compares none of its arms with another.",)
    if arm is None:
        alone = f"The study has one arm, {summary.reference}, so nothing is compared."
        if not summary.shifts:
            return (alone,)
        score = summary.mean_top1[summary.reference]
        over = count(len(summary.shifts), "shifted test set")
        return (f"{alone} Over {over} it averaged {number(score.value)} % top-1 ({span(score)}).",)
    return _accuracy_sentence(summary, arm), _robustness_sentence(record, arm)


def references(summary: Summary) -> list[str]:
    """What arms are compared with, each once."""
    named = ((arm, summary.reference_of(arm)) for arm in summary.arms)
    return list(dict.fromkeys(other for arm, other in named if other != arm))


def compared_with(summary: Summary) -> str:
    """What arms are compared with, for a heading: the one reference, or each arm's own."""
    return found[0] if len(found := references(summary)) == 1 else "each arm's reference"


def subtracted(summary: Summary) -> dict[str, str]:
    """What is subtracted from each arm, where that is not the same for all; else nothing."""
    arms = summary.arms if len(references(summary)) > 1 else ()
    return {arm: summary.reference_of(arm) for arm in arms}


def caveat(summary: Summary) -> str:
    """What the seeds allow one to claim."""
    seeds = len(summary.seeds)
    if seeds == 1:
        return (
            "This is one seed: its intervals are over images, not over training runs, so it says how these checkpoints "
            "did and claims nothing general."
        )
    few = " Two seeds say little about the spread of training runs; three or more are better." if seeds == 2 else ""
    return f"Intervals are 95 %, over images and {seeds} seeds.{few}"


def limits(record: StudyRecord) -> tuple[str, ...]:
    """What a reader must know to read the figures right; the record's own notes come last."""
    summary = record.summary
    notes = [caveat(summary)]
    if len(summary.arms) > 2:
        notes.append(
            "Intervals are not widened for the number of comparisons: one in twenty or so misses the truth by chance."
        )
    notes += [
        f"{row_name(summary, name)} is no arm: it learned from other data than the study's and was not trained here. "
        "Its answers are the same for every seed."
        for name in summary.trained_elsewhere
    ]
    subsets = [c.test_set for c in summary.cells if c.top1.classes < c.top1_all.classes and c.test_set != summary.clean]
    if subsets:
        names = ", ".join(dict.fromkeys(subsets))
        notes.append(
            f"Sets over part of the classes ({names}) are scored with logits restricted to their classes and paired "
            "with the clean set restricted to the same."
        )
    notes += [f"{name} is scored but left out of every mean: {why}." for name, why in summary.left_out.items()]
    shared = summary.protocols[summary.clean]
    notes.append(f"Test images are prepared alike. {shared}.")
    notes += [f"{name} differs. {words}." for name, words in summary.protocols.items() if words != shared]
    if summary.lines:
        notes.append(
            "Effective robustness is shifted accuracy minus what the line of the baseline models predicts from clean "
            "accuracy, in points. ° marks figures that extrapolate: some clean accuracy in them lies outside those the "
            "line was fitted on."
        )
    else:
        notes.append("No baseline models were scored on these test sets, so there is no effective robustness.")
    if summary.multi_id:
        notes.append(
            f"Effective robustness beyond {summary.clean} and {summary.multi_id.second} is shifted accuracy minus what "
            "the plane of the baseline models predicts from the accuracies on both (Shi et al., 2023): it is fairer to "
            f"arms with training data like {summary.multi_id.second}, which one line over {summary.clean} flatters."
        )
    if summary.groups:
        notes.append(
            f"A figure averaged over {averaged_over(record)} gives each arm of a group the same weight. Its interval "
            "resamples the arms too where a group has three or more, and is that of just these arms where it has fewer."
        )
    steps = {arm.steps for arm in record.arms}
    if len(steps) == 1:
        notes.append(f"Every arm trained for the same {count(steps.pop(), 'step')}.")
    elif steps:
        notes.append("Arms trained for different numbers of steps, so part of a difference may be longer training.")
    return (*notes, *record.notes)


def _members(record: StudyRecord) -> str:
    """How many arms a group has: "3 architectures", or, where they differ, "the architectures of each group"."""
    noun, sizes = averaged_over(record), {len(group.arms) for group in record.summary.groups}
    return count(sizes.pop(), noun.removesuffix("s")) if len(sizes) == 1 else f"the {noun} of each group"


def _focus(record: StudyRecord) -> str | None:
    summary = record.summary
    compared = [arm for arm in summary.arms if summary.reference_of(arm) != arm]
    others = [arm for arm in compared if arm not in summary.trained_elsewhere]
    generated = [a.name for a in record.arms if a.parts.keys() - set(record.not_generated) and a.name in others]

    def figure(arm: str) -> float:
        score = summary.mean_top1.get(arm) or summary.arm_top1[arm, summary.clean]
        return score.value

    return max(generated or others, key=figure, default=None)


def _accuracy_sentence(summary: Summary, arm: str) -> str:
    reference, clean = summary.reference_of(arm), difference(summary, arm, summary.clean)
    assert clean is not None  # every arm is scored on the clean set
    if not summary.shifts:
        why = "No shifted test set is large enough to average over"
        return f"{why}; on {summary.clean}, {arm} {_against(clean, reference)}."
    gained = difference(summary, arm, MEAN_OF_SHIFTS)
    assert gained is not None  # a mean over shifts exists for all arms or none
    over = (
        "On the one shifted test set" if len(summary.shifts) == 1 else f"Over {len(summary.shifts)} shifted test sets"
    )
    averaged = "reached" if len(summary.shifts) == 1 else "averaged"
    return (
        f"{over}, {arm} {averaged} {number(summary.mean_top1[arm].value)} % top-1 and {reference} "
        f"{number(summary.mean_top1[reference].value)} %, {_change(gained)}; on the clean set {arm} "
        f"{_against(clean, reference)}."
    )


def _robustness_sentence(record: StudyRecord, arm: str) -> str:
    summary = record.summary
    parts = []
    gained = difference(summary, arm, MEAN_OF_SHIFTS, "er")
    if gained is None:
        parts.append("Effective robustness has no baseline line to be measured from")
    else:
        reference = summary.reference_of(arm)
        ours, theirs = summary.mean_er[arm].value, summary.mean_er[reference].value
        parts.append(
            f"Its effective robustness was {number(ours, True)} points and that of {reference} "
            f"{number(theirs, True)}, {_change(gained)}"
        )
    parts += [
        f"{control.name}, the control with retrieved images, {_against(score, summary.reference_of(control.name))} "
        "over the shifts"
        for control in record.arms
        if RETRIEVED in control.parts and control.name != arm
        if (score := difference(summary, control.name, MEAN_OF_SHIFTS)) is not None
    ]
    return "; ".join(parts) + "."


def _change(score: Score) -> str:
    """A difference after both figures: "a gain of 12.5 points (95 % interval +11.0 to +14.1)"."""
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
