"""The grid of baseline models and its table."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from genrobust.classifiers import create_classifier, protocol
from genrobust.core import BaselineModel, Predictions, UserError
from genrobust.recipe import DataConfig, RobustnessConfig, TrainConfig, load_recipe
from genrobust.study.results.baselines import grid_rows, published_lines, table_rows
from genrobust.study.results.scoring import find_baselines
from genrobust.study.training_runs import grid


def test_a_longer_grid_begins_with_the_shorter():
    whole = grid(TrainConfig(), 48, 1800)
    assert grid(TrainConfig(), 5, 1800) == whole[:5]
    assert len({model.name for model in whole}) == 48
    assert len({model.train.architecture for model in whole}) == 6
    assert len({model.train.architecture for model in whole[:16]}) == 2
    assert all(0 < (m.parts[0].fraction or 1) <= 1 for m in whole)
    others = grid(TrainConfig(architecture="resnet14t"), 16, 1800)
    assert {model.train.architecture for model in others} == {"resnet14t", "resnet10t"}
    assert all(m.train.warmup_steps <= m.train.steps_for(1800) for m in whole)


def test_standard_models_share_neither_epochs_nor_augmentations_with_the_study():
    plain = TrainConfig(steps=150, batch_size=60)  # 5 epochs of 1,800 images
    study = {"epochs": 5, "augmentation": "augmix", "mixup": 0.2, "random_erasing": 0.5}
    assert grid(TrainConfig(batch_size=60, **study), 14, 1800) == grid(plain, 14, 1800)


def test_every_model_of_the_recipes_grid_can_be_made():
    for train in (load_recipe("pictograms").train, TrainConfig(architecture="mobilenetv3_small_050")):
        made = {m.train.architecture: m.train for m in grid(train, 35, 1800)}
        assert len(made) >= 5
        for of_kind in made.values():
            create_classifier(of_kind.architecture, 100, 64, of_kind.model_kwargs)


def test_more_models_than_there_are_is_refused():
    with pytest.raises(UserError, match="48 models"):
        grid(TrainConfig(), 49, 1800)


def test_no_model_of_short_trainings_counts_twice():
    short = TrainConfig(steps=20, warmup_steps=2)
    assert len({model.name for model in grid(short, 10, 1378)}) == 10
    with pytest.raises(UserError, match="30 models"):
        grid(short, 48, 1378)


HEADER = "model,test_set,clean,shifted"
ROWS = "a,sketch,50,20\nb,sketch,60,30\nc,sketch,70,45\nd,sketch,80,50\n"


@pytest.fixture
def read(tmp_path):
    """Reads a table of the given text."""

    def of(text, shifts=("sketch",), header=HEADER):
        (tmp_path / "t.csv").write_text(f"{header}\n{text}", encoding="utf-8")
        return table_rows(str(tmp_path / "t.csv"), shifts, "logit")

    return of


def test_a_table_is_read_as_it_was_written(read):
    first = BaselineModel('resnet, "small"', "sketch", 81.25, 40.5)
    assert read(f'"resnet, ""small""",sketch,81.25,40.5\n{ROWS}e,emoji,1,2\n')[0][0] == first
    rows, notes = read(ROWS.replace("\n", ",vit\n"), header=f"{HEADER},architecture")
    assert rows[3] == BaselineModel("d", "sketch", 80.0, 50.0, "vit") and notes == []


@pytest.mark.parametrize(
    ("text", "models", "words"),
    [
        ("a,sketch,20,50\nb,sketch,30,60\nc,sketch,45,72\n", 3, "sketch: 3 of 3 .* swapped"),
        (ROWS.replace("50,20", "0.5,20"), 4, "'clean' .*0.5 of a.* fractions"),
        (ROWS + "".join(f"copy{i},sketch,50,20\n" for i in range(40)), 4, "40 models .copy0"),
        (ROWS + "e,sketch,-,3\n", 4, "1 row skipped"),
    ],
)
def test_what_is_doubtful_in_a_table_is_noted(read, text, models, words):
    rows, (note,) = read(text)
    assert len(rows) == models and re.search(words, note)


@pytest.mark.parametrize("name", ["sketsch", "Sketch"])
def test_a_shift_without_rows_is_named_with_the_set_near_it(read, name):
    rows, (note,) = read(ROWS + ROWS.replace("sketch", "phone"), ["sketch", "phones"])
    assert len(rows) == 4 and "phones" in note and note.endswith("near it: phone.")
    with pytest.raises(UserError, match=f"sketch: .*near it: {name}"):
        read(ROWS.replace("sketch", name))


SETS = ["solid", "flat"]


