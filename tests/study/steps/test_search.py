"""Retrieval by search: a CLIP finds images of each class in a pool without labels, once, and arms train on them."""

import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import yaml
from small_study import CLASSES, QUICK, TRAIN, contents, files, folders_section, genrobust

from genrobust.core import GenrobustError, Subset, UserError, prefix
from genrobust.data import read_search
from genrobust.recipe import parse_recipe
from genrobust.study import Processes, Study
from genrobust.study.steps import search as searching
from genrobust.study.steps.embeddings import CLASS_NAMES

FOUND = "retrieved-by-search"
SHORT = {"evaluate": {"tests": ["hand-drawn"], "min_images": 50}, "robustness": {"baselines": None, "bootstrap": 100}}


def test_a_study_of_pictograms_searches_the_wild_without_its_labels(tiny_generator, tmp_path):
    weighted = [{"source": source, "weight": 1} for source in ("real", "retrieved", "generated")]
    recipe = {
        **QUICK,
        "evaluate": {"tests": ["hand-drawn"], "min_images": 5},
        "robustness": {"baselines": None, "bootstrap": 100},
        "data": {"classes": {"count": 10, "seed": 0}},
        "generator": {"model": str(tiny_generator), "steps": 1},
        "generate": {"per_class": 2, "batch_size": 100},
        "train": TRAIN,
        "arms": [
            {"name": "real", "mixture": "real"},
            {"name": "found", "mixture": ["real", FOUND]},
            {"name": "all", "mixture": weighted},
            {"name": "any style", "mixture": ["real", "retrieved-by-class"]},
        ],
    }
    lines = []

    def study():
        """Of 30 of the images of wild."""
        made = Study(parse_recipe(recipe), tmp_path, say=lines.append)
        pool = made.data.retrieval
        fewer = replace(made.data, retrieval=Subset(pool, prefix(pool, per_class=3)))
        made.context._loaded = replace(made.context.load_images(), data=fewer)
        return made

    first = study()
    before = [(row.name, row.total, row.done) for row in first.rows() if row.stage == "search"]
    assert before[:2] == [("wild", 30, 0), ("the class names", 10, 0)]
    _, written = first.run()
    found, pool = first.images(FOUND), first.data.retrieval
    (path,) = (tmp_path / "searches").iterdir()
    assert found.keys == read_search(path, pool, "found").keys and len(set(found.keys)) == len(found)
    assert np.bincount(found.labels).max() == 2 and found.labels.tolist() == sorted(found.labels)
    right = [found.labels[i] == pool.labels[pool.keys.index(key)] for i, key in enumerate(found.keys)]
    assert np.mean(right) > 0.9  # this CLIP has seen them
    report = written["report.md"].read_text(encoding="utf-8")
    said = f"The search found {len(found):,} of 20 images, among 30 of wild."
    rates = f"{100 * np.mean(right):.1f} % show the class that they were found for"
    for words in (said, rates, "learned from these very images with their labels"):
        assert words in report and any(words in line for line in lines), words
    filled = r"Retrieval found 20 images for 20 generated ones and filled \d+ % of the quotas of class and style\."
    assert re.search(filled, report)
    real = str(len(first.data.train))
    told = {
        arm: [cell for cell in line.split(" | ")[1:6] if cell[0].isdigit()]
        for arm in ("found", "all")
        for line in report.splitlines()
        if line.startswith(f"| {arm} | {real} ")
    }
    assert told == {"found": [real, f"{len(found)}"], "all": [real, "20", "20"]}

    made = files(tmp_path)
    again = study()
    assert not any(row.left for row in again.rows() if row.stage == "search")
    assert again.plan.images(FOUND).identity == path.name
    again.train(again.runs())
    assert {p: t for p, t in files(tmp_path).items() if p.suffix != ".json"} == {
        p: t for p, t in made.items() if p.suffix != ".json"
    }


