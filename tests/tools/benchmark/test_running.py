"""The command benchmark, from checkpoints and folders to its page: matching of classes, grouping, and bad input."""

import json
import shutil
from collections import Counter
from functools import partial

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from small_study import genrobust
from timm.models import save_for_hf

from genrobust.classifiers import (
    CheckpointInfo,
    create_classifier,
    load_checkpoint,
    open_checkpoint,
    open_classifier,
    prepare,
    save_checkpoint,
)
from genrobust.core import Sample, UserError, file_name
from genrobust.data import begin_dataset, write_shard
from genrobust.data.imagenet_classes import wnids
from genrobust.recipe import parse_recipe
from genrobust.study import Named, Studies, Study, open_all
from genrobust.study.steps.seen import Seen
from genrobust.tools.benchmark.page import benchmark_verdict
from genrobust.tools.benchmark.running import BenchmarkJob, _open_real, run_benchmark

CLASSES = {name: name for name in ("bell", "camera", "tree")}


@pytest.fixture
def folders(write_folder, tmp_path):
    """`real` (4 images a class) and `made` (3), folders of three classes."""
    write_folder("real", "test", 4, CLASSES)
    write_folder("made", "emoji", 3, CLASSES)
    return tmp_path


@pytest.fixture
def save(tmp_path):
    """Saves a classifier of random weights for `classes`, as a training from `sources` with `seed` would."""

    def made(name, classes, seed=0, steps=5, **sources):
        torch.manual_seed(len(list(tmp_path.rglob("model.safetensors"))))
        model = create_classifier("test_resnet", len(classes), 32)
        training = {"seed": seed, "counts": sources, "config": {"steps": steps}}
        save_checkpoint(tmp_path / name, model, CheckpointInfo("test_resnet", {}, classes, 32, training))
        return tmp_path / name

    return made


def run(folders, *models, on="made", real="real", **more):
    job = BenchmarkJob([str(m) for m in models], str(folders / on), str(folders / real), folders / "out", **more)
    _, files = run_benchmark(job, Studies(folders / "runs"))
    return json.loads(files["benchmark.json"].read_text(encoding="utf-8"))


def answers(folder, classes, logits_of):
    """For each image of each class, whether the largest of the logits is that of its class."""
    paths = [(label, path) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    with torch.no_grad():
        return [logits_of(Image.open(path).convert("RGB")).argmax().item() == label for label, path in paths]


def test_accuracies_are_those_of_the_model_over_the_classes_of_the_data(folders, save):
    """The model knows more classes, in another order; they are matched by id, and its logits restricted to them."""
    folder = save("model", ("zebra", "tree", "bell", "anchor", "camera"), real=7)
    facts = run(folders, folder)
    assert facts["classes"] == ["bell", "camera", "tree"]
    model, _ = load_checkpoint(folder)
    assert facts["models"] == {"model": 1}
    only = facts["overall"][0]
    scores = {side: score["value"] for side, score in only.items() if score}
    for side, of in (("generated", "made"), ("real", "real")):
        right = answers(
            folders / of,
            facts["classes"],
            lambda image: model(torch.tensor(prepare(image, 32)).permute(2, 0, 1)[None])[0, [2, 4, 1]],
        )
        assert (scores[side], only[side]["n"]) == (pytest.approx(100 * np.mean(right)), len(right))
    assert scores["drop"] == pytest.approx(scores["real"] - scores["generated"])


def test_classes_of_one_set_alone_are_left_out(folders, save):
    (folders / "real" / "tree").rename(folders / "real" / "tooth")
    facts = run(folders, save("model", ("tree", "bell", "camera")))
    assert facts["classes"] == ["bell", "camera"]
    for side, of in (("generated", "made"), ("real", "real")):
        assert facts[side]["images"] == sum(len(list((folders / of / id).iterdir())) for id in ("bell", "camera"))
    assert facts["notes"][-1].endswith("left out (2): tooth, tree.")


def test_checkpoints_of_one_name_are_one_model(folders, save):
    for seed in (0, 1):
        save(f"r{seed}", tuple(CLASSES), seed)
    mine = [f"mine={folders / name}" for name in ("r0", "r1")]
    shutil.copytree(folders / "r0", folders / "alone")
    facts = run(folders, folders / "alone", *mine)
    assert facts["models"] == {"alone": 1, "mine": 2}
    assert len(list((folders / "out" / "predictions").rglob("*.npz"))) == 6, "three checkpoints on two sets"
    with pytest.raises(UserError, match="same checkpoint of 'mine'"):
        run(folders, mine[0], f"mine={folders / 'alone'}")


def test_seeds_of_an_arm_may_have_the_same_weights(folders, save):
    """A linear probe depends on no seed."""
    shutil.copytree(save("s0", tuple(CLASSES)), folders / "s1")
    opens = {name: partial(open_checkpoint, folders / name) for name in ("s0", "s1")}
    s0, s1 = (Named("probe", name, name, open, Seen, recipe="study") for name, open in opens.items())
    assert len(open_all([s0, s1])["probe"]) == 2
    with pytest.raises(UserError, match="same checkpoint of 'probe'"):
        open_all([s0, s1, s0])


def test_a_model_of_timms_is_matched_by_wordnet_id(folders, tmp_path):
    """Its images are prepared as timm's own validation prepares them."""
    chosen = {"bell": wnids()[5], "camera": wnids()[732], "tree": wnids()[3]}
    for name, wnid in chosen.items():
        for side in ("real", "made"):
            (folders / side / name).rename(folders / side / wnid)
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1000).eval()
    save_for_hf(network, str(tmp_path / "downloaded"), safe_serialization=True)
    assert open_classifier(str(tmp_path / "downloaded")).classes == wnids()
    facts = run(folders, tmp_path / "downloaded")
    assert facts["classes"] == sorted(chosen.values())
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network, use_test_size=True))
    columns = [wnids().index(wnid) for wnid in facts["classes"]]
    right = answers(folders / "made", facts["classes"], lambda image: network(transform(image)[None])[0, columns])
    assert facts["overall"][0]["generated"]["value"] == pytest.approx(100 * np.mean(right))
    assert facts["models"] == {"downloaded": 1}