def test_a_grid_that_is_too_alike_for_a_line_leaves_a_note():
    classes, labels = ("a", "b"), np.arange(100) % 2
    found = {}
    for m, right in enumerate((50, 60, 70, 80)):
        for test, count in (("test", right), ("solid", right - 20), ("flat", 40)):
            logits = np.eye(2, dtype=np.float32)[np.where(np.arange(100) < count, labels, 1 - labels)]
            keys = tuple(map(str, range(100)))
            found[f"m{m}", 0, test] = Predictions(test, logits, labels, keys, classes, "as is")
    rows, notes = grid_rows(found, "test", SETS, "logit")
    assert [(row.model, row.clean, row.shifted) for row in rows[:2]] == [("m0", 50, 30), ("m1", 60, 40)]
    assert notes == [] and len(rows) == 8
    alike = {key: predictions for key, predictions in found.items() if key[0] in ("m0", "m1")}
    rows, notes = grid_rows(alike, "test", SETS, "logit")
    assert rows == [] and [note.split(":")[0] for note in notes] == [
        f"No baseline line for {t}" for t in ("solid", "flat")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,test_set,clean\na,b,1\n", "no column 'shifted'"),
        ("model,test_set,clean,shifted\na,b,x,1\n", "line 2: clean"),
        ("model,test_set,clean,shifted\na,b,1\n", "both accuracies"),
        ("model,test_set,clean,shifted\na,b,50,20\na,c,50,9\na,b,51,20\n", "line 4: 'a' .*'b'"),
        ("model,test_set,clean,shifted\na,b,101,1\n", "clean: 101 .a on b."),
        ("model,test_set,clean,clean,shifted\na,b,1,2,1\n", "2 columns named 'clean'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        table_rows(str(tmp_path / "t.csv"), ["b"], "logit")


def test_the_shipped_table_covers_every_shift():
    shifts = ["outline-v2", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel", "wild-val"]
    rows, notes = table_rows("pictograms", shifts, "logit")
    assert notes == []
    same, (note,) = table_rows("pictograms", shifts, "logit", protocol(64, flip=True))
    assert same == rows and "no flip" in note and "its mirror" in note
    assert all(len([r for r in rows if r.test_set == shift]) >= 30 for shift in shifts)
    assert len({row.architecture for row in rows}) >= 5
    assert all(0 <= r.clean <= 100 and 0 <= r.shifted <= 100 for r in rows)


IMAGENET = DataConfig.model_validate(
    {
        "source": "imagenet",
        "root": "imagenet",
        "shifts": {
            "v2": {"kind": "imagenet-v2", "path": "v2"},
            "mine": {"kind": "objectnet", "path": "o", "map": "paper"},
            "c": {"kind": "imagenet-c", "path": "c"},
        },
    }
)


def test_imagenets_lines_are_known_without_models():
    lines, notes = published_lines(RobustnessConfig(), IMAGENET, ["v2", "mine", "c-fog-3"], 1000)
    assert list(lines) == ["v2"] and (lines["v2"].test_set, lines["v2"].n) == ("v2", 85)
    assert [note.split(":")[0] for note in notes] == [f"No baseline line for {n}" for n in ("mine", "c-fog-3")]


def test_published_lines_say_nothing_of_some_classes_nor_beside_a_grid():
    lines, notes = published_lines(RobustnessConfig(), IMAGENET, ["v2"], 100)
    assert lines == {} and "over 1,000 classes and this study has 100" in notes[0] and "robustness.grid" in notes[0]
    for settings in (RobustnessConfig(grid=3), RobustnessConfig(baselines=None), RobustnessConfig(baselines="t.csv")):
        assert published_lines(settings, IMAGENET, ["v2"], 1000) == ({}, [])
    assert published_lines(RobustnessConfig(), DataConfig(), ["v2"], 1000) == ({}, [])


def test_lines_that_are_asked_for_by_the_name_of_a_source_are_no_table():
    recipe = load_recipe("pictograms", ["robustness.baselines=imagenet"])
    with pytest.raises(UserError, match=r"robustness.baselines"):
        find_baselines(SimpleNamespace(recipe=recipe, shifts=["solid"]), None)


def test_imagenet_trains_a_grid_of_its_own_size():
    models = grid(load_recipe("imagenet100").train, 6, 117_000)
    assert {m.train.architecture for m in models} == {"resnet18", "resnet14t"}
    assert models[2].train.steps == 12_797  # 56 x 117,000 / 512, rounded up
    assert models[0].train.steps == 2 * 12_797
    assert all((m.train.crop, m.train.image_size, m.train.epochs) == ("random-resized", 192, None) for m in models)
