"""Files that genrobust wrote into a folder of the user's: it replaces no others.

A report, or a page like it, replaces only one about the same; any other is first kept below `EARLIER`.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from genrobust.core.artifact import MANIFEST, SYSTEM_FILES, Artifact, FileFacts, Manifest
from genrobust.core.errors import UserError
from genrobust.core.files import (
    LOCK,
    fetch,
    fetch_file,
    lock,
    make_folder,
    remove,
    remove_leftovers,
    replacing,
    size_of,
)
from genrobust.core.keys import digest, hash_file
from genrobust.core.masking import mask_secrets
from genrobust.core.parsing import parse_json

log = logging.getLogger(__name__)

EARLIER = "earlier"  # the folder beside a report that holds those before it
PAGES = "pages"  # the kind of the artifact that reports, audits and benchmarks in a folder are
REWRITE = "move it away and rerun the command that wrote it"  # of a changed file, which verify --repair leaves there
_OF = "of"  # in its manifest: a hash of what each file is about


def is_unchanged(folder: Path, name: str, files: Mapping[str, FileFacts]) -> bool:
    """Return whether the file `name` in `folder` is one of `files`, as it was written, and no link."""
    return name in files and _is_regular(folder / name) and hash_file(folder / name) == files[name].sha256


def foreign_files(folder: Path, files: Mapping[str, FileFacts]) -> Iterator[str]:
    """Describe what `folder` holds beside `files`, as they were written, and their manifest.

    These are other files than those of an operating system, links, empty folders and files that have changed.
    """
    known = {MANIFEST, LOCK, *files}
    parents = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    for root, folders, names in os.walk(folder):
        below = set(folders)
        for name in sorted((*folders, *names)):
            path = Path(root, name)
            if name in SYSTEM_FILES:
                continue
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or inside not in (parents if name in below else known):
                yield f"{inside}, which genrobust did not write"
            elif inside in files and not is_unchanged(folder, inside, files):
                yield f"{inside}, which was changed after genrobust wrote it"


def write_files(contents: Mapping[str, str | bytes], folder: Path, about: object) -> dict[str, Path]:
    """Write `contents`, texts or bytes by name, into `folder`, and return their paths by name; texts without secrets.

    They replace files that genrobust wrote `about` the same, and that nobody changed since. All other files of these
    names, together, are first copied to ``earlier/DATE-NUMBER`` in `folder`, which is logged. Each file appears whole
    or not at all, so that a kill loses none. A second process waits, so that the files belong together.

    Args:
        about: What tells these files from others of the same names, as JSON: such as recipe and scores, without times.

    Raises:
        UserError: A link, a folder or a device has one of the names, or the folder is another artifact.
        DiskFull, GenrobustError: There is no room; the system or the remote refuses otherwise.
    """
    topic, artifact = digest(about, 64), Artifact(folder)
    make_folder(folder)
    with lock(folder, wait=True):
        remove_leftovers(folder, names=(*contents, MANIFEST))
        fetch(folder, *contents, MANIFEST, later=[f"{EARLIER}/*"])
        before = artifact.manifest() if artifact.is_finished else Manifest(PAGES)
        if before.kind != PAGES:
            raise UserError(f"{folder} is a {before.kind}: choose another folder for {next(iter(contents))}")
        topics = dict(before.about.get(_OF, {}))
        there = [name for name in contents if os.path.lexists(folder / name)]
        for name in there:
            if not _is_regular(folder / name):
                raise UserError(f"{folder / name} is a link, a folder or a device: move it, or choose another folder")
        if not all(is_unchanged(folder, name, before.files) and topics.get(name) == topic for name in there):
            _copy_to_earlier(folder, there)
        others = {name: facts for name, facts in before.files.items() if name not in contents}
        remove(folder / MANIFEST)  # a kill leaves files without one, which the next run keeps as if they were others
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.write(mask_secrets(content).encode() if isinstance(content, str) else content)
        about = {**before.about, _OF: {**topics, **dict.fromkeys(contents, topic)}}
        artifact.publish(replace(before, about=about, files=others), names=contents)
    return {name: folder / name for name in contents}


def page_json(facts: Mapping[str, Any]) -> str:
    """Return the text of a JSON file of `facts` that is written beside a page.

    Raises:
        ValueError: A number that is not finite.
    """
    return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_page_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that was written beside a page, once it is compared with the manifest there, if there is one.

    Raises:
        OSError: There is no such file.
        ValueError: It is no JSON object.
        GenrobustError: It has changed since it was written.
    """
    artifact = Artifact(path.parent)
    if artifact.is_finished and path.name in artifact.manifest().files:
        path = artifact.path(path.name, remedy=REWRITE)
    content = parse_json(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def _copy_to_earlier(folder: Path, names: Sequence[str]) -> None:
    """Copy the files `names` of `folder` to one below `EARLIER`: where a killed process did so, to the same one."""
    when = datetime.date.fromtimestamp(max((folder / name).stat().st_mtime for name in names))
    places = (folder / EARLIER / f"{when}-{number}" for number in count(1))
    place = next(place for place in places if all(_is_free_or_copy(place / name, folder / name) for name in names))
    make_folder(place)
    for name in names:
        with (folder / name).open("rb") as old, replacing(place / name) as file:
            shutil.copyfileobj(old, file)
    log.warning("the earlier %s is kept, with its files, in %s", names[0], place)


def _is_free_or_copy(path: Path, original: Path) -> bool:
    """Return whether there is no file `path`, or a copy of `original`."""
    try:
        return size_of(path) == size_of(original) and hash_file(fetch_file(path)) == hash_file(original)
    except FileNotFoundError:
        return True


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
