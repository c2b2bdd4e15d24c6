"""The record of a study for its report: scores, trainings, times, pictures and warnings."""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

import numpy as np

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import (
    RETRIEVED,
    RETRIEVED_BY_CLASS,
    ArmRecord,
    Claim,
    DisputedPicture,
    ImageSet,
    LabelSpace,
    MissedImage,
    MissedPicture,
    Picture,
    StudyData,
    StudyRecord,
    Summary,
    cores,
    count,
    hardware,
    some_of,
)
from genrobust.data import LINE_SOURCE, ShardDataset
from genrobust.recipe import ArmConfig, recipe_yaml
from genrobust.report import thumbnail_bytes
from genrobust.robustness import confidences, confident_mistakes
from genrobust.study.batch import batches_of, in_order
from genrobust.study.plan import StudyPlan
from genrobust.study.provenance import Makers, describe_makers
from genrobust.study.results.initial_weights import describe_starts, name_starts
from genrobust.study.results.scoring import StudyScores
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.predict import open_predictions
from genrobust.study.steps.seen import describe_starts_seen
from genrobust.study.steps.step import Step
from genrobust.study.training_runs import TrainingRun, arm_runs

PER_SOURCE = 7  # most images of a class from a source: one per style
WITHOUT_STYLES = 3  # images of a class that has fewer styles
# A warning names arms whose validation accuracy rises by so many points in the last part of their training.
LEAST_RISE = 2.0
LAST_PART = 0.25
# A warning names arms that predict one class for this share of the images.
NEARLY_ALL = 0.9
# Images without labels that are shown of each set.
DISPUTED = 12
# Mistakes that are shown of each arm, over all test sets.
MISTAKES_OF_ARM = 24
# About 1.5 kB each, since a report is one file. If there are more pictures, classes are left out evenly.
PICTURES = 2400


def record_of(plan: StudyPlan, scores: StudyScores, command: str, makers: Sequence[Makers]) -> StudyRecord:
    """Return the record of a finished study, which `command` and `makers` made."""
    recipe = plan.recipe
    context = plan.context
    description = plan.description()
    pictured = {name: plan.images(name).open() for name in plan.pictured()}
    arms = tuple(_arm_record(plan, arm) for arm in recipe.arms)
    return StudyRecord(
        title=recipe.title or recipe.name,
        question=recipe.question,
        command=command,
        recipe_yaml=recipe_yaml(recipe),
        date=datetime.date.today().isoformat(),
        summary=scores.summary,
        arms=arms,
        stages=context.times.records,
        pictures=tuple(gallery(context.data.labels, pictured)),
        environment=environment(context.device, recipe.threads, context.executor.workers()),
        baselines=tuple(scores.baselines),
        notes=(*_notes(plan, scores), *scores.notes),
        not_generated=recipe.not_generated,
        claims=tuple(Claim(**claim.model_dump()) for claim in recipe.claims),
        qualities=() if description is None else description.measure(),
        curves=scores.curves,
        answer=recipe.answer or "",
        class_names=context.data.labels.names,
        missed=(*_missed_pictures(context.data, scores.summary), *_mistakes_of_arms(plan, scores.summary.tests)),
        made_by=describe_makers(makers),
        warnings=(*_warnings(plan, arms), *single_predictions(scores.summary, context.data.labels.names)),
        cells=tuple(cells for cells in scores.cells if cells.absent in scores.summary.subsets),
        on_cores=context.device == "cpu",
        starts=name_starts(recipe),
        unlabeled=scores.unlabeled,
        disputed=tuple(_disputed_pictures(plan)),
        train_shares=tuple(_class_shares(plan)),
    )


def _arm_record(plan: StudyPlan, arm: ArmConfig) -> ArmRecord:
    """Describe the training data, the validation accuracy and the time of an arm."""
    classifiers = [plan.arm(arm.name, seed) for seed in plan.recipe.seeds]
    trainings = [read_checkpoint_info(classifier.folder).training for classifier in classifiers]
    accuracies = [training["best_val_top1"] for training in trainings]
    run = classifiers[0].run
    train = classifiers[0].settings
    mixture = classifiers[0].open_mixture()
    steps = train.steps_for(len(mixture))
    trained: dict[str, str] = {}
    for classifier, training in zip(classifiers, trainings, strict=True):
        trained[str(classifier.run.seed)] = training.get("run", "")
    return ArmRecord(
        run.of,
        dict(mixture.counts),
        train.network_in_words(run.alpha),
        train.augmented,
        steps,
        train.batch_size,
        drawing={part.source: part.drawing_in_words for part in run.parts if part.drawing},
        # There is no accuracy without validation images.
        val_top1=None if None in accuracies else float(np.mean(accuracies)),
        val_curve=_mean_curve([training.get("history", []) for training in trainings]),
        seconds=device_seconds(plan, run),
        started_from=train.origin_arm or "",
        trained=trained,
    )


