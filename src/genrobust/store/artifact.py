"""Artifacts: folders named after their inputs, with files of any kind and a ``manifest.json`` that is written last.

Libraries write the files, and nothing is added to them. The manifest names the artifact, its inputs and its maker, and
has the size and SHA-256 of each file. So a killed process leaves a complete artifact or none, and a changed bit is an
error that names the file. Two processes that make the same artifact waste time and lose nothing.

Work that can be resumed has the same content in ``unfinished.json`` until it is done. It may consist of parts with
names of six digits. Each is finished by a small manifest of its own: ``000000.json`` for the first shard of a dataset.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrobust.core import GenrobustError, NewerVersion, UserError, digest, reading, slug
from genrobust.store.file_hashes import hash_file, hash_once
from genrobust.store.files import MANIFEST, UNFINISHED, lock, make_folder, remove_leftovers, replacing, temporary
from genrobust.store.manifest import (
    CHANGED,
    HASH,
    FileFacts,
    Manifest,
    dump_manifest,
    hash_in_name,
    is_ours,
    read_manifest,
)
from genrobust.store.remote import Remote, remote_of

LONGEST_WORD = 60  # characters before the hash in the name of a folder
# Files that file managers write into folders that a user looks at.
SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.ini")
_PART = re.compile(r"\d{6}\.")  # start of the names of a part's files
_MANIFESTS = re.compile(rf"{MANIFEST}|{UNFINISHED}|\d{{6}}\.json")  # manifests of an artifact and its parts


def artifact_folder(folder: Path, word: str, inputs: object) -> Path:
    """Return the folder in `folder` of the artifact with these `inputs`: a readable word and a hash."""
    return folder / f"{slug(word)[:LONGEST_WORD].strip('-')}-{digest(inputs, HASH)}"


class Artifact:
    """An artifact in `folder`. It is finished, begun, or neither.

    If the folder is the copy of a URL (see `local_folder`), all files are uploaded before the manifest is written here.
    `fetch` sees artifacts of other machines, and `path` downloads their files. An artifact that is not `mirrored` stays
    on this machine.
    """

    def __init__(self, folder: Path, mirrored: bool = True) -> None:
        self.folder = folder
        self._mirrored = mirrored

    @property
    def is_finished(self) -> bool:
        """Whether its manifest exists."""
        return (self.folder / MANIFEST).is_file()

    @property
    def is_begun(self) -> bool:
        """Whether it has unfinished work."""
        return (self.folder / UNFINISHED).is_file()

    @property
    def is_foreign(self) -> bool:
        """Whether another program wrote its manifest. A damaged manifest of ours is not foreign."""
        if hash_in_name(self.folder) or self.parts():
            return False
        manifests = [self.folder / name for name in (MANIFEST, UNFINISHED) if (self.folder / name).is_file()]
        return not any(is_ours(path) for path in manifests)

    @property
    def remedy(self) -> str:
        """What to do about damage, for messages."""
        return f"delete {self.folder}, and a rerun makes it again"

    def remedy_of(self, part: str) -> str:
        """Say what to do about damage of a part, for messages. The other parts stay."""
        return f"delete {self.folder / part}.*, and a rerun makes it again"

    def fetch(self) -> Artifact:
        """Update the manifests from the URL of the folder, and remove files that they no longer describe."""
        remote = self._remote
        if remote is not None:
            for path in remote.update(self.folder, _MANIFESTS):
                self._forget_outdated(path.name)
        return self

    def fetch_files(self, names: Iterable[str]) -> None:
        """Download the files `names` that are missing here from the URL of the folder."""
        remote = self._remote
        if remote is not None:
            remote.get([self.folder / name for name in names])

    def manifest(self) -> Manifest:
        """Read the manifest of the finished artifact, or else of the unfinished one.

        Raises:
            UserError: There is none, or another version of genrobust wrote it.
            GenrobustError: It is damaged, or belongs to another folder.
        """
        name = UNFINISHED if self.is_begun and not self.is_finished else MANIFEST
        if not (self.folder / name).is_file():
            raise UserError(f"{self.folder} holds nothing that genrobust finished: there is no {MANIFEST}")
        return self._read_manifest(name)

    def part(self, part: str) -> Manifest | None:
        """Read the manifest of a finished part. None if it is not finished.

        Raises:
            GenrobustError: It is damaged.
        """
        if not (self.folder / _part_manifest(part)).is_file():
            return None
        return self._read_manifest(_part_manifest(part))

    def parts(self) -> list[str]:
        """Return the finished parts, sorted."""
        names = sorted(path.name for path in self.folder.glob("*.json"))
        return [name.removesuffix(".json") for name in names if _PART.match(name)]

    def path(self, name: str, part: str = "", remedy: str = "") -> Path:
        """Return the path of the file `name` of the artifact, or of a part, after comparing it with the manifest.

        A process reads an unchanged file once for this.

        Args:
            remedy: What to do about damage, for messages.

        Raises:
            UserError: The artifact or its part is not finished.
            GenrobustError: The file is missing or has changed.
        """
        manifest = self.part(part) if part else self.manifest()
        if manifest is None:
            raise UserError(f"{self.folder}: {part} is not finished")
        path = self.folder / name
        remedy = remedy or (self.remedy_of(part) if part else self.remedy)
        with reading(path, KeyError, ValueError, then=f": {remedy}", kind=GenrobustError):
            expected = manifest.files[name].sha256
            self.fetch_files([name])
            if hash_once(path) != expected:
                raise ValueError(CHANGED)
        return path

    def is_finished_as(self, kind: str) -> bool:
        """Return whether there is a finished artifact of `kind`.

        Raises:
            NewerVersion: A newer version of genrobust wrote the manifest.
            GenrobustError: The manifest is damaged.
        """
        try:
            return self.is_finished and self.manifest().kind == kind
        except NewerVersion:
            raise
        except UserError:
            return False

    def check_files(self) -> Manifest:
        """Compare all files with the manifest, and return it. A process reads an unchanged file once for this.

        Raises:
            UserError: There is no manifest of this version.
            GenrobustError: The manifest or a file is damaged. The message names the first.
        """
        manifest = self.manifest()
        self.fetch_files(manifest.files)
        for name in manifest.files:
            self.path(name)
        return manifest

    def lacks(self, files: Mapping[str, FileFacts]) -> list[str]:
        """Return which of `files` are missing or have the wrong size. This reads no file."""
        lacking = []
        for name, facts in files.items():
            path = self.folder / name
            # A missing file may be at the URL of the folder.
            if path.exists():
                is_whole = path.stat().st_size == facts.size
            else:
                is_whole = self._remote is not None
            if not is_whole:
                lacking.append(name)
        return lacking

    def damage(self) -> dict[Path, str]:
        """Read all files, and describe the ones that have changed, with manifests and finished parts.

        Raises:
            NewerVersion: A newer version of genrobust wrote a manifest.
        """
        if not self.is_finished and not self.is_begun:
            return {self.folder / MANIFEST: f"{self.folder} holds files, and no {MANIFEST}: {self.remedy}"}
        damage: dict[Path, str] = {}
        manifests = [MANIFEST]
        if not self.is_finished:
            manifests = [UNFINISHED, *(_part_manifest(part) for part in self.parts())]
        files: dict[str, FileFacts] = {}
        # A dataset without a shard is made again as soon as it is read. Other artifacts may have no reader.
        is_dataset = False
        for name in manifests:
            try:
                manifest = self._read_manifest(name)
                files |= manifest.files
                is_dataset |= manifest.kind == "dataset"
            except NewerVersion:  # not damaged, as far as this version can say
                raise
            except GenrobustError as error:
                damage[self.folder / name] = str(error)
        for name, facts in files.items():
            path = self.folder / name
            problem = _find_problem(path, facts)
            if problem:
                part = name.partition(".")[0]
                is_shard = is_dataset and _PART.match(name)
                damage[path] = f"{path} {problem}: {self.remedy_of(part) if is_shard else self.remedy}"
        return damage

    def begin(self, manifest: Manifest) -> Manifest:
        """Write the manifest of unfinished work, unless the work was begun or finished before. Return the one there is.

        Raises:
            UserError: The folder holds files that belong to no artifact, or an artifact of another version.
            GenrobustError: The existing manifest is damaged, or the system refuses to write.
        """
        strangers = sorted(self._file_names())
        # Look for manifests after listing files, because another process may begin the artifact now.
        if self.is_finished or self.is_begun:
            self.clean()
            return self.manifest()
        # A folder with a hash in its name is ours, and a user may put notes there.
        if strangers and not hash_in_name(self.folder):
            examples = ", ".join(strangers[:3])
            raise UserError(f"{self.folder} holds other files ({examples}) and no {MANIFEST}: choose another folder")
        self._write_manifest(UNFINISHED, manifest)
        return manifest

    def keep(self, names: Iterable[str], about: Mapping[str, Any]) -> None:
        """Record the files `names` of the unfinished artifact and facts about them. Remove files recorded before."""
        before = self.manifest()
        files = {name: self._publish_file(name) for name in names}
        self._write_manifest(UNFINISHED, replace(before, about=about, files=files))
        self.discard(*(before.files.keys() - files.keys()))

    def finish_part(self, part: str, names: Iterable[str], about: Mapping[str, Any]) -> None:
        files = {name: self._publish_file(name) for name in names}
        self._write_manifest(_part_manifest(part), Manifest("part", about=about, files=files))

    @contextmanager
    def writing(self, manifest: Manifest, *names: str) -> Iterator[None]:
        """Lock the folder while the block writes the files `names`, then finish the artifact.

        The manifest of a finished artifact is removed before the block: the artifact is made again.
        """
        make_folder(self.folder)
        with lock(self.folder, wait=True):
            remove_leftovers(self.folder)
            self.discard(MANIFEST)
            yield
            self.publish(manifest, names)

    def publish(self, manifest: Manifest, names: Iterable[str] | None = None, parts: Iterable[str] = ()) -> None:
        """Finish the artifact: write its manifest with its files.

        Args:
            manifest: The manifest, to whose `files` the others are added.
            names: The files. None for all in the folder, except hidden files and files of unfinished work.
            parts: Finished parts, whose files and manifests become files of the artifact.
        """
        files = dict(manifest.files)
        for part in parts:
            finished = self.part(part)
            assert finished is not None, part
            files |= finished.files
            files[_part_manifest(part)] = self._facts(_part_manifest(part))
        if names is None:
            names = self._file_names()
            if self.is_begun:
                names -= self._read_manifest(UNFINISHED).files.keys()
        for name in names:
            files[name] = self._publish_file(name)
        self._write_manifest(MANIFEST, replace(manifest, files=dict(sorted(files.items()))))
        self.clean()

    def clean(self) -> None:
        """Remove the files of unfinished work from a finished artifact."""
        if self.is_finished and self.is_begun:
            kept = self._read_manifest(UNFINISHED).files.keys() - self._read_manifest(MANIFEST).files.keys()
            self.discard(*kept, UNFINISHED)

    def reopen(self, manifest: Manifest | None = None) -> None:
        """Turn a finished artifact into an unfinished one, so that missing parts are made again.

        Args:
            manifest: The manifest of the unfinished artifact. By default the one there is, without files.
        """
        if manifest is None and not self.is_finished:
            return
        self._write_manifest(UNFINISHED, manifest or replace(self.manifest(), files={}))
        self.discard(MANIFEST)

    def discard(self, *names: str) -> None:
        """Remove the files `names` if they exist: from the URL of the folder, and then here."""
        remote = self._remote
        for name in names:
            path = self.folder / name
            if remote is not None:
                remote.remove(path)
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()

    def discard_part(self, part: str) -> None:
        """Remove the manifest of a part, so that the part is made again."""
        self.discard(_part_manifest(part))

    def remove(self) -> None:
        """Remove the artifact. Its manifest goes first, so that a kill leaves none that looks complete."""
        self.discard(MANIFEST, UNFINISHED, *(_part_manifest(part) for part in self.parts()))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _remote(self) -> Remote | None:
        return remote_of(self.folder) if self._mirrored else None

    def _forget_outdated(self, manifest: str) -> None:
        """Remove the files here that differ from a `manifest` of the URL."""
        with suppress(GenrobustError):  # a damaged manifest is reported when it is read
            for name, facts in self._read_manifest(manifest).files.items():
                path = self.folder / name
                if path.is_file() and hash_file(path) != facts.sha256:
                    path.unlink()

    def _file_names(self) -> set[str]:
        """Return the files in the folder, except manifests, hidden files and files of file managers."""
        names = set()
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            is_hidden = any(part.startswith(".") for part in name.parts)
            if path.is_file() and not is_hidden and path.name not in (MANIFEST, UNFINISHED, *SYSTEM_FILES):
                names.add(name.as_posix())
        return names

    def _facts(self, name: str) -> FileFacts:
        path = self.folder / name
        with reading(path, kind=GenrobustError):
            return FileFacts(path.stat().st_size, hash_file(path))

    def _publish_file(self, name: str) -> FileFacts:
        remote = self._remote
        if remote is not None:
            remote.put(self.folder / name)
        return self._facts(name)

    def _write_manifest(self, name: str, manifest: Manifest) -> None:
        content = dump_manifest(manifest)
        remote = self._remote
        if remote is not None:
            remote.put(self.folder / name, content)
        with replacing(self.folder / name) as file:
            file.write(content)

    def _read_manifest(self, name: str) -> Manifest:
        if _PART.match(name):
            remedy = self.remedy_of(name.removesuffix(".json"))
        else:
            remedy = self.remedy
        return read_manifest(self.folder / name, remedy)


def link(path: Path, folder: Path) -> None:
    """Make `path` a link to `folder` next to it, if the system has links. An existing file or folder stays."""
    if path.exists() and not path.is_symlink():
        return
    new = temporary(path)
    with suppress(OSError):  # Windows requires a right
        new.symlink_to(folder.name, target_is_directory=True)
        new.replace(path)


def fetch_artifacts(folder: Path) -> None:
    """Update the manifests of all artifacts in `folder` from its URL; see `Artifact.fetch`."""
    remote = remote_of(folder)
    if remote is not None:
        for path in remote.update(folder, re.compile(f"[^/]+/{MANIFEST}")):
            Artifact(path.parent)._forget_outdated(MANIFEST)


def artifacts(folder: Path) -> Iterator[Artifact]:
    """Yield the artifacts in `folder` and below it, also unfinished ones and ones that have lost their manifest.

    Hidden folders and folders with manifests of other programs are skipped. Links to folders are followed unless they
    lead into `folder` or to a folder that contains it. Each folder is visited once.
    """
    root = folder.resolve()
    seen = {str(parent) for parent in root.parents}
    for place, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        real = os.path.realpath(place)
        is_link_inside = place != str(folder) and Path(place).is_symlink() and Path(real).is_relative_to(root)
        if real in seen or is_link_inside:
            subfolders.clear()
            continue
        seen.add(real)
        artifact = Artifact(Path(place))
        has_manifest = any(is_ours(artifact.folder / name) for name in (MANIFEST, UNFINISHED) if name in names)
        if has_manifest or (hash_in_name(artifact.folder) and artifact._file_names()):
            yield artifact


def _find_problem(path: Path, facts: FileFacts) -> str:
    """Describe how a file differs from its `facts`. Empty if it does not."""
    try:
        size = path.stat().st_size
        if size != facts.size:
            return f"has {size:,} bytes instead of {facts.size:,}"
        if hash_file(path) == facts.sha256:
            return ""
        return "has changed since it was written"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _part_manifest(part: str) -> str:
    return f"{part}.json"
