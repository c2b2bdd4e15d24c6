"""The manifest of an artifact: a JSON file that says what the artifact is, what made it, and which files it has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from genrobust.core import GenrobustError, NewerVersion, UserError, digest, parse_json, reading
from genrobust.store.file_hashes import HEX_DIGITS

FORMAT = 3
# Every manifest contains this key, and no other file does.
OURS = b'"genrobust_format"'
HEAD = 4096  # bytes of a manifest in which the key is
HASH = 10  # hex digits of the hash in the name of a folder
CHANGED = "it has changed since it was written"
_SEAL = "sha256"  # key of the hash of the manifest itself, over all other keys


class FileFacts(NamedTuple):
    """Size of a file in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a manifest, all of it JSON.

    Attributes:
        kind: What the artifact is, in one word: "dataset", "checkpoint" ...
        inputs: Everything that its content depends on. The folder is named after their hash.
        about: Facts about its content, for readers.
        made_by: Versions of the libraries that made it, and hashes of our modules.
        files: The files of the artifact, by their path in the folder, with ``/`` between names.
    """

    kind: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileFacts] = field(default_factory=dict)


def dump_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest, with its own hash."""
    content = {
        "genrobust_format": FORMAT,
        "kind": manifest.kind,
        "inputs": manifest.inputs,
        "about": manifest.about,
        "made_by": manifest.made_by,
        "files": {name: facts._asdict() for name, facts in manifest.files.items()},
    }
    # Hash the content as a reader gets it: tuples are lists, and all keys are texts.
    plain = json.loads(json.dumps(content, allow_nan=False))
    text = json.dumps({**plain, _SEAL: digest(plain, HEX_DIGITS)}, indent=1, ensure_ascii=False) + "\n"
    return text.encode()


def read_manifest(path: Path, remedy: str) -> Manifest:
    """Read the manifest at `path`.

    Args:
        remedy: What to do about damage, for messages.

    Raises:
        NewerVersion: A newer version of genrobust wrote it.
        UserError: Another version of genrobust wrote it.
        GenrobustError: It is damaged, or belongs to another folder.
    """
    errors = (ValueError, KeyError, TypeError, AttributeError)
    with reading(path, *errors, then=f": {remedy}", kind=GenrobustError):
        content = parse_json(path.read_bytes())
        _check_version(path, content.get("genrobust_format"))
        if content.pop(_SEAL) != digest(content, HEX_DIGITS):
            raise ValueError(CHANGED)
        own_hash = digest(content["inputs"], HASH)
        if content["inputs"] and hash_in_name(path.parent) not in ("", own_hash):
            raise ValueError(f"it is that of the folder whose name ends in -{own_hash}: move it back there, or")
        files: dict[str, FileFacts] = {}
        for name, facts in content["files"].items():
            file = PurePosixPath(name)
            if file.is_absolute() or ".." in file.parts or "\0" in name:
                raise ValueError(f"it names a file outside the folder: {name!r}")
            files[name] = FileFacts(facts["size"], facts["sha256"])
        return Manifest(
            kind=content["kind"],
            inputs=dict(content["inputs"]),
            about=dict(content["about"]),
            made_by=dict(content["made_by"]),
            files=files,
        )


def _check_version(path: Path, version: object) -> None:
    if isinstance(version, int) and version > FORMAT:
        raise NewerVersion(f"{path} is of format {version}, which a newer version of genrobust wrote: upgrade to that")
    if version != FORMAT:
        then = "move the folder away and run the command that made it again"
        raise UserError(f"{path} is of format {version!r}, and this version reads format {FORMAT}: {then}")


def is_ours(path: Path) -> bool:
    """Return whether genrobust wrote the manifest at `path`, even if it is damaged."""
    with reading(path), path.open("rb") as file:
        return OURS in file.read(HEAD)


def hash_in_name(folder: Path) -> str:
    """Return the hash in the name of a folder that `artifact_folder` named. Empty for other folders."""
    named = re.fullmatch(f".+-([0-9a-f]{{{HASH}}})", folder.resolve().name)
    return named[1] if named else ""
