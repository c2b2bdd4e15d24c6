"""The section on images without labels: estimated accuracies, predicted classes, and images to look at."""

from __future__ import annotations

import numpy as np

from genrobust.core import EstimatorErrors, Summary, UnlabeledSet, count
from genrobust.report.page_templates import unbroken
from genrobust.report.report_section import ReportSection, Table, plain_table, template_of
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.thumbnails import Thumbnail, data_uri
from genrobust.report.wording import number

# The estimator in the sentences. On icons and photographs its uncorrected estimates were the best ones
# (docs/results/unlabeled.md).
LEADING = "cot"
# Classes in a table of predicted classes: those whose shares differ most.
MOST_CLASSES = 10


@SECTIONS.register("unlabeled")
def unlabeled(view: ReportView) -> ReportSection | None:
    """Return the estimates for each set. None if the study has no images without labels."""
    found = view.record.unlabeled
    if not found.sets:
        return None
    errors = {each.name: each for each in found.estimators}
    pictures: list[tuple[str, list[Thumbnail]]] = []
    tables: list[Table] = []
    items: list[str] = []
    for each in found.sets:
        items.append(describe_best(each, errors[LEADING], view.summary))
        tables.append(_estimates_table(each, found.estimators))
        tables.append(_classes_table(view, each))
        shown = _disputed(view, each.name)
        if shown:
            pictures.append((each.name, shown))
    items.append(_describe_errors(errors[LEADING]))
    items += _warn_of_learned(view)
    definitions = [f"{each.title}: {each.note}." for each in found.estimators]
    return ReportSection(
        title="Images without labels",
        order=45,
        label="Without labels",
        lead="Predictions of the arms on images without labels, and the accuracy that they suggest. An estimate is no "
        "measurement. It fails if classes are more or less frequent than in training, if images show none of the "
        "classes, or if an arm is wrong and confident. To be sure, label a few images: genrobust label.",
        items=items,
        tables=tables,
        note=" ".join(definitions),
        template=template_of(__file__),
        values={"disputed": pictures},
    )


def describe_best(found: UnlabeledSet, errors: EstimatorErrors, summary: Summary) -> str:
    """Describe the arm with the highest estimate, and how it compares with its reference."""
    estimates = found.estimates[LEADING]
    # Of equal estimates, take the one of the reference.
    best = max(estimates, key=lambda arm: (estimates[arm], arm == summary.reference))
    reference = summary.reference_of(best)
    said = f"{found.name}, {count(found.size, 'image')}: the highest estimate is {best}, {number(estimates[best])} %"
    if best == reference:
        return f"{said}."
    gain = estimates[best] - estimates[reference]
    said += f"; {reference} has {number(estimates[reference])} %. {best} is probably better, by an unknown amount"
    share = found.differing.get(best)
    if share is not None:
        differing = number(100 * share)
        said += f" (the estimates differ by {number(gain)} points, the predictions on {differing} % of the images)"
    if errors.pairs:
        said += f". On labeled shifts, the order of an arm and its reference was right in {errors.right_signs} of "
        said += f"{errors.pairs} cases"
    return f"{said}."


def _describe_errors(errors: EstimatorErrors) -> str:
    """Say how far estimates were off on labeled shifts."""
    if errors.mean is None or errors.largest is None:
        return "Warning: this study has no labeled shift, so nobody knows how far the estimates are off."
    shifts = count(errors.shifts, "labeled shift")
    said = f"On {shifts}, {errors.title} was off by {number(errors.mean)} points on average, by at most "
    said += f"{number(errors.largest)}."
    if not errors.corrected:
        said += " One labeled shift is too few to correct the estimates."
    return said


def _warn_of_learned(view: ReportView) -> list[str]:
    """Name the arms that learned from predicted labels, which makes them confident where they are wrong."""
    names = {each.name for each in view.record.unlabeled.sets}
    learned = [arm.name for arm in view.record.arms if names & arm.parts.keys()]
    if not learned:
        return []
    return [f"Warning: estimates are too high for arms that learned from predicted labels: {', '.join(learned)}."]


def _estimates_table(found: UnlabeledSet, estimators: tuple[EstimatorErrors, ...]) -> Table:
    """Return the estimate of each estimator for each arm, with the errors on labeled shifts below."""
    heads = ["arm", *(each.title for each in estimators)]
    arms = list(next(iter(found.estimates.values())))
    rows = [[arm, *(number(found.estimates[each.name][arm]) for each in estimators)] for arm in arms]
    if estimators[0].mean is not None:
        rows.append(["mean error on labeled shifts", *(_points(each.mean) for each in estimators)])
        rows.append(["largest error", *(_points(each.largest) for each in estimators)])
    return plain_table(heads, rows, f"{found.name}: estimated top-1 accuracy in percent, errors in points")


def _points(value: float | None) -> str:
    return "" if value is None else number(value)


def _classes_table(view: ReportView, found: UnlabeledSet) -> Table:
    """Return the share of each class in training and in the predictions of each arm."""
    names = view.record.class_names
    shares = {"real training images": view.record.train_shares, **found.class_shares}
    stacked = np.stack(list(shares.values()))
    spread = stacked.max(axis=0) - stacked.min(axis=0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:MOST_CLASSES]).tolist()
    rows = [[names[k], *(number(100 * values[k]) for values in shares.values())] for k in chosen]
    if len(chosen) == len(names):
        which = ""
    else:
        which = f", the {len(chosen)} classes that differ most"
    return plain_table(["class", *shares], rows, f"{found.name}: share of each predicted class in percent{which}")


def _disputed(view: ReportView, name: str) -> list[Thumbnail]:
    """Return the pictures of a set on which arms disagree."""
    pictures = [picture for picture in view.record.disputed if picture.image_set == name]
    return [Thumbnail(data_uri(each.data), f"{name}: {each.key}", unbroken(each.predicted)) for each in pictures]
