"""Output at a URL, on a real server that speaks S3 (see object_store.py).

Each command is a process of its own, and a machine is an environment with a folder for copies of its own.
"""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
import yaml
from fsspec.implementations.local import LocalFileSystem
from kill_and_resume import contents

from genrobust.core import (
    GenrobustError,
    UserError,
    fetch,
    local_folder,
    remove,
    replacing,
)
from genrobust.core.files import size_of
from genrobust.core.mirror import Mirror, address, without_password

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


def test_a_dataset_at_an_url_is_that_of_a_folder(start, recipe, store, machine, on, generated):
    start.to_end(on("one", "generate", recipe))
    assert store.contents() == generated
    assert {len(versions) for versions in store.versions().values()} == {1}, "nothing is written twice"
    (copy,) = machine("one").iterdir()
    assert {f"generated/{name}": body for name, body in contents(copy / "generated").items()} == generated
    assert list((copy / ".fetching").iterdir()) == []


@pytest.mark.thorough
def test_a_killed_process_is_gone_on_with_on_another_machine(start, recipe, store, machine, on, generated):
    killed = start(on("one", "generate", recipe), kill_when=lambda: len(stems(store.names(), ".parquet")) >= 4)
    assert killed.codes == [-9]
    before = store.contents()
    done_before = stems(before, ".parquet")
    assert 4 <= len(done_before) < 15
    assert before.items() <= generated.items(), "what is there is whole"
    done = start.to_end(on("two", "generate", recipe))
    assert store.contents() == generated
    assert f"generating {6 * (15 - len(done_before))} images" in done.said
    again = {key for key, versions in store.versions().items() if len(versions) > 1}
    assert done_before.isdisjoint(Path(key).stem for key in again), "what was done is not drawn again"


@pytest.mark.thorough
def test_parts_on_machines_that_share_the_bucket_alone(start, recipe, store, machine, on, undisturbed):
    settings = yaml.safe_load(recipe.read_text())
    settings["arms"].append({"name": "both", "mixture": [{"source": "real"}, {"source": "generated"}]})
    settings["train"]["steps"] = 5
    recipe.write_text(yaml.safe_dump(settings))
    wanted = undisturbed("evaluate", recipe)
    start.to_end(*(on(f"part {k}", "generate", recipe, "--shards", f"{k}/2") for k in (1, 2)))
    versions = store.versions()
    opened = start.to_end(on("third", "generate", recipe))
    assert "90 images in" in opened.said
    assert store.versions() == versions, "nothing is drawn again"
    (third,) = machine("third").iterdir()
    assert list(third.glob("generated/*/*.tar")) == [], "who does not read images fetches none"
    assert "90 of 90 images" in start.to_end(on("third", "show", recipe)).said
    start.to_end(*(on(f"train {k}", "train", recipe, "--cells", f"{k}/2") for k in (1, 2)))
    start.to_end(on("last", "evaluate", recipe))
    assert store.contents() == wanted
    twice = {Path(key).name for key, versions in store.versions().items() if len(versions) > 1}
    assert twice <= {"manifest.json", "state.safetensors"}, "nothing is done twice"


@pytest.mark.thorough
@pytest.mark.parametrize("stage", ["train", "finetune"])
def test_a_training_goes_on_on_another_machine(start, recipe, store, on, undisturbed, stage):
    command = [stage, recipe, "--set", "train.save_every=2", "--set", "finetune.save_every=2"]
    wanted = undisturbed(*command)

    def states():
        return sum(len(versions) for key, versions in store.versions().items() if "state" in key)

    assert start(on("one", *command), kill_when=lambda: states() >= 3).codes == [-9]
    start.to_end(on("two", *command))
    assert store.contents() == wanted
    assert states() == {"train": 19, "finetune": 6}[stage], "no step is taken twice"


@pytest.mark.thorough
def test_a_server_that_goes_away_is_told_and_gone_on_with(start, recipe, store, on, generated):
    command = on("one", "generate", recipe, AWS_MAX_ATTEMPTS="1")
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(start, command)
        while len(stems(store.names(), ".parquet")) < 3:
            assert not running.done()
            time.sleep(0.03)
        store.server.stop()
        done = running.result()
        gone = start(command)
        store.serve()
    assert done.codes == [1], done.said
    assert re.search(f"cannot (write|remove) {URL}/generated/", done.said)
    assert "completed files are intact; fix this and rerun" in done.said
    assert gone.codes == [1]
    assert f"cannot use {URL}" in gone.said
    assert store.contents().items() <= generated.items()
    start.to_end(command)
    assert store.contents() == generated


@pytest.mark.parametrize(
    ("url", "changed", "message"),
    [
        ("s3://nowhere/runs", {}, "cannot use s3://nowhere/runs: .* make the bucket first"),
        (URL, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "look at your credentials"),
        (URL, {"AWS_ACCESS_KEY_ID": "wrong"}, f"cannot use {URL}: .* look at your credentials"),
        ("nosuch://bucket/runs", {}, "give a folder, or a URL such as s3://bucket/runs"),
    ],
    ids=["bucket", "no key", "wrong key", "protocol"],
)
def test_what_is_wrong_with_a_place_is_reported_in_a_line(start, recipe, store, machine, url, changed, message):
    if "wrong" in changed.values():
        store.tell("reset-auth", b"0")
    try:
        done = start(store.on(machine("one"), "show", str(recipe), "--out", url, **changed))
    finally:
        store.tell("reset-auth", b"inf")
    assert (done.codes, done.said.count("\n")) == ([2], 1), done.said
    assert re.search(message, done.said)