def test_a_file_names_the_classes_of_models_that_name_none(folders, save, nameless):
    """In another order, the answers are others; a model with names refuses other ones."""
    known = save("known", ("tree", "bell", "camera"))
    model = nameless(known)
    for name, lines in (("right", "tree\nbell\ncamera\n"), ("wrong", "bell\ncamera\ntree\n"), ("short", "tree\nbell")):
        (folders / name).write_text(lines)
    asked = (f"mine={model}", known)
    with pytest.raises(UserError, match=r"nameless has 3 classes"):
        run(folders, *asked)
    with pytest.raises(UserError, match=r"short .*2 .*nameless .*3 logits"):
        run(folders, *asked, labels=folders / "short")
    first, second = run(folders, *asked, labels=folders / "right")["overall"]
    assert first["generated"] == second["generated"]
    (other,) = run(folders, asked[0], labels=folders / "wrong")["overall"]
    assert other["generated"] != first["generated"]
    with pytest.raises(UserError, match=r"wrong and .*known, .* 'bell' in the file, and 'tree' in the model"):
        run(folders, *asked, labels=folders / "wrong")


def test_shards_know_whether_they_are_a_validation_part(folders, save):
    for name, middle in (("train", ""), ("val", "val-")):
        begin_dataset(folders / name, {"shards": 1, "class_ids": list(CLASSES)})
        samples = []
        for i, style in enumerate(("", "solid")):
            pixels = np.full((8, 8, 3), 40 * i, np.uint8)
            samples += [Sample(f"{id}-{middle}{i:06d}", n, pixels, {"style": style}) for n, id in enumerate(CLASSES)]
        write_shard(folders / name, 0, samples, [])
    model = save("model", tuple(CLASSES))
    warned = ["no validation part" in " ".join(run(folders, model, on=name)["notes"]) for name in ("train", "val")]
    assert warned == [True, False]


