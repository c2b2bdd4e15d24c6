"""Runs that are killed, doubled or out of room: what they leave is intact, and a rerun ends as an undisturbed one.

pytest tests/study/test_kill.py                two kills of one stage, two processes at once, a full disk
pytest tests/study/test_kill.py -m thorough    10 kills of each stage, half a minute each on a quiet machine
"""

import pytest
import yaml
from kill_and_resume import contents, kill_and_resume
from small_study import CLASSES, REAL, genrobust

from genrobust.classifiers import saved_steps
from genrobust.recipe import load_recipe
from genrobust.store import Artifact
from genrobust.study import Study

OFTEN = [
    pytest.param(stage, 10, marks=pytest.mark.thorough)
    for stage in ("generate", "train", "generate --dataset tuned", "evaluate")
]


SHARDS = 6


@pytest.fixture
def recipe(recipe):
    """The recipe with so few images that they fill six shards."""
    settings = yaml.safe_load(recipe.read_text())
    settings["generate"]["per_class"] = SHARDS * settings["generate"]["shard_size"] // len(CLASSES)
    recipe.write_text(yaml.safe_dump(settings))
    return recipe


@pytest.mark.parametrize(("stage", "kills"), OFTEN)
def test_every_stage_survives_kills(start, recipe, tmp_path, stage, kills):
    out = tmp_path / "runs"
    if stage == "evaluate":
        start.to_end(["train", str(recipe), "--out", str(out)])
    kill_and_resume(start, [*stage.split(), str(recipe), "--out", str(out)], out, kills)


@pytest.mark.thorough
def test_a_search_survives_kills(start, recipe, clip_folder, write_folder, tmp_path):
    settings = yaml.safe_load(recipe.read_text())
    pool = str(write_folder("pool", "retrieved", 6, CLASSES))
    settings["data"]["retrieved"] = {"search": pool, "clip": str(clip_folder), "per_class": 3}
    settings |= {"arms": [REAL | {"mixture": "retrieved-by-search"}], "train": settings["train"] | {"steps": 1}}
    recipe.write_text(yaml.safe_dump(settings))
    out = tmp_path / "runs"
    made = kill_and_resume(start, ["train", str(recipe), "--out", str(out)], out, 2)
    assert any(name.startswith("searches/") for name in made)


@pytest.mark.thorough
def test_the_steps_that_a_killed_training_has_saved_are_not_counted_as_left(start, recipe, tmp_path):
    out = tmp_path / "runs"
    long = "train.steps=100000"  # no machine is done before it is killed
    words = [str(recipe), "--out", str(out), "--set", long]
    assert start(["train", *words], kill_when=lambda: any(map(saved_steps, out.glob("checkpoints/*")))).codes == [-9]
    study = Study(load_recipe(str(recipe), [long]), out)
    (training,) = [row for row in study.rows() if row.stage == "train" and row.done]
    assert training.done == saved_steps(training.steps[0].folder) < training.total
    assert training.items[0].left == (training.total - training.done) * study.recipe.train.batch_size
    shown = " ".join(genrobust("show", *words).stdout.split())
    assert f" {training.done:,} of {training.total:,} steps" in shown
    (state,) = out.glob("checkpoints/*/state-*")
    state.write_bytes(state.read_bytes()[:99])
    assert not any(row.done for row in study.rows() if row.stage == "train")  # no step can be read from it


def test_of_two_processes_each_ends_or_is_told_and_no_shard_is_mixed(start, recipe, generated, tmp_path):
    shared = tmp_path / "shared"
    words = ["generate", str(recipe), "--out", str(shared)]
    done = start(words, words)
    assert 0 in done.codes and {*done.codes} <= {0, 2}, done.said
    assert contents(shared) == generated


@pytest.fixture
def words(start, recipe, tmp_path):
    """The words that generate below the folder runs, when they have done so."""
    words = ["generate", str(recipe), "--out", str(tmp_path / "runs")]
    start.to_end(words)
    return words


def test_a_full_disk_is_told_and_the_run_goes_on_with_room(start, words, generated, tmp_path):
    out = tmp_path / "runs"
    (folder,) = (out / "generated").iterdir()
    Artifact(folder).reopen()
    for shard in range(2, SHARDS):
        for kind in ("json", "parquet", "tar"):
            (folder / f"{shard:06d}.{kind}").unlink()
    before = contents(out)
    done = start(words, limit=(folder / "000000.tar").stat().st_size - 1)  # no further shard fits
    assert done.codes == [1]
    assert "File too large: " in done.said
    assert contents(out) == before
    start.to_end(words)
    assert contents(out) == generated
