"""Tuning: rounds, their budget, what chooses, and what is written."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from small_study import CLASSES, TRAIN, folders_section, genrobust

from genrobust.core import Score, UserError
from genrobust.recipe import load_recipe
from genrobust.study import Executor, Processes, Study
from genrobust.tools.tune.tuning import LADDERS, Tuning

MIXED = [{"source": "real", "weight": 1}, {"source": "generated", "weight": 1}]
RECIPE = {
    "name": "icons",
    "threads": 1,
    "device": "cpu",
    "seeds": [0, 1, 2],
    "generator": {"steps": 1},
    "generate": {"per_class": 2},
    "train": {**TRAIN, "steps": 36},
    "arms": [{"name": "real", "mixture": "real"}, {"name": "mixed", "mixture": MIXED}],
    "robustness": {"baselines": None, "bootstrap": 100},
    "evaluate": {"min_images": 1},
    "claims": [{"says": "it helps", "arm": "mixed", "than": "real"}],
    "answer": "mixed",
    "zero_shot": {"clip": "pictograms"},
    "quality": {"clip": "pictograms"},
    "tune": {"over": {"train.augmentation": ["augmix"], "weight": [2]}, "seeds": 2},
}


@pytest.fixture
def icons(write_folder, generator, tmp_path, monkeypatch):
    """Writes the recipe, with images of three classes and a tiny generator, or those of Pictograms."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genrobust.tools.tune.tuning.SHORTEST", 5)
    sets = ("train", "test", "solid", "pixel")
    folders = folders_section({name: write_folder(name, name, 6, CLASSES) for name in sets})

    def write(embedded=False, **tune):
        recipe = {**RECIPE, "tune": {**RECIPE["tune"], "choose_by": [] if embedded else ["pixel"], **tune}}
        own = {} if embedded else {"data": folders, "generator": {"steps": 1, "model": str(generator)}}
        Path("icons.yaml").write_text(yaml.safe_dump({**recipe, **own}))
        return "icons.yaml"

    return write