def _mean_curve(histories: Sequence[Sequence[Mapping[str, float]]]) -> dict[int, float]:
    """Return the validation accuracy by step, a mean over seeds, for the steps at which every seed was validated."""
    curves = [{int(entry["step"]): entry["val_top1"] for entry in history} for history in histories]
    steps = [step for step in curves[0] if all(step in curve for curve in curves)]
    return {step: float(np.mean([curve[step] for curve in curves])) for step in steps}


def device_seconds(plan: StudyPlan, run: TrainingRun) -> dict[str, float]:
    """Return the seconds per stage in which one core makes all that `run` mixes and then trains it.

    On a GPU, they are seconds of the device. The training of a classifier that `run` starts from counts, if the study
    trains it. Work that arms share counts in full, because the run alone would cost it. Generated images that only
    determine how many are retrieved do not count. The result is empty if the rate of an item is not known.
    """
    steps = list(dict.fromkeys(_steps_of(plan.classifier(run.tuned))))
    seconds: dict[str, float] = {}
    for batch in batches_of(steps):
        step = batch.first
        used_cores = step.threads if plan.context.device == "cpu" else 1
        for item in batch.items():
            rate = batch.rate(item)
            if rate is None:
                return {}
            seconds[step.stage] = seconds.get(step.stage, 0) + used_cores * item.total * item.each / rate
    return seconds


def _steps_of(classifier: ClassifierStep) -> Iterator[Step]:
    """Yield the steps that make the images of `classifier`, the classifiers that it starts from, and itself."""
    if classifier.origin is not None:
        yield from _steps_of(classifier.origin)
    for mixed in classifier.parts:
        if mixed.part.source not in (RETRIEVED, RETRIEVED_BY_CLASS):
            yield from in_order([mixed.source])
    yield classifier


def _notes(plan: StudyPlan, scores: StudyScores) -> Iterator[str]:
    """Yield notes on published lines, on the starts of networks, and on the results of retrieval."""
    if scores.summary.lines and not scores.baselines:
        yield f"Baseline lines: {LINE_SOURCE}; intervals are over images and the lines' own errors."
    yield from describe_starts(plan)
    yield from plan.describe_found()


def last_rise(curve: Mapping[int, float], images: int) -> float | None:
    """Return by how many points the accuracy rose in the last quarter of a training. None if it may be chance.

    Args:
        curve: The accuracy on `images` validation images, in percent, by step.
    """
    if not curve:
        return None
    last = max(curve)
    before = [step for step in curve if step <= (1 - LAST_PART) * last]
    if not before:
        return None
    share = curve[last] / 100
    two_errors = 200 * math.sqrt(share * (1 - share) / images)
    rise = curve[last] - curve[max(before)]
    return rise if rise >= max(LEAST_RISE, two_errors) else None


