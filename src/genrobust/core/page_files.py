"""Files that genrobust wrote into a folder of the user's, or a report into its own: it replaces no others."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrobust.core.artifact import MANIFEST, Artifact, Manifest
from genrobust.core.errors import UserError
from genrobust.core.files import lock, make_folder, remove_leftovers, replacing
from genrobust.core.keys import hash_file
from genrobust.core.masking import mask_secrets
from genrobust.core.parsing import parse_json

PAGES = "pages"  # the kind of the artifact that reports, audits and benchmarks in a folder are
REWRITE = "move it away and rerun the command that wrote it"  # of a changed file, which verify --repair leaves there


def write_files(
    contents: Mapping[str, str | bytes], folder: Path, inputs: Mapping[str, Any] | None = None
) -> dict[str, Path]:
    """Write `contents`, texts or bytes by name, into `folder`, and return their paths by name; texts without secrets.

    They replace files of these names that genrobust wrote there and that nobody changed since; other files stay. Each
    file appears whole or not at all, and a killed process leaves files that the next one replaces. A second process
    waits, so that the files belong together.

    Args:
        inputs: What the files depend on, of a folder that is named after it (see `artifact_folder`).

    Raises:
        UserError: A file, a link or a folder of one of the names is none that genrobust wrote, or was changed since;
            or the folder is another artifact.
        DiskFull, GenrobustError: The disk is full; the system or the store refuses otherwise.
    """
    artifact = Artifact(folder)
    make_folder(folder)
    with lock(folder, wait=True):
        remove_leftovers(folder, names=(*contents, MANIFEST))
        known = artifact.fetch().is_finished or artifact.is_begun
        before = artifact.manifest() if known else Manifest(PAGES, inputs or {})
        if before.kind != PAGES:
            raise UserError(f"{folder} is a {before.kind}: choose another folder for {next(iter(contents))}")
        for path in (folder / name for name in contents) if artifact.is_finished or not known else ():
            is_file = path.is_file() and not path.is_symlink()
            is_ours = is_file and path.name in before.files and hash_file(path) == before.files[path.name].sha256
            if os.path.lexists(path) and not is_ours:
                raise UserError(f"{path} is none that genrobust wrote, or was changed since: {REWRITE}")
        artifact.reopen(before)
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.write(mask_secrets(content).encode() if isinstance(content, str) else content)
        others = {name: facts for name, facts in before.files.items() if name not in contents}
        artifact.publish(replace(before, files=others), names=contents)
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