def made():
    return {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.safetensors")}


def test_tuning_ends_in_a_report_and_a_recipe_and_goes_on_where_it_was(icons, monkeypatch):
    monkeypatch.setattr("genrobust.tools.tune.tuning.LADDERS", LADDERS[-1:])  # an hour is enough for whole trainings
    done = genrobust("tune", icons(), "--budget", "1h", "--workers", 1)
    rows = list(csv.DictReader(Path("runs/icons-tune/trials.csv").read_text().splitlines()))
    rounds = [[row for row in rows if row["round"] == number] for number in "12"]
    assert [len(trials) for trials in rounds] == [6, 2]  # real and mixed, AugMix or not, twice as many generated or not
    assert [{row["trained"] for row in trials} for trials in rounds] == [{"5 steps"}, {"12 steps"}]
    best = [row["variant"] for row in rounds[0] if row["variant"] != "mixed"][:2]
    assert {row["variant"] for row in rounds[1]} == {*best}
    tuned = load_recipe("runs/icons-tune/icons-tuned.yaml")
    assert tuned.arm_names[:2] == ["real", "mixed"] and len(tuned.arm_names) in (2, 3)
    assert tuned.seeds == (0, 1, 2) and tuned.claims == (), "as many seeds as before"
    assert tuned.zero_shot is not None and tuned.quality is not None
    assert tuned.evaluate.tests == ("test", "solid")  # pixel chose
    assert tuned.tune is not None and tuned.tune.choose_by == ("pixel",), "it holds no copies of these"
    before = made()
    again = genrobust("tune", "icons.yaml", "--budget", "1h", "--workers", 1)
    assert made() == before
    assert again.stdout == done.stdout

    (plan,) = Path("runs/plans").glob("*/plan.json")
    plan.write_text(plan.read_text().replace("0", "1"))
    genrobust("tune", "icons.yaml", "--budget", "1h", "--workers", 1, code=1, said=f"{plan}: it has changed")


def test_shifted_validation_images_choose_where_there_are_any(icons):
    scored = ["evaluate.tests=[solid, pixel, wild-val]", "evaluate.beside=[pixel, wild-val]"]
    recipe = load_recipe(icons(embedded=True), scored)
    tuned = Tuning(recipe, "runs", 3600, Processes(recipe), "").run()
    assert tuned.on == ("wild-val",)
    written = load_recipe(str(tuned.files["recipe"]))
    assert Study(written, "runs").tests == ["test", "solid", "pixel"] and written.evaluate.beside == ("pixel",)


def test_no_variant_trains_as_an_arm_or_another_variant(icons):
    icons()
    over = {"train.augmentation": ["standard", "augmix"], "train.wise_ft": [None], "weight": [1, 2, 2.0]}
    alike = {"name": "auto", "mixture": "real", "train": {"augmentation": "augmix"}}
    recipe = load_recipe(
        "icons.yaml", [f"tune.over={json.dumps(over)}", f"arms={json.dumps([*RECIPE['arms'], alike])}"]
    )
    tried = Tuning(recipe, "runs", 3600, Processes(recipe), "").variants
    names = ["mixed, augmentation augmix", "mixed, augmentation augmix, weight 2", "mixed, weight 2"]
    assert list(tried)[:3] == ["real", "mixed", "auto"] and sorted(list(tried)[3:]) == names
    one = load_recipe(
        "icons.yaml",
        ["tune.over={weight: [2]}", f"arms={json.dumps([alike])}", "claims=[]", "answer=null", "reference=auto"],
    )
    with pytest.raises(UserError, match="nothing to try: auto"):
        Tuning(one, "runs", 3600, Processes(one), "")


def test_a_linear_probe_has_no_shorter_round(icons):
    probe = {"name": "probe", "mixture": "real", "train": {"init": "clip:pictograms", "method": "linear-probe"}}
    given = [f"arms={json.dumps([*RECIPE['arms'], probe])}", "tune.over={weight: [2], train.augmentation: [augmix]}"]
    tuning = Tuning(load_recipe(icons(), given), "runs", 3600, Executor(), "")
    assert not [name for name in tuning.variants if name.startswith("probe,")], "nor has it an augmentation"
    _, runs = tuning._round(tuning.variants, 1 / 3)
    assert ("probe", "a linear probe") in runs.values() and ("mixed", "12 steps") in runs.values()


@pytest.mark.parametrize(
    ("best", "needs"),
    [
        ({"source": "retrieved"}, {}),
        ({"source": "retrieved-by-search"}, {}),
        ({"source": "real"}, {"reference": "mixed", "train": {"label_smoothing": 0.2}}),
        ({"source": "real"}, {"train": {"init": "arm:mixed"}}),
    ],
)
def test_the_best_variant_stays_beside_the_arms_that_it_depends_on(icons, best, needs):
    arms = [*RECIPE["arms"], {"name": "best", "mixture": [best], **needs}]
    given = ["data.retrieved.clip=pictograms", "answer=null", "claims=[]", f"arms={json.dumps(arms)}"]
    tuning = Tuning(load_recipe(icons(embedded=True), given), "runs", 3600, Executor(), "")
    (variant,) = (name for name, of in tuning.variants.items() if name.startswith("best") and of.chosen)
    written = tuning._derived(tuning._with_needed({"real", variant}))
    assert written.arm_names == ["real", "mixed", variant], "without the generated images, it would retrieve all"


def test_variants_and_the_next_command_are_where_the_options_say(icons, monkeypatch):
    devices = []

    class Tuned(Tuning):
        def __init__(self, recipe, *others):
            devices.append(recipe.device)

        def run(self):
            gain = Score(2.0, 1.0, 3.0, 9, 3, "")
            return SimpleNamespace(best="mixed", default="real", gain=gain, on=("pixel",), files={"recipe": "a.yaml"})

    monkeypatch.setattr("genrobust.tools.tune.tuning.Tuning", Tuned)
    Path(icons()).write_text(Path("icons.yaml").read_text().replace("device: cpu", "device: auto"))
    done = genrobust("tune", "icons.yaml", "--budget", "1h", "--device", "cpu", "--runs", "there")
    assert devices == ["cpu"]
    assert done.stdout.endswith(": genrobust run a.yaml --runs there\n"), "where the trainings are that it reuses"


@pytest.mark.parametrize(
    ("tune", "budget", "said"),
    [
        ({"choose_by": ["nowhere"]}, "1h", "tune.choose_by: no shifted test set 'nowhere'"),
        ({"choose_by": ["test"]}, "1h", "tune.choose_by: no shifted test set 'test'"),
        ({"choose_by": ["pixel", "solid"]}, "1h", "no other shifted test set is left"),
        ({"choose_by": []}, "1h", "tune.choose_by: the data has no shifted validation set"),
        ({}, "soon", "--budget soon: write a time such as 90s, 30m or 2h"),
        ({}, "0m", "--budget 0m"),
        ({"over": {"train.augmentation": ["nothing"]}}, "1h", "augmentation"),
        ({"over": {"dataset.generator.guidance": [2]}}, "1h", "guidance"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(icons, tune, budget, said):
    genrobust("tune", icons(**tune), "--budget", budget, "--workers", 1, code=2, said=said)
    assert not made()


def test_no_images_choose_that_are_tested_on_in_corrupted_copies(icons):
    icons()
    for of, choose_by, said in (("test", "c-noise", "'c-noise' of images of its own"), ("pixel", "pixel", "shifts.c")):
        recipe = load_recipe("icons.yaml", [f"data.shifts.c={{kind: corruptions, of: {of}}}"])
        recipe = recipe.model_copy(update={"tune": recipe.tune.model_copy(update={"choose_by": (choose_by,)})})
        with pytest.raises(UserError, match=said):
            Tuning(recipe, "runs", 3600, Processes(recipe), "")


def test_a_budget_limits_a_tuning_in_a_folder_without_trainings(icons):
    words = ("tune", icons(), "--set", f"train.steps={10**6}", "--budget", "1m", "--workers", 1)
    genrobust(*words, code=2, said="--budget: the shortest tuning takes about")
    assert [path.name.rpartition("-")[0] for path in Path("runs/checkpoints").iterdir()] == ["real-s0"]


def test_a_budget_below_two_variants_is_refused_with_a_command_that_is_not(icons):
    genrobust("train", icons(), "--arm", "real", "--set", "train.steps=20")  # which shows how long a step takes
    before, long = made(), f"train.steps={10**6}"
    words = ("tune", "icons.yaml", "--set", long, "--budget", "1m", "--workers", 1)
    refused = genrobust(*words, code=2, said="--budget: the shortest tuning takes about").output
    (command,) = [line for line in refused.splitlines() if line.startswith("genrobust")]
    assert made() == before
    recipe = load_recipe("icons.yaml", [long])

    def plan(minutes):
        return Tuning(recipe, "runs", 60 * minutes, Executor(), "").plan()

    smallest = int(command.split("--budget ")[1].split("m ")[0])
    assert command == f"genrobust tune icons.yaml --set {long} --budget {smallest}m --workers 1"
    least, more, most = plan(smallest), plan(3 * smallest), plan(100 * smallest)
    assert 2 <= len(least["variants"]) < 6 and least["variants"][:2] == ["real", "mixed"]
    assert (least["seeds"], least["shares"]) == ([0, 1], list(LADDERS[-1]))
    assert len(more["variants"]) == len(most["variants"]) == 6
    assert most["shares"] == list(LADDERS[0])

    fine = {**RECIPE["arms"][1], "train": {"init": "arm:real", "wise_ft": 0.5}}
    mixed = load_recipe("icons.yaml", [long, f"arms={json.dumps([RECIPE['arms'][0], fine])}"])
    full = Tuning(recipe, "runs", 60, Executor(), "")._full_training
    assert full > 60
    assert Tuning(mixed, "runs", 60, Executor(), "")._full_training == pytest.approx(full), "not that of mixing alone"
