"""Artifacts: folders named after their inputs, with files of any kind and a ``manifest.json`` that is written last.

The files are what their libraries write, and nothing is added to them. The manifest says what the artifact is, what it
was made from and by, and the size and SHA-256 of each file, so that a killed process leaves a whole artifact or none,
and a changed bit in what is read again is an error that names the file. Two processes that make the same artifact waste
time and lose nothing.

Work that is resumed after a kill has the same content in ``unfinished.json`` until it is done, and may come in parts
that are called by six digits, each finished by a small manifest of its own: ``000000.json`` of a dataset's first shard.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from genrobust.core.errors import GenrobustError, NewerVersion, UserError, reading
from genrobust.core.files import MANIFEST, UNFINISHED, lock, make_folder, remove_leftovers, replacing, temporary
from genrobust.core.keys import digest, hash_file, hash_once, slug
from genrobust.core.parsing import parse_json
from genrobust.core.remote import Remote, remote_of

OURS = b'"genrobust_format"'  # in each manifest, and in no other file
FORMAT = 3  # of manifests
HEAD = 4096  # bytes
HASH = 10  # hex digits of the hash in the name of a folder
LONGEST_WORD = 60  # characters before it
CHANGED = "it has changed since it was written"
SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.ini")  # of folders that a user has looked at
_PART = re.compile(r"\d{6}\.")  # begins the names of a part's files
_MANIFESTS = re.compile(rf"{MANIFEST}|{UNFINISHED}|\d{{6}}\.json")  # of an artifact and its parts
_SEAL = "sha256"  # the key of the manifest's own hash, over all other keys


class FileFacts(NamedTuple):
    """The bytes of a file, and their SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a manifest, all of which is JSON.

    Attributes:
        kind: What the artifact is, in one word: "dataset", "checkpoint" ...
        inputs: All that its content depends on; the folder is named after their hash.
        about: Facts about its content, for who reads it.
        made_by: Versions of what made it by name, and hashes of its modules.
        files: The files of the artifact, by their path in the folder, with ``/`` between names.
    """

    kind: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileFacts] = field(default_factory=dict)


class Damage(NamedTuple):
    """A file of an artifact that is not as it was written, and what is wrong with it."""

    path: Path
    what: str


def artifact_folder(folder: Path, word: str, inputs: object) -> Path:
    """Return the folder in `folder` of what is made from `inputs`: a readable word, and their hash."""
    return folder / f"{slug(word)[:LONGEST_WORD].strip('-')}-{digest(inputs, HASH)}"


class Artifact:
    """An artifact in `folder`, which is finished, under way, or not begun.

    In the copy of a URL (see `local_folder`) it is published there: each file, and then the manifest, before the
    manifest is written here. What others publish is seen after `fetch`, and downloaded when `path` is asked. One that
    is not `mirrored` stays on this machine.
    """

    def __init__(self, folder: Path, mirrored: bool = True) -> None:
        self.folder, self._mirrored = folder, mirrored

    @property
    def is_finished(self) -> bool:
        """Whether its manifest is there."""
        return (self.folder / MANIFEST).is_file()

    @property
    def is_begun(self) -> bool:
        """Whether unfinished work is kept there."""
        return (self.folder / UNFINISHED).is_file()

    @property
    def is_foreign(self) -> bool:
        """Whether another program wrote its manifest. A damaged manifest of ours is not foreign."""
        manifests = [self.folder / name for name in (MANIFEST, UNFINISHED) if (self.folder / name).is_file()]
        is_ours = any(OURS in _head(path) for path in manifests)
        return not (is_ours or _hash_in_name(self.folder) or self.parts())

    def fetch(self) -> Artifact:
        """Bring its manifests up to date with its URL, if it has one, and remove what they no longer describe."""
        if (remote := self._remote) is not None:
            for path in remote.update(self.folder, _MANIFESTS):
                self._forget_outdated(path.name)
        return self

    def fetch_files(self, names: Iterable[str]) -> None:
        """Download the files `names` that are not here, if it has a URL."""
        if (remote := self._remote) is not None:
            remote.get([self.folder / name for name in names])

    @property
    def _remote(self) -> Remote | None:
        return remote_of(self.folder) if self._mirrored else None

    def _forget_outdated(self, manifest: str) -> None:
        """Remove the files here that are not as a `manifest` of the URL says."""
        with suppress(GenrobustError):  # a damaged one is reported when it is read
            for name, facts in self._read_manifest(manifest).files.items():
                path = self.folder / name
                if path.is_file() and hash_file(path) != facts.sha256:
                    path.unlink()

    def manifest(self) -> Manifest:
        """Read the manifest of the finished artifact, or of the unfinished one where there is no other.

        Raises:
            UserError: There is none, or one of another version of genrobust.
            GenrobustError: It is damaged, or that of another artifact than the folder is named after.
        """
        name = MANIFEST if self.is_finished or not self.is_begun else UNFINISHED
        if not (self.folder / name).is_file():
            raise UserError(f"{self.folder} holds nothing that genrobust finished: there is no {MANIFEST}")
        return self._read_manifest(name)

    def part(self, part: str) -> Manifest | None:
        """Read the manifest of a finished part; None where it is not finished.

        Raises:
            GenrobustError: It is damaged.
        """
        return self._read_manifest(_part_manifest(part)) if (self.folder / _part_manifest(part)).is_file() else None

    def path(self, name: str, part: str = "", remedy: str = "") -> Path:
        """Return the file `name` of the artifact, or of a part of it, once it is compared with the manifest.

        A process reads an unchanged file once for that. An error ends with `remedy`, by default `Artifact.remedy`.

        Raises:
            UserError: The artifact or its part is not finished.
            GenrobustError: The file is missing or has changed.
        """
        manifest = self.part(part) if part else self.manifest()
        if manifest is None:
            raise UserError(f"{self.folder}: {part} is not finished")
        path = self.folder / name
        with reading(path, KeyError, ValueError, then=f": {remedy or self.remedy}", kind=GenrobustError):
            expected = manifest.files[name].sha256
            self.fetch_files([name])
            if hash_once(path) != expected:
                raise ValueError(CHANGED)
        return path

    def is_finished_as(self, kind: str) -> bool:
        """Return whether a finished artifact of `kind` lies there; a manifest of something else is none.

        Raises:
            NewerVersion: The manifest is that of a newer version of genrobust.
            GenrobustError: The manifest is damaged.
        """
        try:
            return self.is_finished and self.manifest().kind == kind
        except NewerVersion:
            raise
        except UserError:
            return False

    def check_files(self) -> Manifest:
        """Compare each file with the manifest, and return that; a process reads an unchanged file once for it.

        Raises:
            UserError: There is no manifest of this version.
            GenrobustError: A file or the manifest is damaged; the message names the first.
        """
        manifest = self.manifest()
        self.fetch_files(manifest.files)
        for name in manifest.files:
            self.path(name)
        return manifest

    def begin(self, manifest: Manifest) -> Manifest:
        """Record what is made here, unless that was begun or finished before; return what is recorded then.

        Raises:
            UserError: The folder holds files that are no part of an artifact, or one of another version of genrobust.
            GenrobustError: What is recorded is damaged; the system refuses to write.
        """
        strangers = sorted(self._file_names())
        if self.is_finished or self.is_begun:  # looked at last: another process may begin it now
            self.clean()
            return self.manifest()
        if strangers and not _hash_in_name(self.folder):  # such a folder is ours, and notes may lie in it
            examples = ", ".join(strangers[:3])
            raise UserError(f"{self.folder} holds other files ({examples}) and no {MANIFEST}: choose another folder")
        self._write_manifest(UNFINISHED, manifest)
        return manifest

    def keep(self, names: Iterable[str], about: Mapping[str, Any]) -> None:
        """Record the files `names` of the unfinished artifact in place of those before, and facts about them.

        Files that were recorded and are no more are removed.
        """
        before = self.manifest()
        files = {name: self._publish_file(name) for name in names}
        self._write_manifest(UNFINISHED, replace(before, about=about, files=files))
        self.discard(*(before.files.keys() - files.keys()))

    def finish_part(self, part: str, names: Iterable[str], about: Mapping[str, Any]) -> None:
        """Finish a part that consists of the files `names`."""
        files = {name: self._publish_file(name) for name in names}
        self._write_manifest(_part_manifest(part), Manifest("part", about=about, files=files))

    def discard(self, *names: str) -> None:
        """Remove the files `names`, if they are there: from its URL, and then here."""
        for name in names:
            if (remote := self._remote) is not None:
                remote.remove(self.folder / name)
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.folder / name).unlink()

    def discard_part(self, part: str) -> None:
        """Remove the manifest of a part, so that the part is made again."""
        self.discard(_part_manifest(part))

    @contextmanager
    def writing(self, manifest: Manifest, *names: str) -> Iterator[None]:
        """Hold the folder while the block writes the files `names`, and then finish the artifact.

        One that is finished is made anew: its manifest is removed before the block.
        """
        make_folder(self.folder)
        with lock(self.folder, wait=True):
            remove_leftovers(self.folder)
            self.discard(MANIFEST)
            yield
            self.publish(manifest, names)

    def publish(self, manifest: Manifest, names: Iterable[str] | None = None, parts: Iterable[str] = ()) -> None:
        """Finish the artifact: write its manifest, with its files.

        Args:
            manifest: What it is; its `files` are added to.
            names: The files; None are all in the folder, hidden ones and those of unfinished work left out.
            parts: Finished parts, whose files and manifests are files of the artifact, too.
        """
        files = dict(manifest.files)
        for part in parts:
            finished = self.part(part)
            assert finished is not None, part
            files |= {**finished.files, _part_manifest(part): self._facts(_part_manifest(part))}
        if names is None:
            names = self._file_names() - (self._read_manifest(UNFINISHED).files.keys() if self.is_begun else set())
        for name in names:
            files[name] = self._publish_file(name)
        self._write_manifest(MANIFEST, replace(manifest, files=dict(sorted(files.items()))))
        self.clean()

    def clean(self) -> None:
        """Remove what the work on a finished artifact kept, and a kill left."""
        if self.is_finished and self.is_begun:
            kept = self._read_manifest(UNFINISHED).files.keys() - self._read_manifest(MANIFEST).files.keys()
            self.discard(*kept, UNFINISHED)

    def parts(self) -> list[str]:
        """Return the finished parts, sorted."""
        names = sorted(path.name for path in self.folder.glob("*.json"))
        return [name.removesuffix(".json") for name in names if _PART.match(name)]

    def made_with(self, name: str) -> list[str]:
        """Return the files that are made again together with the file `name`, in the order in which to remove them.

        They are those of its part, or all. Of a damaged manifest, they are all in the folder if it is named by a hash.
        """
        try:
            files = self.manifest().files
        except GenrobustError:
            return [name, *sorted(self._file_names() if _hash_in_name(self.folder) else ())]
        part = name.partition(".")[0]
        if _PART.match(name) and (_part_manifest(part) in files or (self.folder / _part_manifest(part)).exists()):
            others = {path.name for path in self.folder.glob(f"{part}.*")} - {_part_manifest(part)}
            return [_part_manifest(part), *sorted(others)]
        return [MANIFEST, UNFINISHED, *files]

    def reopen(self, manifest: Manifest | None = None) -> None:
        """Make a finished artifact an unfinished one, so that missing parts are made again; or begin `manifest`."""
        if manifest is not None or self.is_finished:
            self._write_manifest(UNFINISHED, manifest or replace(self.manifest(), files={}))
            self.discard(MANIFEST)

    def damage(self) -> Iterator[Damage]:
        """Read every file and yield those that are not as they were written, manifests and finished parts too.

        Raises:
            NewerVersion: A manifest is that of a newer version of genrobust.
        """
        files: dict[str, FileFacts] = {}
        if not (self.is_finished or self.is_begun):
            yield Damage(self.folder / MANIFEST, f"{self.folder} holds files, and no {MANIFEST}: {self.remedy}")
            return
        for name in [MANIFEST] if self.is_finished else [UNFINISHED, *map(_part_manifest, self.parts())]:
            try:
                files |= self._read_manifest(name).files
            except NewerVersion:
                raise  # intact, as far as this version knows
            except GenrobustError as error:
                yield Damage(self.folder / name, str(error))
        for name, facts in files.items():
            if problem := self._find_problem(name, facts):
                yield Damage(self.folder / name, problem)

    def _find_problem(self, name: str, facts: FileFacts) -> str:
        path = self.folder / name
        try:
            if path.stat().st_size != facts.size:
                return f"{path} has {path.stat().st_size:,} bytes instead of {facts.size:,}"
            return "" if hash_file(path) == facts.sha256 else f"{path} has changed since it was written"
        except OSError as error:
            return f"cannot read {path}: {error.strerror}"

    def lacks(self, files: Mapping[str, FileFacts]) -> list[str]:
        """Return which of `files` are missing or have another size: a look that reads no file."""
        lacking = []
        for name, facts in files.items():
            try:
                whole = (self.folder / name).stat().st_size == facts.size
            except OSError:
                whole = self._remote is not None  # where it may be
            if not whole:
                lacking.append(name)
        return lacking

    def remove(self) -> None:
        """Remove the artifact: its manifest first, so that a kill leaves none that looks whole."""
        self.discard(MANIFEST, UNFINISHED, *map(_part_manifest, self.parts()))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def remedy(self) -> str:
        """What to do about damage."""
        return f"genrobust verify {shlex.quote(str(self.folder))} --repair sets it aside, and a rerun makes it again"

    def _file_names(self) -> set[str]:
        paths = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in (MANIFEST, UNFINISHED))
        names = (path.relative_to(self.folder) for path in paths)
        shown = (name for name in names if not any(part.startswith(".") for part in name.parts))
        return {name.as_posix() for name in shown if name.name not in SYSTEM_FILES}

    def _facts(self, name: str) -> FileFacts:
        path = self.folder / name
        with reading(path, kind=GenrobustError):
            return FileFacts(path.stat().st_size, hash_file(path))

    def _publish_file(self, name: str) -> FileFacts:
        if (remote := self._remote) is not None:
            remote.put(self.folder / name)
        return self._facts(name)

    def _write_manifest(self, name: str, manifest: Manifest) -> None:
        files = {file: facts._asdict() for file, facts in manifest.files.items()}
        content = {"genrobust_format": FORMAT, "kind": manifest.kind, "inputs": manifest.inputs}
        content |= {"about": manifest.about, "made_by": manifest.made_by, "files": files}
        plain = json.loads(json.dumps(content, allow_nan=False))  # what a reader gets: tuples as lists, keys as text
        text = json.dumps({**plain, _SEAL: digest(plain, 64)}, indent=1, ensure_ascii=False) + "\n"
        if (remote := self._remote) is not None:
            remote.put(self.folder / name, text.encode())
        with replacing(self.folder / name) as file:
            file.write(text.encode())

    def _read_manifest(self, name: str) -> Manifest:
        path = self.folder / name
        with reading(
            path, ValueError, KeyError, TypeError, AttributeError, then=f": {self.remedy}", kind=GenrobustError
        ):
            content = parse_json(path.read_bytes())
            version = content.get("genrobust_format")
            if isinstance(version, int) and version > FORMAT:
                raise NewerVersion(
                    f"{path} is of format {version}, and this version reads format {FORMAT}: a newer version of "
                    "genrobust wrote it; upgrade to that"
                )
            if version != FORMAT:
                raise UserError(
                    f"{path} is of format {version!r}, and this version of genrobust reads format {FORMAT}: move the "
                    "folder away and run the command that made it again"
                )
            if content.pop(_SEAL) != digest(content, 64):
                raise ValueError(CHANGED)
            files = {file: FileFacts(facts["size"], facts["sha256"]) for file, facts in content["files"].items()}
            own = digest(content["inputs"], HASH)
            if content["inputs"] and _hash_in_name(self.folder) not in ("", own):
                raise ValueError(f"it is that of the folder whose name ends in -{own}: move it back there, or")
            for file in map(PurePosixPath, files):
                if file.is_absolute() or ".." in file.parts or "\0" in str(file):
                    raise ValueError(f"it names a file outside the folder: {str(file)!r}")
            inputs, about, made_by = (dict(content[key]) for key in ("inputs", "about", "made_by"))
            return Manifest(content["kind"], inputs, about, made_by, files)


def link(path: Path, folder: Path) -> None:
    """Make `path` a link to `folder` next to it, if the system has links. An existing file or folder stays."""
    new = temporary(path)
    if path.is_symlink() or not path.exists():
        with suppress(OSError):  # Windows asks for a right
            new.symlink_to(folder.name, target_is_directory=True)
            new.replace(path)


def fetch_artifacts(folder: Path) -> None:
    """Bring the manifests of all artifacts in `folder` up to date with its URL, if it has one, as `Artifact.fetch`."""
    if (remote := remote_of(folder)) is not None:
        for path in remote.update(folder, re.compile(f"[^/]+/{MANIFEST}")):
            Artifact(path.parent)._forget_outdated(MANIFEST)


def artifacts(folder: Path) -> Iterator[Artifact]:
    """Yield the artifacts in `folder` and below it, finished ones, others and those that have lost their manifest.

    Manifests of other programs are left out, unless a folder is called as an artifact is, and so are hidden folders.
    Links to folders are followed, unless they lead into `folder` or to one that holds it; each is looked at once.
    """
    root = folder.resolve()
    seen = set(map(str, root.parents))
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(place)
        if real in seen or (place != str(folder) and Path(place).is_symlink() and Path(real).is_relative_to(root)):
            folders.clear()
            continue
        seen.add(real)
        artifact, manifests = Artifact(Path(place)), {MANIFEST, UNFINISHED} & {*names}
        if any(OURS in (artifact.folder / name).read_bytes() for name in manifests) or (
            _hash_in_name(artifact.folder) and artifact._file_names()
        ):
            yield artifact


def _hash_in_name(folder: Path) -> str:
    """The hash in the name of a folder that has a name such as `artifact_folder` gives, else ""."""
    named = re.fullmatch(f".+-([0-9a-f]{{{HASH}}})", folder.resolve().name)
    return named[1] if named else ""


def _head(path: Path) -> bytes:
    """Read the first bytes of a manifest, which begins with `OURS` if it is ours."""
    with reading(path), path.open("rb") as file:
        return file.read(HEAD)


def _part_manifest(part: str) -> str:
    return f"{part}.json"
