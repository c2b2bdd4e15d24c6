"""Write reports and pages into folders, without replacing files that genrobust did not write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrobust.core import UserError, mask_secrets, parse_json
from genrobust.store.artifact import Artifact
from genrobust.store.file_hashes import hash_file
from genrobust.store.files import MANIFEST, lock, make_folder, remove_leftovers, replacing
from genrobust.store.manifest import Manifest

PAGES = "pages"  # kind of the artifact of a report, an audit or a benchmark
# What to do about a changed file.
REWRITE = "move it away and rerun the command that wrote it"


def write_files(
    contents: Mapping[str, str | bytes], folder: Path, inputs: Mapping[str, Any] | None = None
) -> dict[str, Path]:
    """Write `contents`, texts or bytes by name, into `folder`, and return their paths by name.

    Secrets in texts are masked. Only files that genrobust wrote and nobody changed since are replaced. Each file
    appears whole or not at all, and the next run replaces files that a killed one left. A second process waits, so the
    files belong together.

    Args:
        inputs: Values that the folder is named after, if its name has a hash (see `artifact_folder`).
    """
    artifact = Artifact(folder)
    make_folder(folder)
    with lock(folder, wait=True):
        remove_leftovers(folder, names=(*contents, MANIFEST))
        known = artifact.fetch().is_finished or artifact.is_begun
        before = artifact.manifest() if known else Manifest(PAGES, inputs or {})
        if before.kind != PAGES:
            raise UserError(f"{folder} is a {before.kind}: choose another folder for {next(iter(contents))}")
        # An unfinished artifact has files of a killed run, which its manifest does not describe.
        if artifact.is_finished or not known:
            for name in contents:
                _require_ours(folder / name, before)
        artifact.reopen(before)
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.write(mask_secrets(content).encode() if isinstance(content, str) else content)
        others = {name: facts for name, facts in before.files.items() if name not in contents}
        artifact.publish(replace(before, files=others), names=contents)
    return {name: folder / name for name in contents}


def _require_ours(path: Path, manifest: Manifest) -> None:
    """Raise UserError if there is something at `path` that the `manifest` does not describe."""
    if not os.path.lexists(path):
        return
    is_file = path.is_file() and not path.is_symlink()
    facts = manifest.files.get(path.name)
    if not is_file or facts is None or hash_file(path) != facts.sha256:
        raise UserError(f"{path} is none that genrobust wrote, or was changed since: {REWRITE}")


def page_json(facts: Mapping[str, Any]) -> str:
    """Return the text of a JSON file next to a page.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_page_json(path: Path) -> dict[str, Any]:
    """Read a JSON file next to a page. Compare it with the manifest, if there is one.

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
