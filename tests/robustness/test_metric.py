"""The metrics against plain computations, on sets where they mean something else or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import beta, norm
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score

from genrobust.core import MEAN_OF_SHIFTS, Predictions, UserError
from genrobust.robustness import Comparison, find_metric, list_metrics, summarize
from genrobust.robustness.metrics.ece import BINS
from genrobust.robustness.metrics.worst_group import MIN_IMAGES

N, CLASSES = 600, 12
PART = [0, 2, 3, 5, 7, 8, 11]  # the classes of the shifted set


def drawn(test_set: str, classes: list[int], seed: int, scale: float = 1.0) -> Predictions:
    rng, shared = np.random.default_rng(seed), np.random.default_rng(len(test_set))
    labels = shared.choice(classes, N)
    logits = rng.normal(size=(N, CLASSES))
    logits[np.arange(N), labels] += 1.5
    names = tuple(f"class-{i}" for i in range(CLASSES))
    keys = tuple(f"{test_set}-{i}" for i in range(N))
    return Predictions(test_set, (scale * logits).astype(np.float32), labels, keys, names, "64 px")


def study(scale: float = 1.0, part: list[int] = PART) -> dict[tuple[str, int, str], Predictions]:
    return {
        (arm, seed, test): drawn(test, classes, 10 * a + seed, scale)
        for a, arm in enumerate(("a", "b"))
        for seed in (0, 1)
        for test, classes in (("test", list(range(CLASSES))), ("shifted", part))
    }


def plainly(found: Predictions, classes: list[int]) -> dict[str, float]:
    """The metrics of one checkpoint over `classes`, by scikit-learn where it has them."""
    inside = np.isin(found.labels, classes)
    labels = np.array([classes.index(label) for label in found.labels[inside]])
    logits = found.logits[inside][:, classes].astype(float)
    columns, predicted = range(len(classes)), logits.argmax(axis=1)
    confidence, right = softmax(logits, axis=1).max(axis=1), predicted == labels
    bins = [(confidence > i / BINS) & (confidence <= (i + 1) / BINS) for i in range(BINS)]
    return {
        "top1": 100 * accuracy_score(labels, predicted),
        "top5": 100 * top_k_accuracy_score(labels, logits, k=5, labels=columns),
        "macro_f1": 100 * f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0),
        "ece": 100 * sum(abs(right[b].mean() - confidence[b].mean()) * b.mean() for b in bins if b.any()),
        "nll": -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean(),
    }


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["logits", "scaled as CLIP's"])
def test_metrics_are_those_of_a_plain_computation_with_logits_restricted_alike(scale: float) -> None:
    found = study(scale)
    summary = summarize(found, Comparison("test", ["shifted"], "a", bootstrap=50))
    assert summary.paired["shifted"] == "test on the classes of shifted"
    for arm, seed in (("a", 0), ("b", 1)):
        for name, of, classes in (
            ("test", "test", list(range(CLASSES))),
            ("shifted", "shifted", PART),
            ("test on the classes of shifted", "test", PART),
        ):
            for metric, value in plainly(found[arm, seed, of], classes).items():
                score = summary.score(metric, arm, name, seed)
                assert score.value == pytest.approx(value, rel=1e-4), (metric, name)
                assert score.lo <= score.value <= score.hi and score.classes == len(classes)


@pytest.mark.thorough
def test_intervals_are_those_of_drawing_images_one_by_one() -> None:
    found = study()
    summary = summarize(found, Comparison("test", ["shifted"], "a", bootstrap=1500))
    one, rng, draws = found["a", 0, "shifted"], np.random.default_rng(1), []
    for _ in range(300):
        at = rng.integers(0, N, N)
        draws.append(plainly(replace(one, logits=one.logits[at], labels=one.labels[at]), PART))
    for metric in ("ece", "nll", "macro_f1"):
        values = [draw[metric] for draw in draws]
        score = summary.score(metric, "a", "shifted", 0)
        width = np.subtract(*np.percentile(values, [97.5, 2.5]))
        assert score.hi - score.lo == pytest.approx(width, rel=0.25), metric


def test_any_of_several_right_labels_counts() -> None:
    found = study(part=list(range(CLASSES)))
    both = {k: replace(p, accepted=tuple((int(y), int(y + 1) % CLASSES) for y in p.labels)) for k, p in found.items()}
    comparison = Comparison("test", ["shifted"], "a", bootstrap=20)
    one, two = (summarize(predictions, comparison) for predictions in (found, both))
    for metric in ("top1", "top5", "macro_f1"):
        assert two.score(metric, "a", "shifted").value > one.score(metric, "a", "shifted").value
    p = both["a", 0, "shifted"]
    rows = zip(p.logits, p.accepted, strict=True)
    probability = [softmax(row.astype(float))[list(labels)].sum() for row, labels in rows]
    assert two.score("nll", "a", "shifted", 0).value == pytest.approx(-np.mean(np.log(probability)), rel=1e-4)


def test_an_image_whose_own_label_is_not_among_the_classes_counts_by_another_right_one() -> None:
    found = study()
    clean = found["a", 0, "test"]
    outside = np.isin(clean.labels, PART, invert=True)
    labels = np.where(outside, PART[0], clean.labels)  # what else is right for these images
    one, two = (
        {key: p if key[2] == "shifted" else changed(p) for key, p in found.items()}
        for changed in (
            lambda p: replace(p, labels=labels),
            lambda p: replace(p, accepted=tuple((int(label),) for label in labels)),
        )
    )
    comparison = Comparison("test", ["shifted"], "a", bootstrap=20)
    first, second = (summarize(predictions, comparison) for predictions in (one, two))
    for metric in ("top1", "macro_f1"):
        name = first.paired["shifted"]
        assert second.score(metric, "a", name).value == pytest.approx(first.score(metric, "a", name).value), metric


def test_a_metric_that_means_nothing_on_a_set_is_a_gap_with_a_reason() -> None:
    few = study(part=[1, 4, 6])
    few = {k: p if k[2] == "test" else replace(p, logits=p.logits[:20], labels=p.labels[:20], keys=p.keys[:20])
           for k, p in few.items()}  # fmt: skip
    few["b", 1, "shifted"].logits[0, few["b", 1, "shifted"].labels[0]] = -np.inf
    summary = summarize(few, Comparison("test", ["shifted"], "a", bootstrap=20, min_images=5))
    assert "over 3 classes" in summary.gaps["top5"]["shifted"]
    assert "no probability" in summary.gaps["nll"]["shifted"]
    for metric in ("top5", "nll"):
        assert summary.find(metric, "a", "shifted") is summary.find(metric, "a") is None
        assert summary.find(metric, "a", "test") is not None
    assert summary.find("ece", "a") is not None


@pytest.mark.parametrize("is_right", [False, True])
def test_a_group_that_is_always_wrong_or_right_has_an_interval(is_right: bool) -> None:
    found, groups = study(), {"shifted": [f"camera {i // 200}" for i in range(N)]}
    for (_, _, test), p in found.items():
        if test == "shifted":
            images = slice(None) if is_right else slice(200)
            p.logits[images] = (9 if is_right else -9) * np.eye(CLASSES)[p.labels[images]]
    summary = summarize(found, Comparison("test", ["shifted"], "a", bootstrap=500, image_groups=groups))
    score = summary.score("worst_group", "a", "shifted", 0)
    assert score.value == 100 * is_right and score.lo <= score.value <= score.hi
    # Of 200 images: the quantiles of the posterior of Jeffreys' prior.
    wrong = 100 * beta.ppf(0.975, 0.5, 200.5)
    end = 100 - score.lo if is_right else score.hi
    assert end == pytest.approx(wrong, rel=0.2)


def test_groups_of_few_images_have_no_worst_one() -> None:
    groups = {"shifted": [f"camera {i // (MIN_IMAGES - 1)}" for i in range(N)]}
    summary = summarize(study(), Comparison("test", ["shifted"], "a", bootstrap=20, image_groups=groups))
    assert summary.gaps["worst_group"]["shifted"] == f"no group has {MIN_IMAGES} images"


def test_the_worst_group_is_one_of_enough_images_and_its_interval_is_over_images() -> None:
    found, groups = study(), {"shifted": [f"camera {min(i // 100, 5)}" for i in range(N)]}
    groups["shifted"][:3] = ["too few"] * 3
    found["b", 0, "shifted"].logits[100:200, :] = 0  # nearly all wrong
    found["b", 0, "shifted"].logits[:3, :] = -1.0 * np.eye(CLASSES)[found["b", 0, "shifted"].labels[:3]]
    summary = summarize(found, Comparison("test", ["shifted"], "a", bootstrap=300, image_groups=groups))
    p = found["b", 0, "shifted"]
    right = np.array(PART)[p.logits[:, PART].argmax(axis=1)] == p.labels
    of_groups = [right[np.array(groups["shifted"]) == f"camera {i}"].mean() for i in range(6)]
    score = summary.score("worst_group", "b", "shifted", 0)
    assert score.value == pytest.approx(100 * min(of_groups)) and score.lo < score.value < score.hi < score.lo + 20
    assert summary.gaps["worst_group"]["test"] == "its images have no groups"


WAYS, PICTURES, SETS = 20, 240, ("noise", "blur")  # each picture in so many ways, in two sets


def copies_of_pictures(pictures: int = PICTURES, easy: float = 0.6) -> dict[tuple[str, int, str], Predictions]:
    """Answers that depend on the picture far more than on its copy; each third picture is hard."""
    rng = np.random.default_rng(0)
    labels, hard = rng.integers(0, CLASSES, pictures), rng.random(pictures) + 0.3 * (np.arange(pictures) % 3 == 0)
    found = {}
    for test, ways in {"test": 1, **dict.fromkeys(SETS, WAYS)}.items():
        of_copies = np.tile(labels, ways)
        right = 0.9 * np.tile(hard, ways) + 0.1 * rng.random(len(of_copies)) < easy
        logits = np.eye(CLASSES, dtype=np.float32)[np.where(right, of_copies, (of_copies + 1) % CLASSES)]
        keys = tuple(f"{way}/{i}" for way in range(ways) for i in range(pictures))
        found["a", 0, test] = Predictions(test, logits, of_copies, keys, tuple(map(str, range(CLASSES))))
    return found


def copied(pictures: int = PICTURES) -> dict[str, list[str]]:
    return {test: [f"picture {i}" for i in range(pictures)] * WAYS for test in SETS}


def designers(count: int, pictures: int = PICTURES) -> dict[str, list[str]]:
    names = [f"designer {i % count}" for i in range(pictures)]
    return {"test": names} | dict.fromkeys(SETS, names * WAYS)


@pytest.mark.parametrize(("metric", "groups"), [("top1", 0), ("top1", 1), ("macro_f1", 1), ("worst_group", 3)])
@pytest.mark.parametrize("test", ["noise", MEAN_OF_SHIFTS])
def test_the_copies_of_a_picture_say_no_more_than_the_picture(metric: str, groups: int, test: str) -> None:
    """Also where all pictures are of one group, and in the mean over sets of the same pictures."""
    found, of = copies_of_pictures(), np.arange(PICTURES) % max(groups, 1)
    named = designers(groups) if groups else {}
    summary = summarize(
        found,
        Comparison("test", SETS, "a", image_groups=named, pictures=copied()),
        metrics=[find_metric("top1"), find_metric(metric)],
    )
    score = summary.score(metric, "a", test)
    right = np.stack([p.logits.argmax(axis=1) == p.labels for p in (found["a", 0, t] for t in SETS)])
    right = right.reshape(len(SETS), WAYS, PICTURES).mean(axis=1)[: 1 if test == "noise" else None]
    lowest = right[0, of == np.argmin([right[0, of == g].mean() for g in range(max(groups, 1))])]
    of_pictures = (lowest if metric == "worst_group" else right.mean(axis=0)).astype(float)
    half = 100 * norm.ppf(0.975) * of_pictures.std() / np.sqrt(len(of_pictures))
    assert (score.hi - score.lo) / 2 == pytest.approx(half, rel=0.15)


def test_copies_that_are_all_right_are_as_sure_as_their_pictures() -> None:
    found, few = copies_of_pictures(40, easy=1.4), Comparison("test", SETS, "a", pictures=copied(40), min_images=30)
    score = summarize(found, few, metrics=[find_metric("top1")]).score("top1", "a", "noise", 0)
    assert (score.lo, score.hi) == pytest.approx((100 * beta.ppf(0.025, 40, 1), 100), abs=1)


def test_the_copies_of_a_picture_are_one_image() -> None:
    comparison = Comparison("test", SETS, "a", bootstrap=20, pictures=copied(9), image_groups=designers(1, 9))
    summary = summarize(copies_of_pictures(9), replace(comparison, min_images=10))
    assert summary.gaps["worst_group"]["noise"] == f"no group has {MIN_IMAGES} images"
    assert summary.left_out == dict.fromkeys(SETS, "9 images, fewer than 10")


def test_some_metrics_are_measured_as_among_all_with_top1_beside_them() -> None:
    comparison = Comparison("test", ["shifted"], "a", bootstrap=20)
    every, some = (summarize(study(), comparison, metrics=asked) for asked in (None, [find_metric("nll")]))
    assert some.scores == {key: score for key, score in every.scores.items() if key.metric in ("top1", "nll")}


def test_logits_of_half_precision_are_summed_in_full() -> None:
    halves = {key: replace(p, logits=p.logits.astype(np.float16)) for key, p in study(8.0).items()}
    full = {key: replace(p, logits=p.logits.astype(np.float32)) for key, p in halves.items()}
    one, other = (summarize(found, Comparison("test", ["shifted"], "a", bootstrap=20)) for found in (halves, full))
    assert one.scores == other.scores


def test_the_main_metrics_come_first_and_an_unknown_one_is_named() -> None:
    names = [metric.name for metric in list_metrics()]
    assert names[:2] == ["top1", "er"] and names[-2:] == ["ece", "nll"], "those where lower is better come last"
    assert set(names[2:-2]) == {"macro_f1", "top1_adapted", "top5", "worst_group"}
    with pytest.raises(UserError, match=r"no metric 'top6' \(perhaps top5"):
        find_metric("top6")


BRIER = """
import numpy as np
from genrobust import ImageMetric

class Brier(ImageMetric):
    title, note, unit = "Brier score", "the squared distance of probabilities and label", ""

    def of_images(self, answers):
        return ((np.exp(answers.logits - answers.normalizer[:, None]) - answers.right) ** 2).sum(axis=1)
"""


def test_a_metric_of_another_package_is_measured_and_moves_no_other(install: Callable[..., None]) -> None:
    comparison = Comparison("test", ["shifted"], "a", bootstrap=20)
    before = summarize(study(), comparison)
    install("genrobust.metrics", "brier_score", BRIER, brier="brier_score:Brier")
    after = summarize(study(), comparison)
    assert 0 < after.score("brier", "a").value < 2
    assert {key: score for key, score in after.scores.items() if key.metric != "brier"} == before.scores
