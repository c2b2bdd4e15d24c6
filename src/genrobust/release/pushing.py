"""The command push: an export to a dataset repository on the Hugging Face hub, in one commit."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from genrobust.core import FILE_LIST, GenrobustError, UserError, foreign_files, read_file_list
from genrobust.release.parts import CARD, CROISSANT

# The hub takes one commit whole or not at all; beyond about this many files it refuses one, and asks for several.
FILES = 10_000


def files_of(folder: Path) -> dict[str, Path]:
    """Find the files of the export in `folder`, by their names in a repository.

    Raises:
        UserError: There is no export, a file of it was changed, it holds other files or links, or it has too many.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: make one with genrobust export")
    files = read_file_list(folder)
    lacking = [name for name in (CARD, CROISSANT, FILE_LIST, *files) if not os.path.lexists(folder / name)]
    if lacking:
        raise UserError(f"{folder} holds no export ({lacking[0]} is missing): make one with genrobust export")
    if len(files) > FILES:
        raise UserError(
            f"{folder} holds {len(files):,} files, and one commit takes at most {FILES:,}: export the dataset --to "
            "parquet or --to webdataset, which are few files, and push that"
        )
    if other := next(foreign_files(folder, files), None):
        raise UserError(f"{folder} holds {other}: only an export as it was written is pushed; move that away")
    return {name: folder / name for name in sorted((*files, FILE_LIST))}


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
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} is no name of a repository, such as me/icons: {error}") from None
    token, api = _token(), HfApi()
    try:
        api.whoami()
        repo_id = str(api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True).repo_id)
        if private and not api.repo_info(repo_id, repo_type="dataset").private:
            raise UserError(f"{repo_id} is there and is public: make it private on the hub first, or name another")
        there = api.list_repo_files(repo_id, repo_type="dataset")
        operations: list[Any] = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        operations += [CommitOperationDelete(name) for name in _outdated(there, files, _earlier(api, repo_id, there))]
        api.create_commit(
            repo_id, operations, commit_message=f"Dataset {folder.resolve().name}, by genrobust", repo_type="dataset"
        )
    except HfHubHTTPError as error:
        raise _refusal(repo_id, error, token) from None
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        raise GenrobustError(
            f"cannot reach the hub at {_hidden(api.endpoint, token)}: {_hidden(str(error), token)}: nothing was "
            "pushed; check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and rerun"
        ) from None
    return f"{_hidden(api.endpoint, token)}/datasets/{repo_id}"


def _outdated(there: Iterable[str], files: Container[str], earlier: Container[str]) -> list[str]:
    """The files `there`, in the repository, that an `earlier` export wrote and that this one lacks."""
    return [name for name in there if name in earlier and name not in files]


def _earlier(api: Any, repo_id: str, there: Container[str]) -> dict[str, list[str]]:
    """The list of the files of the export in the repository; empty where it has none that can be read."""
    if FILE_LIST not in there:
        return {}
    with tempfile.TemporaryDirectory() as place, suppress(UserError):
        api.hf_hub_download(repo_id, FILE_LIST, repo_type="dataset", local_dir=place)
        return read_file_list(Path(place))
    return {}


def _token() -> str:
    from huggingface_hub import get_token
    from huggingface_hub.errors import HTTPError

    try:
        token = get_token()
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # of the exchange or the file that it comes from
        raise UserError(
            f"cannot get a token for the hub ({type(error).__name__}): run hf auth login, or set HF_TOKEN"
        ) from None
    if not token:
        raise UserError("there is no token for the hub: run hf auth login, or set HF_TOKEN to one that may write")
    if not (token.isascii() and token.isprintable() and " " not in token):  # libraries quote such a header in errors
        raise UserError("the token for the hub holds characters that no token has: run hf auth login, or set HF_TOKEN")
    return token


def _hidden(text: str, token: str) -> str:
    """Take the token out of a `text`, and a password out of the addresses in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text.replace(token, "***"))


def _refusal(repo_id: str, error: Any, token: str) -> GenrobustError:
    status = getattr(error.response, "status_code", None)
    if status == 401:
        return UserError("the hub refuses the token (401): run hf auth login, or set HF_TOKEN to a valid one")
    if status == 403:
        return UserError(
            f"the token may not write to {repo_id} (403): make one that may, or name a repository of yours"
        )
    why = getattr(error, "server_message", None) or str(error).splitlines()[0]
    return GenrobustError(f"the hub refused ({status}): {_hidden(why, token)}: nothing was pushed to {repo_id}")
