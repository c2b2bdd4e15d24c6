"""Artifacts: whole or none after a kill, a changed bit is an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from genrobust.core import GenrobustError, NewerVersion, UserError
from genrobust.store import Artifact, Manifest, artifact_folder, artifacts
from genrobust.store.artifact import SYSTEM_FILES

WHAT = Manifest("dataset", inputs={"seed": 1}, about={"classes": ["cat"]}, made_by={"torch": "2"})


def make(folder: Path, **contents: bytes) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    artifact = Artifact(folder)
    artifact.publish(WHAT)
    return artifact


def test_a_finished_artifact_lists_its_files_and_hands_them_out(tmp_path: Path) -> None:
    artifact = make(tmp_path, a=b"12", b=b"")
    manifest = artifact.manifest()
    assert manifest.kind == "dataset" and manifest.inputs == {"seed": 1}
    assert {name: facts.size for name, facts in manifest.files.items()} == {"a": 2, "b": 0}
    assert artifact.path("a").read_bytes() == b"12"
    assert not artifact.damage()


@settings(max_examples=60)
@given(data=st.data())
def test_any_changed_bit_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    artifact = make(tmp_path_factory.mktemp("any"), a=b"some bytes", b=b"others")
    path = artifact.folder / data.draw(st.sampled_from(["a", "b", "manifest.json"]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    same = path.name == "manifest.json" and _same_json(path.read_bytes(), bytes(content))
    path.write_bytes(content)
    assert [path.name for path in artifact.damage()] == ([] if same else [path.name])
    if not same:
        with pytest.raises(GenrobustError, match=path.name):
            artifact.path("a"), artifact.path("b")


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_unfinished_work_is_kept_until_it_is_published(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path)
    assert artifact.begin(WHAT) == WHAT and artifact.begin(Manifest("other")) == WHAT
    for step in (1, 2):
        (tmp_path / f"state-{step}").write_bytes(b"%d" % step)
        artifact.keep([f"state-{step}"], {"step": step})
    assert artifact.manifest().about == {"step": 2} and not (tmp_path / "state-1").exists()
    assert artifact.path("state-2").read_bytes() == b"2"
    (tmp_path / "model").write_bytes(b"weights")
    artifact.publish(WHAT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "model"]
    assert list(artifact.manifest().files) == ["model"]


def test_parts_are_finished_one_by_one_and_made_again_alone(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path)
    artifact.begin(WHAT)
    for part in ("000000", "000001"):
        assert artifact.part(part) is None
        (tmp_path / f"{part}.tar").write_bytes(part.encode())
        artifact.finish_part(part, [f"{part}.tar"], {"images": 1})
    artifact.publish(WHAT, names=(), parts=("000000", "000001"))
    assert set(artifact.manifest().files) == {"000000.tar", "000000.json", "000001.tar", "000001.json"}
    (tmp_path / "000001.tar").unlink()
    assert artifact.lacks(artifact.manifest().files) == ["000001.tar"]
    artifact.reopen()
    assert artifact.is_begun and not artifact.is_finished and artifact.manifest().about == WHAT.about


def test_other_files_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    for name in SYSTEM_FILES:
        (tmp_path / "seen" / name).touch()
    seen = Artifact(tmp_path / "seen")
    seen.begin(WHAT)
    seen.publish(WHAT)
    assert not seen.manifest().files
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match=r"photo\.jpg"):
        Artifact(tmp_path).begin(WHAT)


@pytest.mark.parametrize("old", [{}, {"genrobust_format": 2}, {"genrobust_format": 4}])
def test_other_formats_are_refused(tmp_path: Path, old: dict[str, int]) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match="format"):
        Artifact(tmp_path).manifest()


def test_what_a_newer_version_made_is_neither_damaged_nor_something_else(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"genrobust_format": 4}')
    artifact = Artifact(tmp_path)
    for look in (artifact.manifest, lambda: artifact.is_finished_as("dataset"), lambda: list(artifact.damage())):
        with pytest.raises(NewerVersion, match="upgrade"):
            look()


def test_artifacts_are_found_below_a_folder(tmp_path: Path) -> None:
    made = make(artifact_folder(tmp_path / "generated", "diverse 28", {"seed": 1}), a=b"")
    assert made.folder.name.startswith("diverse-28-")
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    (tmp_path / ".damaged").mkdir()
    make(tmp_path / ".damaged" / "x", a=b"")
    assert [found.folder for found in artifacts(tmp_path)] == [made.folder]
    (made.folder / "manifest.json").write_bytes(b"\0")
    assert [found.folder for found in artifacts(tmp_path)] == [made.folder]
    made.remove()
    assert not made.folder.exists()
    Artifact(tmp_path / "manifest.json" / "below a file").remove()


def test_artifacts_behind_links_are_found_once(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "runs", tmp_path / "disk" / "generated"
    behind, beside = make(elsewhere / "x", a=b""), make(tmp_path / "beside", a=b"")
    out.mkdir()
    for link, folder in (("generated", elsewhere), ("twice", elsewhere), ("circle", out), ("above", tmp_path)):
        (out / link).symlink_to(folder)
    (elsewhere / "back").symlink_to(out)
    assert [found.folder.resolve() for found in artifacts(out)] == [behind.folder]
    assert {found.folder for found in artifacts(tmp_path)} == {behind.folder, beside.folder}


def test_an_artifact_that_changed_places_is_found(tmp_path: Path) -> None:
    inputs: list[dict[str, object]] = [{"seed": 1}, {"seed": 2, "train": {"steps": (1, 2.5)}}]
    one, other = (artifact_folder(tmp_path, "real", of) for of in inputs)
    for folder, of in zip((one, other), inputs, strict=True):
        with Artifact(folder).writing(Manifest("checkpoint", of), "model"):
            (folder / "model").write_bytes(b"weights")
        assert list(Artifact(folder).damage()) == []
    one.rename(tmp_path / "away")
    other.rename(one)
    assert Artifact(tmp_path / "away").path("model")  # a name without a hash promises nothing
    assert list(Artifact(one).damage()) == [one / "manifest.json"]
    with pytest.raises(GenrobustError, match=rf"{one.name}.*{other.name[-10:]}"):
        Artifact(one).path("model")


def test_what_a_kill_after_the_manifest_left_is_removed(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path)
    artifact.begin(WHAT)
    (tmp_path / "state").write_bytes(b"1")
    artifact.keep(["state"], {})
    unfinished = (tmp_path / "unfinished.json").read_bytes()
    artifact.publish(WHAT, [])
    for name, content in (("state", b"1"), ("unfinished.json", unfinished)):
        (tmp_path / name).write_bytes(content)
    artifact.clean()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_what_is_made_again_is_never_whole_with_files_of_before(tmp_path: Path) -> None:
    artifact = make(tmp_path, a=b"before")
    with pytest.raises(KeyboardInterrupt), artifact.writing(WHAT, "a"):
        (tmp_path / "a").write_bytes(b"after")
        raise KeyboardInterrupt
    assert not artifact.is_finished
