"""The folder of an export, which appears complete or not at all, and its way to the Hugging Face hub."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genrobust.core import GenrobustError, UserError, make_folder, one_line, refusal

CARD = "README.md"
# What an earlier export of a dataset may have left: the number of files is part of the names of some.
REPLACED = ["data/train-*-of-*.parquet", "data/train-*-of-*.tar", "train/*"]


def check_target(out: Path) -> None:
    """Raise UserError where `out` holds anything."""
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already: remove it, or name another folder with --out")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends well, and is removed when it does not.

    Raises:
        UserError: `out` holds something.
        GenrobustError: The system refuses.
    """
    make_folder(out.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as parent:
            folder = Path(parent, out.name)
            folder.mkdir()
            yield folder
            check_target(out)  # now: writing may have taken hours
            folder.replace(out)
    except OSError as error:
        raise refusal(out.parent, error) from error


def check_repo(repo: str) -> None:
    """Raise UserError where no repository can have the name `repo`, or there is no token for the hub."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"--push {repo!r} is no name of a repository, such as me/icons: {error}") from None
    if not get_token():
        raise UserError("there is no token for the hub: run hf auth login, or set HF_TOKEN to one that may write")


def push(folder: Path, repo: str, kind: str, private: bool = False) -> str:
    """Push `folder` to the repository `repo`, a new one if need be, and return its address.

    The training images that a dataset's repository has are deleted; other files in the repository stay.

    Args:
        kind: "dataset" or "model".

    Raises:
        UserError: The hub refuses the token or the name, or `private` for a public repository.
        GenrobustError: The hub cannot be reached, or fails.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError

    api, rerun = HfApi(), f"hf upload {repo} {folder} --repo-type {kind}"
    try:
        url = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(url.repo_id, repo_type=kind).private:
            raise UserError(f"{repo} exists and is public: make it private on the hub first, or name another")
        message = f"{folder.resolve().name}, by genrobust"
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type=kind,
            folder_path=folder,
            commit_message=message,
            delete_patterns=REPLACED if kind == "dataset" else None,
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        status = getattr(getattr(error, "response", None), "status_code", 500)
        why = one_line(error).replace(get_token() or "", "***")  # some libraries quote a header that they refuse
        kind_of = UserError if 400 <= status < 500 else GenrobustError
        raise kind_of(
            f"cannot push to {repo} on {api.endpoint}: {why}\n{folder} is complete: fix this, then {rerun}"
        ) from None
    return str(url)