def test_without_the_extra_one_line_says_what_to_install(recipe):
    code = "import sys; sys.modules['s3fs'] = None; from genrobust.cli import main; main()"
    words = [sys.executable, "-c", code, "show", str(recipe), "--out", URL]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    wanted = f"error: --out {URL} needs the package s3fs, which is not installed: pip install 'genrobust[s3]'\n"
    assert done.stderr == wanted


@pytest.fixture
def mirrors(store, monkeypatch, tmp_path):
    """Two copies of the same place."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    return Mirror(URL, tmp_path / "a"), Mirror(URL, tmp_path / "b")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)


def test_a_copy_follows_what_another_does(mirrors):
    one, two = (mirror.folder / "set" for mirror in mirrors)
    write(one / "0.tar", b"large")
    write(one / "0.parquet", b"small")
    write(two / "own.csv", b"mine")
    fetch(two, "*.parquet", later=["*.tar"])
    assert sorted(p.name for p in two.iterdir()) == ["0.parquet", "own.csv"]
    assert size_of(two / "0.tar") == 5
    with pytest.raises(FileNotFoundError):
        size_of(two / "1.tar")
    mirrors[1].fetch_files([two / "0.tar"])
    assert (two / "0.tar").read_bytes() == b"large"
    fetched = (two / "0.tar").stat().st_ino
    fetch(two, "*.parquet", later=["*.tar"])
    assert (two / "0.tar").stat().st_ino == fetched, "what is as it was stays"
    time.sleep(1.1)  # a store's times are whole seconds
    write(one / "0.tar", b"other")
    write(one / "0.parquet", b"SMALL")
    fetch(two, "*.parquet", later=["*.tar"])
    assert (two / "0.parquet").read_bytes() == b"SMALL"
    assert not (two / "0.tar").exists(), "an outdated one is not kept"
    remove(one / "0.parquet")
    fetch(two, "*.parquet", later=["*.tar"])
    assert sorted(p.name for p in two.iterdir()) == ["own.csv"]


def test_a_bucket_that_was_emptied_has_no_old_copy(mirrors, store, tmp_path):
    write(mirrors[0].folder / "a", b"1")
    for key in store.names():
        store.client.delete_object(Bucket="bucket", Key=key)
    assert Mirror(URL, tmp_path / "a").folder != mirrors[0].folder
    assert (mirrors[0].folder / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sftp://me:secret@host/runs", "sftp://host/runs"),
        ("sftp://me:pa@ss/w0rd@host:22/runs", "sftp://host:22/runs"),
        ("sftp://me@host/runs", "sftp://me@host/runs"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
    ],
)
def test_no_name_or_message_holds_a_password(url, shown):
    assert without_password(url) == shown


def test_another_process_gets_the_password(tmp_path, monkeypatch):
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    mirror = Mirror("memory://me:secret@host/runs", tmp_path)
    assert address(mirror.folder) == "memory://me:secret@host/runs"
    assert "secret" not in f"{mirror.url} {mirror.folder}"


class Disk(LocalFileSystem):
    """A file system that is no object store, where a file grows as it is written."""

    protocol = "disk"

    @classmethod
    def _strip_protocol(cls, path):
        return str(path).removeprefix("disk://").rstrip("/")


def test_another_file_system_gets_whole_files_too(tmp_path, monkeypatch):
    fsspec.register_implementation("disk", Disk, clobber=True)
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    one, two = (Mirror(f"disk://{tmp_path}/there", tmp_path / name) for name in "ab")
    write(one.folder / "set" / "a", b"1")
    assert [p.name for p in (tmp_path / "there" / "set").iterdir()] == ["a"]
    fetch(two.folder / "set", "*")
    assert (two.folder / "set" / "a").read_bytes() == b"1"


def test_folders_are_what_they_were(tmp_path):
    assert local_folder("runs") == Path("runs")
    assert local_folder(f"file://{tmp_path}") == tmp_path
    assert local_folder(tmp_path) == tmp_path
    with pytest.raises(UserError, match="is a URL, and a folder is needed here"):
        local_folder(Path(URL))


class Odd(Disk):
    """A file system whose connection may be lost."""

    protocol = "odd"
    lost = False

    @classmethod
    def _strip_protocol(cls, path):
        return str(path).removeprefix("odd://").rstrip("/")

    def ls(self, path, detail=False, **kwargs):
        if Odd.lost:
            raise OSError("Socket is closed")
        return super().ls(path, detail=detail, **kwargs)


@pytest.fixture
def odd(tmp_path, monkeypatch):
    fsspec.register_implementation("odd", Odd, clobber=True)
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    return lambda name: Mirror(f"odd://{tmp_path}/there", tmp_path / name)


def test_a_listing_that_fails_removes_nothing(odd, monkeypatch):
    one = odd("a")
    write(one.folder / "set" / "a", b"1")
    monkeypatch.setattr(Odd, "lost", True)
    with pytest.raises(GenrobustError, match=r"cannot list .*Socket is closed"):
        fetch(one.folder / "set", "*")
    assert (one.folder / "set" / "a").read_bytes() == b"1"
    monkeypatch.setattr(Odd, "lost", False)
    fetch(one.folder / "other", "*")
    assert not (one.folder / "other" / "a").exists()