def test_the_page_loads_nothing_and_escapes_what_it_is_told(folders, save):
    model = save("model", ("bell", "camera", "tree"))
    words = ("--models", f"<b>{{{{ 7 * 7 }}}}={model}", "--on", folders / "made", "--real", folders / "real")
    done = genrobust("benchmark", *words, "--runs", folders / "runs", "--device", "cpu")
    assert "<b>{{ 7 * 7 }}" in done.stdout
    text = (folders / "runs" / "benchmarks" / file_name("made, real") / "benchmark.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;{{ 7 * 7 }}" in text and "default-src 'none'" in text
    assert "<b>{{" not in text and "<script" not in text
    sources = [part.split('"')[0] for part in text.split(' src="')[1:]]
    assert len(sources) >= 21  # the contact sheet alone shows them all
    assert all(source.startswith("data:image/webp;base64,") for source in sources)


RECIPE = """
name: small
threads: 1
device: cpu
seeds: [0, 1]
generator: {steps: 1}
generate: {per_class: 1}
datasets:
  generated-val: {generate: {split: val}}
  from-images: {generator: {mode: labels+images, steps: 2}, generate: {split: val}}
train: {architecture: test_resnet, image_size: 32, steps: 2, batch_size: 4, warmup_steps: 0, precision: float32}
arms: [{name: retrieved, mixture: retrieved}, {name: real, mixture: real}]
"""


def test_a_set_of_a_varied_study_has_a_name_of_its_own(tmp_path):
    """After which its page is called, that takes the place of no other's."""
    varied = Studies(tmp_path, overrides=["generate.per_class=1"])
    assert _open_real("pictograms:solid", varied).name == "pictograms+generate.per_class=1:solid"


@pytest.mark.thorough
def test_a_recipes_arms_on_a_validation_part_of_its_own(tmp_path):
    """What is missing is made: the images, then the classifiers; the reference comes first."""
    (tmp_path / "small.yaml").write_text(RECIPE)
    recipe = str(tmp_path / "small.yaml")
    made, _ = run_benchmark(BenchmarkJob([recipe], f"{recipe}:generated-val"), Studies(tmp_path / "runs"))
    assert list(made.result.models.items()) == [("real", 2), ("retrieved", 2)]
    assert (made.name, made.real_name) == ("small:generated-val", "small:test")
    assert {scores.real.groups for scores in made.result.overall} == {len(set(made.real.groups))}
    assert list(made.result.by_style) == ["outline"]  # of seven generated ones
    assert benchmark_verdict(made)[0].startswith("real: within the style outline, ")
    _compares_within_styles(recipe, tmp_path / "runs")
    assert made.generated.labels.tolist() == sorted(set(made.real.labels.tolist()))
    assert all(key.endswith("-val-000000") for key in made.generated.keys)
    assert len(list((tmp_path / "runs" / "checkpoints").iterdir())) == 4
    name = file_name("small:generated-val, small:test")  # another one than that of small-generated:val
    assert (tmp_path / "runs" / "benchmarks" / name / "benchmark.html").is_file()


def _compares_within_styles(recipe, runs):
    """The same dataset, of seven styles, beside the images to choose by, of six of them, in all that is written."""
    job = BenchmarkJob([recipe], f"{recipe}:generated-val", f"{recipe}:wild-val")
    made, files = run_benchmark(job, Studies(runs))
    assert made.real_name == "small:wild-val"
    assert files["benchmark.html"].parent.name == file_name("small:generated-val, small:wild-val")
    shared = ["duotone", "emoji", "illustration", "outline", "pixel", "solid"]
    generated, of_real = Counter(made.generated.styles), Counter(made.real.styles)  # of the classes of both
    assert list(made.result.by_style) == shared == sorted(of_real)
    assert made.result.styles == {style: (generated[style], of_real[style]) for style in generated}
    notes = " ".join(made.notes)
    assert "both sets are in no drop within styles: hand-drawn." in notes
    assert "settings of the generator may be chosen on" in notes
    facts = json.loads(files["benchmark.json"].read_text(encoding="utf-8"))
    page = files["benchmark.html"].read_text(encoding="utf-8")
    for number, scores in enumerate(made.result.within):
        drops = [made.result.by_style[style][number].drop.value for style in shared]
        assert scores.drop.value == pytest.approx(np.mean(drops))
        assert facts["within"][number]["drop"]["value"] == scores.drop.value
    words = "within the 6 styles of both sets, each with the same weight"
    first = benchmark_verdict(made)[0]
    assert words in first and page.index(first) < page.index(f"points, {words}") < page.index("points, over all images")


def test_copies_of_a_picture_are_a_group(folders, save, write_folder):
    """As those of a corrupted test set: four ways to see an image are not four images."""
    train, test = (str(path) for path in (write_folder("train", "train", 4, CLASSES), folders / "real"))
    shifts = {"c": {"kind": "corruptions", "which": ["contrast"], "severities": [1, 2, 3, 4]}}
    data = {"source": "folders", "train": train, "test": test, "shifts": shifts}
    arms = [{"name": "real", "mixture": "real"}]
    (folders / "own.yaml").write_text(yaml.safe_dump({"name": "own", "generator": None, "data": data, "arms": arms}))
    model = str(save("model", tuple(CLASSES)))
    job = BenchmarkJob([model], str(folders / "made"), f"{folders / 'own.yaml'}:c-digital", folders / "out")
    made, _ = run_benchmark(job, Studies(folders / "runs"))
    (scores,) = made.result.overall
    assert (scores.real.n, scores.real.groups) == (48, 12)


def test_a_validation_part_begins_from_held_out_images_alone(tmp_path, write_folder):
    real = {name: str(write_folder(name, source, 4, CLASSES)) for name, source in (("train", "train"), ("val", "test"))}
    for image in (tmp_path / "val").rglob("*.png"):
        image.rename(image.with_stem(f"held-out-{image.stem}"))
    data = {"source": "folders", **real, "test": str(write_folder("test", "outline-v2", 4, CLASSES))}
    raw = yaml.safe_load(RECIPE) | {"data": data, "generator": {"model": "pictograms", "steps": 1}}
    raw["arms"] = [{"name": "real", "mixture": "real"}, {"name": "generated", "mixture": "generated"}]
    study = Study(parse_recipe(raw), tmp_path)
    made = study.dataset("from-images")
    sources = {request.source for request in made.plan}
    assert sources <= set(study.data.val.keys)
    assert sources.isdisjoint(study.data.train.keys)
    assert len({study.dataset(name).folder for name in ("generated", "generated-val", "from-images")}) == 3


@pytest.mark.parametrize(
    ("models", "change", "said"),
    [
        (["no_such_model"], {}, "no classifier 'no_such_model'"),
        (["{}/other"], {}, "camera, tree"),
        (["test_resnet.r160_in1k"], {}, "bell, camera, tree"),
        (["x=pictograms"], {}, "leave out x="),
        (["{}/model"], {"on": "{}/none"}, "cannot read the folder"),
        (["{}/model"], {"on": "{}/hollow"}, "is empty"),
        (["{}/model"], {"on": "pictograms"}, "write pictograms:DATASET"),
        (["{}/model"], {"on": "pictograms:generatedd"}, "no dataset 'generatedd'"),
        (["{}/model"], {"real": None}, "with --real"),
        (["{}/model"], {"real": "pictograms:wild"}, "no test set 'wild'"),
        (["{}/model"], {"real": "pictograms:"}, "pixel, wild-val"),
        (["{}/model"], {"real": "pictogram:test"}, "cannot read the folder"),
        (["{}/model"], {"real": "{}/elsewhere"}, "fewer than two classes"),
        (["{}/model"], {"out": "{}/made/inside"}, "read as a class"),
        (["{}/model"], {"out": "{}/real/inside"}, "read as a class"),
    ],
)
def test_a_mistake_is_said_in_a_line_with_exit_code_2(folders, save, models, change, said):
    save("model", tuple(CLASSES))
    save("other", ("bell", "cow"))
    (folders / "hollow").mkdir()
    shutil.copytree(folders / "real", folders / "elsewhere")
    for name in ("camera", "tree"):
        (folders / "elsewhere" / name).rename(folders / "elsewhere" / f"no-{name}")
    options = {"on": "{}/made", "real": "{}/real", "out": "{}/out", "runs": "{}/runs"} | change
    words = [word for model in models for word in ("--models", model)]
    words += [word for key, value in options.items() if value for word in (f"--{key}", value)]
    genrobust("benchmark", *(word.replace("{}", str(folders)) for word in words), code=2, said=said)
    assert not (folders / "out").exists()
