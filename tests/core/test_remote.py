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

from genrobust.core import (
    GenrobustError,
    UserError,
    address,
    fetch,
    fetch_files,
    local_folder,
    remove,
    replacing,
)
from genrobust.core.files import size_of
from genrobust.core.remote import RemoteFolder

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
    start.to_end(*(on(f"part {k}", "generate", recipe, "--part", f"{k}/2") for k in (1, 2)))
    killed = start(on("one", "train", recipe), kill_when=lambda: any("state" in name for name in store.names()))
    assert killed.codes == [-9]
    start.to_end(*(on(f"train {k}", "train", recipe, "--part", f"{k}/2") for k in (1, 2)))
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
def remotes(monkeypatch, tmp_path):
    """Two machines' copies of the same place, in the memory of this process."""
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    url = f"memory://{tmp_path.name}/runs"
    yield RemoteFolder(url, tmp_path / "a"), RemoteFolder(url, tmp_path / "b")
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)


def test_a_copy_follows_what_another_does(remotes):
    one, two = (remote.folder / "set" for remote in remotes)
    write(one / "0.tar", b"large")
    write(one / "0.json", b"small")
    (two / "own").mkdir(parents=True)
    (two / "own" / "mine.csv").write_bytes(b"mine")
    fetch(two, "*.json", later=["*.tar"])
    assert sorted(p.name for p in two.iterdir()) == ["0.json", "own"]
    assert size_of(two / "0.tar") == 5
    with pytest.raises(FileNotFoundError):
        size_of(two / "1.tar")
    fetch_files([two / "0.tar"])
    assert (two / "0.tar").read_bytes() == b"large"
    fetched = (two / "0.tar").stat().st_ino
    fetch(two, "*.json", later=["*.tar"])
    assert (two / "0.tar").stat().st_ino == fetched, "what is as it was stays"
    write(one / "0.tar", b"larger")
    write(one / "0.json", b"SMALL")
    fetch(two, "*.json", later=["*.tar"])
    assert (two / "0.json").read_bytes() == b"SMALL"
    assert not (two / "0.tar").exists(), "an outdated one is not kept"
    remove(one / "0.json")
    fetch(two, "*.json", later=["*.tar"])
    assert [p.name for p in two.iterdir()] == ["own"]


def test_what_another_machine_finishes_while_it_is_fetched_is_listed_anew(remotes, monkeypatch):
    one, two = (remote.folder / "set" for remote in remotes)
    write(one / "unfinished.json", b"begun")
    download = RemoteFolder._download

    def finish_first(remote, missing):
        remove(one / "unfinished.json")
        write(one / "manifest.json", b"done")
        download(remote, missing)

    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "_download", finish_first)
        fetch(two, "*.json")
    assert [path.name for path in two.iterdir()] == ["manifest.json"]


def test_a_listing_that_fails_removes_nothing(remotes, monkeypatch):
    write(remotes[0].folder / "set" / "a.json", b"1")

    def fail(*args, **kwargs):
        raise OSError("Socket is closed")

    with monkeypatch.context() as patched:
        patched.setattr(type(fsspec.filesystem("memory")), "find", fail)
        with pytest.raises(GenrobustError, match="Socket is closed"):
            fetch(remotes[0].folder / "set", "*")
    assert (remotes[0].folder / "set" / "a.json").read_bytes() == b"1"


def test_another_process_gets_the_password(tmp_path, monkeypatch):
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    remote = RemoteFolder("memory://me:secret@host/runs", tmp_path)
    assert address(remote.folder) == "memory://me:secret@host/runs"
    assert "secret" not in f"{remote.url} {remote.folder}"


def test_folders_are_what_they_were(tmp_path):
    assert local_folder("runs") == Path("runs")
    assert local_folder(f"file://{tmp_path}") == tmp_path
    assert local_folder(tmp_path) == tmp_path
    with pytest.raises(UserError, match="URL"):
        local_folder(Path(URL))


def test_each_url_has_a_copy_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path))
    urls = [f"memory://{path}" for path in ("a/b", "a-b", "a.b", "a/B", "a" * 150 + "/x", "a" * 150 + "/y")]
    names = [local_folder(url).name.casefold() for url in urls]
    assert len({*names}) == len(urls) and local_folder(f"{urls[0]}/").name.casefold() == names[0]


MISTAKES = [
    *("s3x://b/x", "http://127.0.0.1:1/x", "sftp://host/x", "https://", "s3://", "s3:///", "memory://", "://", "x://y"),
    *("C://x", "S3://b/x", "file://rel", "file:/tmp/x", "s3:/b/x", "zip://a.zip::s3://b/x", "simplecache::s3://b/x"),
    *(
        "s3://b/../x",
        "s3://b//x",
        "memory://a/./b",
        "memory://a/../../b",
        "s3://b\0/x",
        "memory://\x1b[2J",
        "ftp://127.0.0.1:1/x",
    ),
]


@pytest.mark.parametrize("url", MISTAKES)
def test_what_is_no_store_is_refused(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path / "copies"))
    with pytest.raises(UserError) as error:
        local_folder(url)
    assert url in str(error.value) or ascii(url) in str(error.value)
    assert not list(tmp_path.iterdir())
