"""The command push: an export to a dataset repository on the Hugging Face hub."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from genrobust.core import MANIFEST, SYSTEM_FILES, Artifact, GenrobustError, UserError, foreign_files, hub_reason
from genrobust.tools.export.parts import CARD

NOTHING = "no file was pushed"
_REFUSED = (400, 404, 409, 422)  # the HTTP statuses of answers to a name for a new repository
_MISTAKES = {  # the HTTP status of an answer: how a user fixes it
    401: "the hub refuses the token: run hf auth login, or set HF_TOKEN to a valid one",
    403: "the token may not write there: make one that may, or name a repository of yours",
}


def files_of(folder: Path) -> dict[str, Path]:
    """Find the files of the export in `folder`, by their names in a repository.

    Raises:
        UserError: There is no export, a file of it was changed, or it holds other files or links.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: make one with genrobust export")
    export = Artifact(folder)
    files = export.manifest().files if export.is_finished else {}
    lacking = [name for name in (CARD, MANIFEST, *files) if not os.path.lexists(folder / name)]
    if lacking:
        raise UserError(f"{folder} holds no export ({lacking[0]} is missing): make one with genrobust export")
    if other := next(foreign_files(folder, files), None):
        raise UserError(f"{folder} holds {other}: only an export as it was written is pushed; move that away")
    return {name: folder / name for name in sorted((*files, MANIFEST))}


def require_repo_id(repo_id: str) -> None:
    """Raise UserError if no repository on the hub can have this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} is no name of a repository, such as me/icons: {error}") from None


def push(folder: Path, repo_id: str, private: bool = False) -> str:
    """Push the export in `folder` to the dataset repository `repo_id`, a new one if need be, and return its address.

    Files of an earlier export that this one lacks are deleted; others in the repository stay. Large exports are
    committed in several batches: rerun an interrupted push, and it goes on where it was.

    Raises:
        UserError: A missing or refused token, an impossible name, or `private` for a public repository.
        GenrobustError: The hub cannot be reached, or refuses.
    """
    files = files_of(folder)
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError

    require_repo_id(repo_id)
    api, token, state = HfApi(), get_token() or "", NOTHING
    try:
        if not token:
            raise UserError("there is no token for the hub: run hf auth login, or set HF_TOKEN to one that may write")
        url = api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True)
        if private and not api.repo_info(url.repo_id, repo_type="dataset").private:
            raise UserError(f"{repo_id} exists and is public: make it private on the hub first, or name another")
        state = "some of the files may be there now"  # in batches, and a lost answer may be to an accepted one
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type="dataset",
            folder_path=folder,
            commit_message=f"Dataset {folder.resolve().name}, by genrobust",
            ignore_patterns=[pattern for name in SYSTEM_FILES for pattern in (name, f"*/{name}")],
            delete_patterns=sorted(_pushed_files(api, url.repo_id) - files.keys()),
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in _MISTAKES:
            raise UserError(f"{repo_id}: {_MISTAKES[status]} ({status})") from None
        why = getattr(error, "server_message", None) or hub_reason(error)
        if status in _REFUSED and state == NOTHING:
            raise UserError(
                f"{repo_id}: {api.endpoint} refuses this repository ({why}): name another, such as me/icons"
            ) from None
        where = f"{api.endpoint}/datasets/{repo_id}"
        message = f"cannot push to {where}: {why}; {state}; check the network and HF_ENDPOINT, and rerun"
        raise GenrobustError(message.replace(token, "***")) from None  # some libraries quote a header that they refuse
    return str(url)


def _pushed_files(api: Any, repo_id: str) -> set[str]:
    """The files of the export in the repository; none where it has no list of them that can be read."""
    if not api.file_exists(repo_id, MANIFEST, repo_type="dataset"):
        return set()
    with tempfile.TemporaryDirectory() as folder:
        api.hf_hub_download(repo_id, MANIFEST, repo_type="dataset", local_dir=folder)
        try:
            return set(Artifact(Path(folder)).manifest().files)
        except GenrobustError:
            return set()