def single_predictions(summary: Summary, names: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each arm that predicts one class for nearly all images, if most images show others."""
    for side, reports in summary.class_reports.items():
        for arm, report in reports.items():
            if report.matrix is None:
                continue
            counts = np.array(report.matrix)
            label = int(counts.sum(axis=0).argmax())
            predicted = float(counts[:, label].sum() / counts.sum())
            shown = float(counts[label].sum() / counts.sum())
            if predicted >= NEARLY_ALL and shown < 0.5:
                yield (
                    f"Warning: {arm} predicts {names[label]} for {100 * predicted:.0f} % of the images of {side}, and "
                    f"{100 * shown:.0f} % show it."
                )


def _warnings(plan: StudyPlan, arms: Sequence[ArmRecord]) -> Iterator[str]:
    """Yield reasons to doubt the answer, whatever its numbers, such as a class that a filter emptied."""
    for notice in (*plan.context.notices, *describe_starts_seen(plan.context), *plan.doubts()):
        yield f"Warning: {notice}."
    for name in plan.recipe.generated_sets():
        images = plan.unfiltered(name).open()
        copies = images.describe_copies() if isinstance(images, ShardDataset) else ""
        if copies:
            yield f"Warning: of the source {name}, {copies}."
    val_images = len(plan.context.data.val)
    for record in arms:
        rise = last_rise(record.val_curve, val_images)
        if rise is not None:
            yield (
                f"Warning: the validation accuracy of {record.name} still rose by {rise:.1f} points in the last "
                "quarter of its training: increase train.steps."
            )
    names = plan.context.data.labels.names
    for arm in plan.recipe.arms:
        learned = {*np.unique(plan.arm(arm.name).open_mixture().labels).tolist()}
        missing = [name for label, name in enumerate(names) if label not in learned]
        if missing:
            yield f"Warning: {arm.name} trains on no image of {count(len(missing), 'class')}: {some_of(missing)}."


def gallery(labels: LabelSpace, sources: Mapping[str, ImageSet], most: int = PICTURES) -> Iterator[Picture]:
    """Yield about `most` pictures of the classes from each of `sources`, one of each style first."""
    chosen = {origin: _one_of_each_style(images, len(labels)) for origin, images in sources.items()}
    found = 0
    for by_class in chosen.values():
        found += sum(map(len, by_class))
    stride = max(1, math.ceil(found / most))
    for label in range(0, len(labels), stride):
        for origin, images in sources.items():
            for index in chosen[origin][label]:
                yield Picture(
                    data=thumbnail_bytes(images.image(index)),
                    origin=origin,
                    class_name=labels.names[label],
                    style=images.styles[index],
                    caption=images.keys[index],
                )


def _one_of_each_style(images: ImageSet, classes: int) -> list[list[int]]:
    """Choose the images of each class that are shown."""
    order = np.argsort(images.labels, kind="stable")
    starts = np.searchsorted(images.labels[order], range(1, classes))
    by_class: list[list[int]] = []
    for members in np.split(order, starts):
        firsts: dict[str, int] = {}
        for i in reversed(members.tolist()):
            firsts[images.styles[i]] = i
        one_of_each = list(firsts.values())[::-1]
        others = [i for i in members[: PER_SOURCE + 1].tolist() if i not in one_of_each]
        number = min(max(len(one_of_each), WITHOUT_STYLES), PER_SOURCE)
        chosen = [*one_of_each, *others][:number]
        by_class.append(sorted(chosen, key=lambda i: images.styles[i]))
    return by_class


def _missed_pictures(data: StudyData, summary: Summary) -> Iterator[MissedPicture]:
    """Yield the images that every classifier gets wrong, each with its most frequent prediction."""
    names = data.labels.names
    for missed in summary.missed:
        image = thumbnail_bytes(data.tests[missed.test_set].image(missed.index))
        yield _missed_picture(missed, image, names)


def _mistakes_of_arms(plan: StudyPlan, tests: Sequence[str]) -> Iterator[MissedPicture]:
    """Yield the most confident mistakes of each arm's first seed, at most as many of each test set."""
    data = plan.context.data
    names = data.labels.names
    runs = [run for run in arm_runs(plan.recipe) if run.seed == plan.recipe.seeds[0]]
    opened = open_predictions([plan.prediction(run) for run in runs])
    most = math.ceil(MISTAKES_OF_ARM / len(tests))
    thumbnails: dict[tuple[str, int], bytes] = {}
    for arm, saved in zip(plan.recipe.arm_names, opened, strict=True):
        for test in tests:
            for mistake in confident_mistakes(saved[test], most):
                place = (test, mistake.index)
                if place not in thumbnails:
                    thumbnails[place] = thumbnail_bytes(data.tests[test].image(mistake.index))
                yield _missed_picture(mistake, thumbnails[place], names, arm)


def _missed_picture(missed: MissedImage, image: bytes, names: Sequence[str], arm: str = "") -> MissedPicture:
    predicted = f"{names[missed.said]} ({100 * missed.share:.0f} %)"
    return MissedPicture(image, missed.test_set, names[missed.label], predicted, missed.key, arm)


def _disputed_pictures(plan: StudyPlan) -> Iterator[DisputedPicture]:
    """Yield the images without labels on which the first seeds of the arms disagree most.

    These are images with the most different predictions. Of equal ones, those with the most confident ones come first.
    """
    unlabeled = plan.context.data.unlabeled
    if not unlabeled:
        return
    names = plan.context.data.labels.names
    seed = plan.recipe.seeds[0]
    arms = plan.recipe.arm_names
    opened = open_predictions([plan.prediction(run) for run in arm_runs(plan.recipe) if run.seed == seed])
    for test, images in unlabeled.items():
        answers = [confidences(saved[test]) for saved in opened]
        predicted = np.stack([labels for labels, _ in answers])
        confidence = np.mean([values for _, values in answers], axis=0)
        different = 1 + (np.diff(np.sort(predicted, axis=0), axis=0) != 0).sum(axis=0)
        order = np.lexsort((-confidence, -different))
        disputed = [place for place in order[:DISPUTED].tolist() if different[place] > 1]
        for place in disputed:
            by_class: dict[str, list[str]] = {}
            for arm, label in zip(arms, predicted[:, place].tolist(), strict=True):
                by_class.setdefault(names[label], []).append(arm)
            words = "; ".join(f"{name}: {', '.join(voters)}" for name, voters in by_class.items())
            yield DisputedPicture(thumbnail_bytes(images.image(place)), test, words, images.keys[place])


def _class_shares(plan: StudyPlan) -> list[float]:
    """Return the share of the real training images of each class."""
    images = plan.context.data.train
    shares = plan.context.count_by_class(images) / len(images)
    return [float(share) for share in shares]


def environment(device: str, threads: int, workers: int) -> dict[str, str]:
    """Describe the machine that writes the report, by name: no host name, no path."""
    computes = f" ({hardware(device).why})" if device == "cpu" else ""
    return {
        "report by": f"genrobust {metadata.version('genrobust')}",
        "Python": platform.python_version(),
        "machine": f"{count(cores(), 'CPU core')}, {platform.machine()}, {platform.system()}",
        "device": f"{device}{computes}; {count(workers, 'worker')} of {count(threads, 'thread')}",
    }
