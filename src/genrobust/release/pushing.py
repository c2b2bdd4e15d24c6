"""The command push: an export to a dataset repository on the Hugging Face hub, in one commit."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from genrobust.core import GenrobustError, UserError
from genrobust.release.parts import CARD, CROISSANT, DATA, SHEET, TIMM, TRAIN, VALIDATION

# The hub takes one commit whole or not at all; beyond about this many files it refuses one, and asks for several.
FILES = 10_000
_OURS = (f"{DATA}/", f"{TRAIN}/", f"{VALIDATION}/")


def files_of(folder: Path) -> dict[str, Path]:
    """Find the files of the export in `folder`, by their names in a repository; UserError for none or too many."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: make one with genrobust export")
    lacking = [name for name in (CARD, CROISSANT) if not (folder / name).is_file()]
    if lacking:
        raise UserError(f"{folder} holds no export ({lacking[0]} is missing): make one with genrobust export")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    found = {name: path for name, path in found.items() if not name.startswith(".") and "/." not in name}
    if len(found) > FILES:
        raise UserError(
            f"{folder} holds {len(found):,} files, and one commit takes at most {FILES:,}: export the dataset --to "
            "parquet or --to webdataset, which are few files, and push that"
        )
    return found


def push(folder: Path, repo_id: str, private: bool = False) -> str:
    """Push the export in `folder` to the dataset repository `repo_id`, a new one if need be, and return its address.

    It is one commit, so that the repository holds all of the export or is as it was; the same commit deletes files of
    an earlier export that this one lacks. (`upload_large_folder`, and `upload_folder` too, commit in several batches.)
    A new repository is empty where the commit fails.

    Raises:
        UserError: A missing or refused token, an impossible name, or `private` for a public repository.
        GenrobustError: The hub cannot be reached, or refuses.
    """
    files = files_of(folder)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} is no name of a repository, such as me/icons: {error}") from None
    if get_token() is None:
        raise UserError("there is no token for the hub: run hf auth login, or set HF_TOKEN to one that may write")
    api = HfApi()
    try:
        api.whoami()
        repo_id = str(api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id)
        if private and not api.repo_info(repo_id, repo_type="dataset").private:
            raise UserError(f"{repo_id} is there and is public: make it private on the hub first, or name another")
        there = api.list_repo_files(repo_id, repo_type="dataset")
        operations: list[Any] = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        operations += [CommitOperationDelete(name) for name in _outdated(there, files)]
        api.create_commit(
            repo_id, operations, commit_message=f"Dataset {folder.resolve().name}, by genrobust", repo_type="dataset"
        )
    except HfHubHTTPError as error:
        raise _refusal(repo_id, error) from error
    except (HTTPError, OSError, RuntimeError) as error:  # RuntimeError: of the library that uploads large files
        raise GenrobustError(
            f"cannot reach the hub at {api.endpoint}: {error}: nothing was pushed; check the network, HF_ENDPOINT "
            "and HF_HUB_OFFLINE, and rerun"
        ) from error
    return f"{api.endpoint}/datasets/{repo_id}"


def _outdated(there: Iterable[str], files: Container[str]) -> list[str]:
    """The files of an earlier export in the repository that this one lacks."""
    return [name for name in there if name not in files and (name.startswith(_OURS) or name in (TIMM, SHEET))]


def _refusal(repo_id: str, error: Any) -> GenrobustError:
    status = getattr(error.response, "status_code", None)
    if status == 401:
        return UserError("the hub refuses the token (401): run hf auth login, or set HF_TOKEN to a valid one")
    if status == 403:
        return UserError(
            f"the token may not write to {repo_id} (403): make one that may, or name a repository of yours"
        )
    why = getattr(error, "server_message", None) or str(error).splitlines()[0]
    return GenrobustError(f"the hub refused ({status}): {why}: nothing was pushed to {repo_id}")