@pytest.fixture
def own(write_folder, clip_folder, tmp_path):
    """A recipe of three classes with 30 images to search, and what runs it in the folder `out`, with other keys."""
    sets = {name: write_folder(name, name, 4, CLASSES) for name in ("train", "test")}
    pool = tmp_path / "pool"
    for number, path in enumerate(sorted(write_folder("labeled", "retrieved", 10, CLASSES).rglob("*.png"))):
        (pool / f"deep{number % 2}").mkdir(parents=True, exist_ok=True)
        path.rename(pool / f"deep{number % 2}" / f"{number}.png")
    recipe = {
        **QUICK,
        "generator": None,
        "train": TRAIN,
        "data": folders_section(sets) | {"retrieved": {"search": str(pool), "clip": str(clip_folder), "per_class": 4}},
        "arms": [{"name": "real", "mixture": "real"}, {"name": "found", "mixture": ["real", FOUND]}],
        "robustness": {"baselines": None, "bootstrap": 100},
    }

    def study(out, executor=None, **retrieved):
        data = recipe["data"] | {"retrieved": recipe["data"]["retrieved"] | retrieved}
        return Study(parse_recipe(recipe | {"data": data}), tmp_path / out, executor=executor)

    study.recipe, study.pool = recipe, pool
    return study


def test_a_search_is_the_same_anywhere_and_makes_again_what_is_lost(own, tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "PART", 8)
    found = own("one").images(FOUND)
    assert 0 < len(found) == len(set(found.keys)) <= 12 and found.keys[0].startswith("deep")
    one = contents(tmp_path / "one")
    rooms = [name.partition("/")[0] for name in one if name.endswith("/manifest.json")]
    assert Counter(rooms) == {"embeddings": 4 + 1, "searches": 1}
    two = own("two")
    two.images(FOUND)
    assert contents(tmp_path / "two") == one

    search = two.plan.images(FOUND)
    unread = search.embeddings(2).folder / "embeddings.npz"
    unread.write_bytes(unread.read_bytes()[:-70] + bytes(70))
    assert not any(row.left for row in own("two").rows() if row.stage == "search")  # nobody reads it any more
    shutil.rmtree(search.folder)
    with pytest.raises(GenrobustError, match=re.escape(str(unread))):
        own("two").images(FOUND)
    shutil.rmtree(unread.parent)
    shutil.rmtree(search.embeddings(0).folder)
    again = own("two")
    searches = [(row.name, row.done, row.total) for row in again.rows() if row.stage == "search"]
    assert searches[:2] == [("pool", 14, 30), (CLASS_NAMES, 3, 3)]
    again.images(FOUND)
    assert contents(tmp_path / "two") == one
    fewer = own("two", per_class=2)
    # The embeddings are the same, so none is made again.
    embedded = [(row.name, row.done) for row in fewer.rows() if row.stage == "search"]
    assert embedded[:2] == [("pool", 30), (CLASS_NAMES, 3)]
    first = {
        label: [k for k, of in zip(found.keys, found.labels, strict=True) if of == label][:2] for label in range(3)
    }
    assert list(fewer.images(FOUND).keys) == [key for of in first.values() for key in of]


@pytest.mark.thorough
def test_workers_find_the_same(own, tmp_path):
    own("two", Processes(parse_recipe(own.recipe), 2)).images(FOUND)
    own("one").images(FOUND)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_pool_that_is_too_small_leaves_classes_short_and_says_so(own, tmp_path):
    for path in sorted(own.pool.rglob("*.png"))[2:]:
        path.unlink()
    _, written = own("one").run()
    report = " ".join(written["report.md"].read_text(encoding="utf-8").split())
    assert "found 2 of 12 images" in report and "ran short: airplane, anchor, bell." in report
    assert "% show the class" not in report  # nobody knows


