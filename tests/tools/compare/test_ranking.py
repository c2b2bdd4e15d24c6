"""Rankings of what studies trained on: the studies' own metrics, apart where they cannot be compared."""

import csv
import json
from dataclasses import replace

import pytest

from genrobust.core import ArmRecord, UserError
from genrobust.report.view import ReportView
from genrobust.report.write import write_report
from genrobust.tools.compare.ranking import find_results, rank

NAMES = {test: f"{test}-hash" for test in ("test", "solid", "emoji", "pixel")}
SECONDS = ({"train": 60.0}, {"generate": 120.0, "train": 90.0}, {"train": 60.0})


@pytest.fixture
def study(record, tmp_path):
    """Writes the report of a study, the record with changes of itself and of its summary; returns its folder."""
    arms = tuple(replace(arm, seconds=seconds) for arm, seconds in zip(record.arms, SECONDS, strict=True))

    def write(name, of_summary=None, **changes):
        summary = replace(record.summary, **(of_summary or {}))
        changed = {"arms": arms, "summary": summary, **changes}
        write_report(ReportView(replace(record, **changed)), tmp_path / name)
        return tmp_path / name

    return write


def rankings_of(*runs):
    return rank(find_results(map(str, runs)))


def without(record, arm):
    """The arms and the scores of `record` without those of `arm`."""
    summary = record.summary
    scores = {key: score for key, score in summary.scores.items() if arm not in (key.arm, key.minus)}
    return {"arms": tuple(name for name in summary.arms if name != arm), "scores": scores}


def test_the_order_and_the_metrics_are_those_of_each_study(study, record):
    lower = {key: replace(score, value=score.value - 1) for key, score in record.summary.scores.items()}
    folders = [study("one"), study("two", {"scores": lower})]
    (ranking,) = rankings_of(*folders)
    expected = []
    for folder in folders:
        with (folder / "results.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "top1" and not row["seed"]]
        found = {(row["arm"], row["test_set"], row["minus"]): row for row in rows}
        means = {arm: row for (arm, test, minus), row in found.items() if test == "mean of shifts" and not minus}
        gains = {arm: found[arm, "mean of shifts", "real"] for arm in means if arm != "real"}
        for arm, row in means.items():
            expected.append((float(row["value"]), float(row["lo"]), folder.name, arm, gains.get(arm, {}).get("value")))
    expected.sort(key=lambda row: -row[0])
    assert [
        (
            arm.leading.value,
            arm.leading.lo,
            arm.results.path.parent.name,
            arm.record.name,
            None if arm.gain.value is None else str(arm.gain.value),
        )
        for arm in ranking.rows
    ] == expected
    best = [[arm.name for arm in ranking.rows if arm.entries[column.name].best] for column in ranking.columns]
    assert best == [["real+retrieved"]] * 4 + [[]]  # of both studies, and none of what is left out of the mean


@pytest.mark.parametrize(
    ("kind", "of_summary", "changes"),
    [
        ("seeds", {"seeds": (0, 1)}, {}),
        ("preparation", {"protocols": dict.fromkeys(NAMES, "32 px: center crop")}, {}),
        ("shifts in the mean", {"shifts": ("solid", "emoji", "pixel"), "left_out": {}}, {}),
        ("test sets", {}, {"test_images": {**NAMES, "solid": "other-hash"}}),
        ("classes", {}, {"class_names": ("camera", "crane", "crow")}),
    ],
)
def test_what_cannot_be_compared_is_ranked_apart_and_says_why(study, record, kind, of_summary, changes):
    other = study("other", {**without(record, "real+retrieved"), **of_summary}, **changes)
    ranking, apart = rankings_of(other, study("one"))
    assert (ranking.heading, apart.heading) == ("Ranking 1", f"Ranking 2: other {kind}")
    assert [len(ranking.rows), len(apart.rows)] == [3, 2]  # the larger one first
    assert not ranking.differences and all(" instead of " in words for words in apart.differences)


def test_what_changes_no_score_is_ranked_together_and_an_arm_that_comes_twice_once(study, record):
    names = {str(seed): f"run {seed}" for seed in record.summary.seeds}
    arms = (*record.arms[:2], replace(record.arms[2], trained=names))
    one = study("a/one", arms=arms, recipe_yaml="no: recipe")
    again = study("b/one", arms=arms, recipe_yaml="no: recipe", date="2026-02-28", environment={"machine": "another"})
    (ranking,) = rankings_of(one, one / "results.json", again, study("two", title="another"))
    assert len(ranking.rows) == 6 and ranking.heading == "Ranking"
    assert {arm.results.date for arm in ranking.rows if arm.study == "one"} == {"2026-02-28"}


def test_a_generated_source_is_described_by_the_recipe(study, record):
    recipe = """
    name: known
    arms: [{name: real, mixture: real}, {name: real+generated, mixture: [real, generated, sure]}]
    datasets: {sure: {generator: {guidance_scale: 5}, filter: {by: clip, clip: pictograms, drop: 0.3}}}
    """
    mixed = replace(record.arms[1], parts={"real": 10, "generated": 20, "sure": 30})
    (ranking,) = rankings_of(study("one", arms=(record.arms[0], mixed, record.arms[2]), recipe_yaml=recipe))
    (arm,) = [arm for arm in ranking.rows if arm.made_by]
    assert (arm.study, arm.mixture, arm.generated) == ("known", "10 real + 20 generated + 30 sure", 50)
    assert "guidance 3" in arm.made_by[0] and "guidance 5" in arm.made_by[1]
    assert "lowest 30 %" in arm.made_by[1] and "filter" not in arm.made_by[0]


def test_a_clip_that_no_arm_trained_is_no_row(study, record):
    elsewhere = {"trained_elsewhere": ("real+retrieved",)}
    (ranking,) = rankings_of(study("one", elsewhere, arms=record.arms[:2]))
    assert [arm.name for arm in ranking.rows] == ["real+generated", "real"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found["summary"]["scores"][0].update(value="high"),
        lambda found: found["summary"]["scores"].append({**found["summary"]["scores"][0], "value": 99.0}),
        lambda found: found["summary"].update(arms=["nobody"]),
        lambda found: found["summary"].update(arms=[]),
        lambda found: found["summary"].update(shifts="solid"),
        lambda found: found["arms"][0].update(parts=["real"]),
        lambda found: found.update(environment=3),
        lambda found: found["summary"].pop("protocols"),
    ],
)
def test_results_of_another_shape_are_refused_by_name(study, spoil):
    folder = study("one")
    found = json.loads((folder / "results.json").read_text())
    spoil(found)
    other = folder.parent / "other.json"
    other.write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"other\.json.*run the study again"):
        rankings_of(other)


def test_an_arm_may_be_recorded_with_what_only_later_versions_know(study):
    folder = study("one")
    found = json.loads((folder / "results.json").read_text())
    for arm in found["arms"]:
        arm["later"] = 1
    (folder.parent / "later.json").write_text(json.dumps(found))
    (ranking,) = rankings_of(folder.parent / "later.json")
    assert all(isinstance(arm.record, ArmRecord) for arm in ranking.rows)
