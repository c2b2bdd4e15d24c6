"""Output at a URL: on a real server that speaks S3 (see object_store.py), and what is refused.

Each command is a process of its own, and a machine is an environment with a folder for copies of its own.
"""

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import yaml
from kill_and_resume import contents
from PIL import Image

from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint
from genrobust.core import ClassLabel, GenrobustError, LabelSpace, UserError
from genrobust.data import read_filter
from genrobust.generate import LoraConfig
from genrobust.generate.find_models import GENERATOR, LORA_FILE, find_lora
from genrobust.recipe import FilterConfig
from genrobust.store import Artifact, Manifest, address, local_folder, write_files
from genrobust.store.remote import Remote
from genrobust.study.filter_scores import ScoreFilter

URL = "s3://bucket/runs"


@pytest.fixture
def machine(tmp_path):
    """The folder for the copies of a machine of some name."""
    return lambda name: tmp_path / "machines" / name


@pytest.fixture
def on(store, machine):
    """The words that run a command on a machine of some name, with its output at URL."""
    return lambda name, *words, **changed: store.on(machine(name), *map(str, words), "--out", URL, **changed)


@pytest.fixture
def undisturbed(start, tmp_path):
    """What a command makes in a plain folder."""

    def make(*words):
        start.to_end([*map(str, words), "--out", str(tmp_path / "alone")])
        return contents(tmp_path / "alone")

    return make


def stems(names, suffix):
    return {Path(name).stem for name in names if name.endswith(suffix)}


@pytest.mark.thorough
def test_a_dataset_at_a_url_is_that_of_a_folder(start, recipe, store, machine, on, generated):
    start.to_end(on("one", "generate", recipe))
    assert store.contents() == generated
    (copy,) = machine("one").iterdir()
    assert {f"generated/{name}": body for name, body in contents(copy / "generated").items()} == generated
    written = store.versions()
    start.to_end(on("two", "generate", recipe))
    assert store.versions() == written, "nothing is drawn again"
    (copy,) = machine("two").iterdir()
    assert list(copy.glob("generated/*/*.tar")) == [], "who reads no images fetches none"


@pytest.mark.thorough
def test_a_killed_process_is_continued_on_another_machine(start, recipe, store, on, generated):
    killed = start(on("one", "generate", recipe), kill_when=lambda: len(stems(store.names(), ".parquet")) >= 4)
    assert killed.codes == [-9]
    done = stems(store.names(), ".parquet")
    before = {key: body for key, body in store.contents().items() if Path(key).stem in done}
    assert len(done) < 15 and before.items() <= generated.items(), "what is there is whole"
    start.to_end(on("two", "generate", recipe))
    assert store.contents() == generated
    again = {Path(key).stem for key, versions in store.versions().items() if len(versions) > 1}
    assert len(done & again) <= 1, "what was done is not drawn again"


@pytest.mark.thorough
def test_machines_that_share_the_bucket_alone_do_parts_of_a_study(start, recipe, store, on, undisturbed):
    settings = yaml.safe_load(recipe.read_text())
    settings["arms"].append({"name": "both", "mixture": [{"source": "real"}, {"source": "generated"}]})
    settings["train"] |= {"steps": 5, "save_every": 2}
    recipe.write_text(yaml.safe_dump(settings))
    wanted = undisturbed("evaluate", recipe)
    start.to_end(on("zero", "generate", recipe))
    killed = start(on("one", "train", recipe), kill_when=lambda: any("state" in name for name in store.names()))
    assert killed.codes == [-9]
    start.to_end(*(on(arm, "train", recipe, "--arm", arm) for arm in ("real", "both")))
    start.to_end(on("last", "evaluate", recipe))
    assert store.contents() == wanted


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("url", "changed", "word"),
    [
        ("s3://nowhere/runs", {}, "bucket"),
        (URL, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
        pytest.param(URL, {"AWS_ACCESS_KEY_ID": "wrong"}, "credentials", marks=pytest.mark.thorough),
    ],
    ids=["bucket", "no key", "wrong key"],
)
def test_what_is_wrong_with_a_place_is_reported_in_a_line(start, recipe, store, machine, url, changed, word):
    if "wrong" in changed.values():
        store.tell("reset-auth", b"0")
    try:
        done = start(store.on(machine("one"), "show", str(recipe), "--out", url, **changed))
    finally:
        store.tell("reset-auth", b"inf")
    assert (done.codes, done.said.count("\n")) == ([2], 1), done.said
    assert url in done.said and word in done.said


def test_without_the_extra_one_line_says_what_to_install():
    code = "import sys; sys.modules['s3fs'] = None; from genrobust.cli import main; main()"
    words = [sys.executable, "-c", code, "show", "pictograms", "--out", URL]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "genrobust[s3]" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture
def machines(monkeypatch, tmp_path):
    """The folders of an artifact in two machines' copies of the same place, in the memory of this process."""
    url = f"memory://{tmp_path.name}/runs"
    copies = [Remote(url, tmp_path / name) for name in "ab"]
    monkeypatch.setattr("genrobust.store.remote._opened", dict(enumerate(copies)))
    yield [copy.folder / "set" for copy in copies]
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def publish(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    Artifact(folder).publish(Manifest("lists"), files)


def test_a_copy_follows_what_another_does(machines):
    one, two = map(Artifact, machines)
    one.folder.mkdir(parents=True)
    one.begin(Manifest("lists"))
    (one.folder / "000000.txt").write_text("large")
    one.finish_part("000000", ["000000.txt"], {})
    (two.folder / "mine").mkdir(parents=True)
    (two.folder / "mine" / "notes.json").write_text("mine")
    assert two.fetch().is_begun and two.parts() == ["000000"] and not (two.folder / "000000.txt").exists()
    assert two.path("000000.txt", "000000").read_text() == "large"
    fetched = (two.folder / "000000.txt").stat().st_ino
    assert two.fetch().path("000000.txt", "000000").stat().st_ino == fetched, "what is as it was stays"
    (one.folder / "000000.txt").write_text("other")
    one.finish_part("000000", ["000000.txt"], {})
    assert two.fetch().path("000000.txt", "000000").read_text() == "other", "an outdated one is not kept"
    one.publish(Manifest("lists"), [], ["000000"])
    assert two.fetch().is_finished and not two.is_begun
    assert two.check_files().files.keys() == {"000000.txt", "000000.json"}
    one.remove()
    assert not (two.fetch().is_finished or two.parts())
    assert (two.folder / "mine" / "notes.json").read_text() == "mine"


def test_the_state_of_a_training_goes_from_machine_to_machine(machines):
    one, two = map(Artifact, machines)
    for artifact, step in ((one, "1"), (two, "2"), (one, "3")):
        artifact.folder.mkdir(parents=True, exist_ok=True)
        artifact.fetch().begin(Manifest("training"))
        (artifact.folder / f"state-{step}").write_text(step)
        artifact.keep([f"state-{step}"], {"step": step})
    assert two.fetch().manifest().about == {"step": "3"} and two.path("state-3").read_text() == "3"
    two.publish(two.manifest(), ["state-3"])
    assert {path.name for path in two.folder.iterdir()} >= {"manifest.json", "state-3"} and not two.is_begun
    assert one.fetch().is_finished


def test_a_lora_that_another_machine_trained_is_fetched(machines):
    one, two = machines
    one.mkdir(parents=True)
    (one / LORA_FILE).write_text("weights")
    Artifact(one).publish(Manifest(GENERATOR), [LORA_FILE])
    assert Artifact(two).fetch().is_finished and not (two / LORA_FILE).exists()
    assert find_lora(LoraConfig(model=str(two))) == (two.name, two / LORA_FILE)
    assert (two / LORA_FILE).read_text() == "weights"


def test_a_classifier_that_another_machine_trained_judges_images(machines, write_shards, tmp_path):
    one, two = machines
    ids = ("a", "b")
    save_checkpoint(one, create_classifier("test_resnet", 2, 32), CheckpointInfo("test_resnet", {}, ids, 32, {}))
    shards = write_shards(tmp_path / "shards", [Image.new("RGB", (32, 32), (40 * i, 9, 99)) for i in range(4)], ids)
    labels = LabelSpace(tuple(ClassLabel(id, id, id) for id in ids))
    place = tmp_path / "filter"
    ScoreFilter(shards, FilterConfig(drop=0.5), two, labels, (), place, {}).run(4, "cpu")
    assert len(read_filter(place).rejected) == 2


def test_a_page_is_replaced_on_whichever_machine(machines):
    for text, machine in zip("1212", (*machines, *machines), strict=True):
        write_files({"a": text, "b": text}, machine)
    assert Artifact(machines[0]).fetch().path("b").read_text() == "2"


def test_what_another_machine_finishes_while_it_is_fetched_is_listed_anew(machines, monkeypatch):
    one, two = map(Artifact, machines)
    one.folder.mkdir(parents=True)
    one.begin(Manifest("lists"))
    memory = type(fsspec.filesystem("memory"))
    cat = memory.cat

    def finish_first(*args, **kwargs):
        if not one.is_finished:
            one.publish(Manifest("lists"))
        return cat(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(memory, "cat", finish_first)
        two.fetch()
    assert (two.is_finished, two.is_begun) == (True, False)


def test_a_listing_that_fails_removes_nothing(machines, monkeypatch):
    publish(machines[0], a="1")

    def fail(*args, **kwargs):
        raise OSError("Socket is closed")

    for asked in ("find", "cat"):
        with monkeypatch.context() as patched:
            patched.setattr(type(fsspec.filesystem("memory")), asked, fail)
            with pytest.raises(GenrobustError, match="Socket is closed"):
                Artifact(machines[0]).fetch()
    assert Artifact(machines[0]).check_files()


def test_another_process_gets_the_password(tmp_path, monkeypatch):
    remote = Remote("memory://me:secret@host/runs", tmp_path)
    monkeypatch.setattr("genrobust.store.remote._opened", {"": remote})
    assert address(remote.folder) == "memory://me:secret@host/runs"
    assert "secret" not in f"{remote.url} {remote.folder}"


def test_folders_are_what_they_were(tmp_path):
    assert local_folder("runs") == Path("runs")
    assert local_folder(tmp_path) == tmp_path
    with pytest.raises(UserError, match="URL"):
        local_folder(Path(URL))


def test_each_url_has_a_copy_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path))
    urls = [f"memory://{path}" for path in ("a/b", "a-b", "a.b", "a/B", "a" * 150 + "/x", "a" * 150 + "/y")]
    names = [local_folder(url).name.casefold() for url in urls]
    assert len({*names}) == len(urls) and local_folder(f"{urls[0]}/").name.casefold() == names[0]


MISTAKES = [
    *("s3x://b/x", "http://127.0.0.1:1/x", "s3://", "memory://", "C://x", "file:///x", "s3:/b/x"),
    *("zip://a.zip::s3://b/x", "s3://b/../x", "s3://b//x", "s3://b\0/x", "memory://\x1b[2J"),
]


@pytest.mark.parametrize("url", MISTAKES)
def test_what_is_no_store_is_refused(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path / "copies"))
    with pytest.raises(UserError) as error:
        local_folder(url)
    assert url in str(error.value) or ascii(url) in str(error.value)
    assert not list(tmp_path.iterdir())
