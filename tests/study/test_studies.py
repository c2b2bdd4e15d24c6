"""What commands name of studies, by RECIPE:ARM and RECIPE:DATASET: nothing of it is made without a word."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import genrobust

from genrobust.classifiers import clip_embeddings, load_clip
from genrobust.classifiers.sources.clip import embed_texts
from genrobust.core import find_clip
from genrobust.data import ShardDataset, decide, read_filter
from genrobust.study import Studies, named_models

REAL = "own.yaml:real"
ASKING = [  # commands of which something is missing, and what
    (("predict", REAL, "solid"), "real, seed 0"),
    (("export", REAL, "--to", "timm"), "real, seed 0"),
    (("evaluate", "own.yaml", "--models", REAL), "real, seed 0"),
    (("benchmark", "--models", REAL, "--on", "own.yaml:generated"), "generated"),
    (("audit", "train", "--classifier", REAL), "real, seed 0"),
    (("audit", "own.yaml:better"), "better"),
    (("export", "own.yaml:better", "--to", "imagefolder"), "better"),
    (("view", "own.yaml:better"), "better"),
]


def files():
    """All files but the speed of the machine, and what was read of the images."""
    made = [path for path in Path().rglob("*") if path.is_file() and path.name not in ("rates.json", ".lock")]
    return sorted(path for path in made if "census" not in path.parts)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("words", "missing"), ASKING, ids=[words[0] for words, _ in ASKING])
def test_nothing_is_made_without_a_word(words, missing):
    before = files()
    done = genrobust(*words, code=2)
    told = " ".join(done.stderr.split())
    assert missing in told
    again = done.stderr.splitlines()[-1]
    assert again.startswith(f"genrobust {words[0]} ") and again.endswith(" --run")
    assert files() == before


@pytest.mark.usefixtures("own")
def test_the_classifier_of_a_varied_study_is_another():
    shorter = ("--set", "train.steps=1")
    genrobust("train", "own.yaml", "--arm", "real", *shorter)
    genrobust("predict", REAL, "solid", code=2, said="--run")
    genrobust("predict", REAL, "solid", *shorter)
    genrobust("predict", REAL, "solid", "--quick")  # whose steps are one, too
    for words in (("predict", "model.onnx", "solid"), ("audit", "train")):
        genrobust(*words, *shorter, code=2, said="names none")


@pytest.mark.usefixtures("own")
def test_a_dataset_has_one_name_in_every_command():
    better = "own.yaml:better"
    genrobust("export", better, "--to", "imagefolder", "--run")
    assert "better" in Path("own-better-imagefolder/README.md").read_text()
    assert "name: own" in Path("own-better-imagefolder/recipe.yaml").read_text()
    assert Path(genrobust("generate", "own.yaml", "--dataset", "better").stdout.split(" in ")[1].strip()).is_dir()
    genrobust("audit", better)
    assert Path("audit-own-better/audit.json").is_file()
    for words in (("export", "own.yaml", "--to", "parquet"), ("export", "own.yaml:bettr", "--to", "parquet")):
        genrobust(*words, code=2, said="generated, better")


@pytest.mark.usefixtures("own")
def test_an_export_into_the_images_of_the_recipe_is_refused():
    """The next run would read it as a class."""
    genrobust("export", "own.yaml:better", "--to", "imagefolder", "--out", "train/better", code=2, said="data.train")
    assert not Path("train/better").exists()


@pytest.mark.usefixtures("own_run")
def test_what_a_person_rejects_is_left_out_by_the_next_run(monkeypatch):
    def interrupted(server, sockets):
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", interrupted)  # as Ctrl-C leaves it
    view = ("view", "own.yaml:generated")
    address = genrobust(*view).stdout.splitlines()[0]
    assert address.startswith("http://127.0.0.1:")
    images = ShardDataset(next(Path("runs/generated").glob("diverse-3-*")))
    review = decide(images, images.keys[1:2], "artifacts")
    lines = yaml.safe_load("\n".join(genrobust(*view).stdout.splitlines()[-3:]))
    assert lines == {"datasets": {"cleaned": {"filter": {"by": "list", "file": str(review.file)}}}}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        genrobust(*view, "--port", taken.getsockname()[1], code=2, said="--port")

    recipe = yaml.safe_load(Path("own.yaml").read_text())
    recipe["datasets"] |= lines["datasets"]
    recipe["arms"][1]["mixture"] = "cleaned"
    Path("clean.yaml").write_text(yaml.safe_dump(recipe))
    train = ("train", "clean.yaml", "--arm", "real again")
    first = genrobust(*train, said="kept 8 of 9").stdout
    assert genrobust(*train).stdout == first
    decide(images, images.keys[2:3], "")  # what is accepted changes nothing
    assert "kept" not in genrobust(*train).stderr
    decide(images, images.keys[4:5], "other")
    assert genrobust(*train, said="kept 7 of 9").stdout != first
    review.file.write_text(json.dumps(json.loads(review.file.read_text()) | {"dataset": "another"}))
    genrobust(*train, code=2, said=f"runs/generated/{images.folder.name}")
    review.file.unlink()
    genrobust(*train, code=2, said=review.file.name)


@pytest.mark.usefixtures("own")
def test_the_filter_of_a_recipe_is_applied_to_what_is_exported():
    """Though no arm mixes the dataset."""
    for name, rule, kept in (
        ("lower", "by: clip, clip: pictograms, drop: 0.34", 6),
        ("trusted", "by: classifier, arm: real, drop: 0.67", 3),
    ):
        override = ("--set", f"datasets.{name}.filter={{{rule}}}")
        done = genrobust("export", f"own.yaml:{name}", "--to", "imagefolder", "--run", "--out", name, *override)
        assert done.stdout.startswith(f"{kept} images\n")
        assert f"left out {9 - kept} of 9 images" in Path(name, "README.md").read_text()
    assert f"The filter of own.yaml:{name} is not applied" in genrobust("audit", f"own.yaml:{name}", *override).stdout


@pytest.mark.usefixtures("own")
def test_a_filter_of_a_finished_run_with_other_options_is_found():
    rule = "datasets.few={filter: {by: classifier, arm: real, drop: 0.34}}"
    arms = "arms=[{name: real, mixture: real}, {name: few, mixture: few}]"
    genrobust("run", "own.yaml", "--set", rule, "--set", arms, "--set", "train.steps=1")
    studies = Studies("runs", overrides=[rule, arms], allow=lambda steps: pytest.fail(str(steps)))
    assert read_filter(studies.filter_of("own.yaml:few")).rejected


@pytest.mark.usefixtures("own")
def test_a_clip_judges_images_without_prompts_by_those_of_the_recipe():
    own = "datasets.varied={generator: {mode: images}, filter: {by: clip, clip: pictograms, drop: 0.34}}"
    found = []
    for template in ("an icon of a {}", "{}, pixel art"):
        studies = Studies("runs", overrides=[own, f"generate.prompts.templates=['{template}']"])
        found.append(read_filter(studies.filter_of("own.yaml:varied")))
        clip, images = load_clip(find_clip("pictograms")), ShardDataset(studies.folder("own.yaml:varied"))
        texts = [template.format(name) for name in ("airplane", "bell", "camera")]
        scores = (clip_embeddings(clip, images, 9) * embed_texts(clip, texts)[images.labels]).sum(1)
        assert len(found[-1].rejected) == 3
        for key, reason in found[-1].rejected.items():
            assert float(reason.split()[2].strip(":")) == pytest.approx(scores[images.keys.index(key)], abs=1e-3)
    assert found[0].folder != found[1].folder
    other = own.replace("clip: pictograms", "clip: none")
    words = ("export", "own.yaml:varied", "--to", "parquet", "--set", other)
    genrobust(*words, code=2, said="datasets.varied.filter.clip: none")


@pytest.mark.usefixtures("own")
def test_from_python_what_is_missing_is_made():
    assert Studies("runs").checkpoint(REAL) == Studies("runs").checkpoint(REAL)
    assert Studies("runs").checkpoint("resnet18") is None


@pytest.mark.usefixtures("own")
def test_every_command_opens_a_recipe_with_its_own_executor():
    there = Studies("runs", overrides=["execute={executor: slurm, cluster: local, num_gpus: 0}", "device=auto"])
    study = there.open("own.yaml")
    assert not study.context.executor.here and study.recipe.device == "cpu", "as run does, for the same folders"


@pytest.mark.usefixtures("own_run")
def test_what_is_done_is_shown_without_torch():
    script = (
        "import atexit, sys, genrobust.cli; sys.argv = ['genrobust', 'show', 'own.yaml']; "
        "atexit.register(lambda: print({'torch', 'diffusers', 'timm'} & {*sys.modules})); genrobust.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert "genrobust predict " in done.stdout and str(Path("runs/own/report.html")) in done.stdout


@pytest.mark.usefixtures("own_run")
def test_a_run_is_not_found_again_if_its_images_have_other_times():
    reason = "the same recipe and other images"
    assert reason not in genrobust("show", "own.yaml", "--set", "train.steps=3").stdout
    (image, *_) = Path("test").rglob("*.png")
    os.utime(image, (1, 1))
    assert reason in " ".join(genrobust("show", "own.yaml").stdout.split())


@pytest.mark.usefixtures("own")
def test_the_name_of_an_arm_may_hold_what_ends_the_name_of_a_model():
    own = Path("own.yaml")
    own.write_text(own.read_text().replace("real again", "steps=3"))
    named = named_models(["own.yaml:steps=3", "own.yaml:real"], Studies("runs"))
    assert [model.name for model in named] == ["steps=3", "real"]


@pytest.mark.usefixtures("own")
def test_arms_of_recipes_whose_files_are_called_alike_are_models_apart():
    """As checkpoints of one model they would be averaged."""
    Path("deeper").mkdir()
    text = re.sub("(train|val|test|path): ([a-z]+)([,}])", r"\1: ../\2\3", Path("own.yaml").read_text())
    Path("deeper/own.yaml").write_text(text)
    named = named_models(["own.yaml:real", "deeper/own.yaml:real", "own.yaml:real again"], Studies("runs"))
    assert [model.name for model in named] == ["own.yaml: real", "deeper/own.yaml: real", "real again"]
    shutil.copy("own.yaml", "own.yml")
    named = named_models(["own.yaml:real", "own.yml:real"], Studies("runs"))
    assert [model.name for model in named] == ["own.yaml: real", "own.yml: real"]