def test_labeled_images_are_searched_with_their_labels_hidden(own, write_folder, tmp_path):
    labeled = write_folder("known", "retrieved", 5, CLASSES)
    study = own("one", path=str(labeled), search=None)
    found = study.images(FOUND)
    assert set(found.keys) <= set(study.data.retrieval.keys)
    right = 100 * np.mean(
        found.labels == [study.data.retrieval.labels[study.data.retrieval.keys.index(k)] for k in found.keys]
    )
    assert f"{right:.1f} % show the class" in study.plan.images(FOUND).describe_found(found)
    assert np.bincount(study.images("retrieved").labels).tolist() == [4, 4, 4]  # of five


MISTAKES = [
    (["data.retrieved.clip=null"], "data.retrieved.clip: "),
    (["data.retrieved.clip=nowhere"], "data.retrieved.clip: "),
    (["data.retrieved.clip=pool"], "config.json"),
    (["data.retrieved.clip=torn"], "torn is no CLIP folder: preprocessor_config.json is missing"),
    (["data.retrieved.per_class=null"], "data.retrieved.per_class: "),
    (["data.retrieved.search=null"], "data.retrieved.search"),
    (["data.retrieved.search=nowhere"], "data.retrieved.search: "),
    (["data.retrieved.search=empty"], "data.retrieved.search: empty"),
    (["data.retrieved.search=broken"], "broken/deep/7.png"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES)
def test_what_is_wrong_is_named(own, tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own.recipe))
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text('{"model_type": ')
    (tmp_path / "broken" / "deep").mkdir(parents=True)
    (tmp_path / "broken" / "deep" / "7.png").write_bytes(b"no image")
    words = [word for one in change for word in ("--set", one)]
    genrobust("run", "own.yaml", *words, code=2, said=said)
    assert not (tmp_path / "runs" / "checkpoints").exists()  # it is said before anything is trained


def test_a_class_without_an_image_to_retrieve_is_named_before_anything_is_made(
    own, write_folder, tiny_generator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    lacks = sorted(CLASSES)[0]
    known = write_folder("known", "retrieved", 5, {name: id for name, id in CLASSES.items() if name != lacks})
    recipe = own.recipe | {
        "generator": {"model": str(tiny_generator), "steps": 1, "dtype": "float32"},
        "generate": {"per_class": 2},
        "data": own.recipe["data"] | {"retrieved": {"path": str(known)}},
        "arms": [
            {"name": "made", "mixture": ["real", "generated"]},
            {"name": "found", "mixture": ["real", "retrieved"]},
        ],
        "reference": "made",
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    said = f"data.retrieved: no image shows {lacks}"
    genrobust("run", "own.yaml", code=2, said=said)
    assert not (tmp_path / "runs" / "generated").exists()


def test_styles_are_kept_from_all_retrieval_and_an_unknown_one_is_named(tmp_path):
    def study(*styles, **more):
        without = {"cells": [f"*/{style}" for style in styles]}
        data = {"source": "pictograms", "retrieved": {"without": without, "per_class": 1, **more}}
        arms = [{"name": "real", "mixture": "real"}, {"name": "found", "mixture": ["real", FOUND]}]
        return Study(parse_recipe({**QUICK, **SHORT, "train": TRAIN, "arms": arms, "data": data}), tmp_path)

    every, fewer = study(), study("emoji", "pixel")
    assert {"emoji", "pixel"} < set(every.data.retrieval.styles)
    assert set(fewer.data.retrieval.styles) == set(every.data.retrieval.styles) - {"emoji", "pixel"}
    assert fewer.plan.images(FOUND).pool is fewer.data.retrieval
    few = study("emoji", limit=250).data
    assert len(few.retrieval) + len(few.withheld) == 250 and {*few.retrieval.keys} < {*every.data.retrieval.keys}
    assert {*few.withheld.styles} == {"emoji"} and len({*few.retrieval.styles} - {"emoji"}) == 6
    with pytest.raises(UserError, match=r"without.cells: .*'\*/emojis'.*CLASS/STYLE"):
        study("emojis").rows()
