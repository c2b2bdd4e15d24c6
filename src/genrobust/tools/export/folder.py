"""The folder of an export, which appears complete or not at all, and its way to the Hugging Face hub."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError, HTTPError

from genrobust.core import GenrobustError, UserError, make_folder, one_line, refusal

CARD = "README.md"
# What an earlier export of a dataset may have left: the number of files is part of the names of some.
REPLACED = ["data/train-*-of-*.parquet", "train/*"]


def check_target(out: Path) -> None:
    """Raise UserError where `out` holds anything."""
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already: remove it, or name another folder with --out")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends well, and is removed when it does not.

    Raises:
        GenrobustError: The system refuses, as where `out` holds something by then.
    """
    make_folder(out.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as parent:
            folder = Path(parent, out.name)
            folder.mkdir()
            yield folder
            folder.replace(out)
    except OSError as error:
        raise refusal(out.parent, error) from error


def create_repo(repo: str, kind: str, private: bool) -> str:
    """Create the repository `repo` on the hub, a "dataset" or a "model", unless it is there, and return its full name.

    Raises:
        UserError: There is no token, the hub refuses it or the name, or `private` for a public repository.
        GenrobustError: The hub cannot be reached, or fails.
    """
    if not get_token():
        raise UserError("there is no token for the hub: run hf auth login, or set HF_TOKEN to one that may write")
    with _pushing(repo) as api:
        url = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(url.repo_id, repo_type=kind).private:
            raise UserError(f"{repo} exists and is public: make it private on the hub first, or name another")
        return url.repo_id


def push(folder: Path, repo: str, kind: str) -> str:
    """Push `folder` to the repository `repo`, and return its address there; an earlier export's images are deleted.

    Raises:
        UserError, GenrobustError: As for `create_repo`.
    """
    with _pushing(repo, f"\n{folder} is complete: fix this, then hf upload {repo} {folder} --repo-type {kind}") as api:
        commit = api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            commit_message=f"{folder.resolve().name}, by genrobust",
            delete_patterns=REPLACED if kind == "dataset" else None,
        )
        return str(commit.repo_url)


@contextmanager
def _pushing(repo: str, then: str = "") -> Iterator[HfApi]:
    """Yield the hub, whose failures say that nothing came to `repo`, and `then`."""
    api = HfApi()
    try:
        yield api
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        status = getattr(getattr(error, "response", None), "status_code", 500)
        why = one_line(error).replace(str(get_token()), "***")  # some libraries quote a header that they refuse
        kind_of = UserError if 400 <= status < 500 or isinstance(error, HFValidationError) else GenrobustError
        raise kind_of(f"cannot push to {repo} on {api.endpoint}: {why}{then}") from None
