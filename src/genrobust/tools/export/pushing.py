"""Pushes an export to a repository on the Hugging Face hub."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from genrobust.core import MANIFEST, SYSTEM_FILES, Artifact, GenrobustError, UserError, foreign_files, hub_reason
from genrobust.tools.export.folder import CARD, REPO, export_files

NOTHING = "no file was pushed"
_REFUSED = (400, 404, 409, 422)  # the HTTP statuses of answers to a name for a new repository
_MISTAKES = {  # the HTTP status of an answer: how a user fixes it
    401: "the hub refuses the token: run hf auth login, or set HF_TOKEN to a valid one",
    403: "the token may not write there: make one that may, or name a repository of yours",
}


def check_repo(repo: str) -> str:
    """Return the token for the hub.

    Raises:
        UserError: There is none, or no repository can have the name `repo`.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"--push {repo!r} is no name of a repository, such as me/icons: {error}") from None
    if not (token := get_token()):
        raise UserError("there is no token for the hub: run hf auth login, or set HF_TOKEN to one that may write")
    return token


def push(folder: Path, repo: str, private: bool = False) -> str:
    """Push the export in `folder` to the repository `repo`, a new one if need be, and return its address.

    Files of an earlier export that this one lacks are deleted; others in the repository stay. Large exports are
    committed in several batches: rerun an interrupted push, and it goes on where it was.

    Raises:
        UserError: There is no export in `folder`, or other files; a missing or refused token, an impossible name, or
            `private` for a public repository.
        GenrobustError: The hub cannot be reached, or refuses.
    """
    files = {*export_files(folder), MANIFEST}
    if lacking := [name for name in (CARD, *files) if not os.path.lexists(folder / name)]:
        raise UserError(f"{folder} holds no export ({lacking[0]} is missing): write one with --to FORMAT")
    if other := next(foreign_files(folder, export_files(folder)), None):
        raise UserError(f"{folder} holds {other}: only an export as it was written is pushed; move that away")
    token = check_repo(repo)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    api, kind, state = HfApi(), str(Artifact(folder).manifest().about.get(REPO)), NOTHING
    try:
        url = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(url.repo_id, repo_type=kind).private:
            raise UserError(f"{repo} exists and is public: make it private on the hub first, or name another")
        state = "some of the files may be there now"  # in batches, and a lost answer may be to an accepted one
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type=kind,
            folder_path=folder,
            commit_message=f"{folder.resolve().name}, by genrobust",
            ignore_patterns=[pattern for name in SYSTEM_FILES for pattern in (name, f"*/{name}")],
            delete_patterns=sorted(_pushed_files(api, url.repo_id, kind) - files),
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in _MISTAKES:
            raise UserError(f"{repo}: {_MISTAKES[status]} ({status})") from None
        why = getattr(error, "server_message", None) or hub_reason(error)
        if status in _REFUSED and state == NOTHING:
            raise UserError(
                f"{repo}: {api.endpoint} refuses this repository ({why}): name another, such as me/icons"
            ) from None
        message = (
            f"cannot push to {repo} on {api.endpoint}: {why}; {state}; check the network and HF_ENDPOINT, and rerun"
        )
        raise GenrobustError(message.replace(token, "***")) from None  # some libraries quote a header that they refuse
    return str(url)


def _pushed_files(api: Any, repo: str, kind: str) -> set[str]:
    """The files of the export in the repository; none where it has no list of them that can be read."""
    if not api.file_exists(repo, MANIFEST, repo_type=kind):
        return set()
    with tempfile.TemporaryDirectory() as folder:
        api.hf_hub_download(repo, MANIFEST, repo_type=kind, local_dir=folder)
        try:
            return set(Artifact(Path(folder)).manifest().files)
        except GenrobustError:
            return set()
