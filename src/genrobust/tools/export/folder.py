"""The folder of an export, which appears complete or not at all, its card, and its way to the Hugging Face hub."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CardData, HfApi, get_token
from huggingface_hub.errors import HFValidationError, HTTPError
from markupsafe import Markup

from genrobust import __version__
from genrobust.core import GenrobustError, UserError, make_folder, one_line, refusal, templates
from genrobust.report import count, escaped, fenced, number, span

CARD = "README.md"
# What an earlier export of a dataset may have left: the number of files is part of the names of some.
REPLACED = ["data/train-*-of-*.parquet", "train/*"]


def check_target(out: Path) -> None:
    """Raise UserError where `out` holds anything."""
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already: remove it, or name another folder with --out")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends well, and is removed when it does not."""
    make_folder(out.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as parent:
            folder = Path(parent, out.name)
            folder.mkdir()
            yield folder
            folder.replace(out)
    except OSError as error:  # also where `out` holds something by then
        raise refusal(out.parent, error) from error


def render_card(template: str, data: CardData, **values: Any) -> str:
    """Render `template` below the header `data`; every value is escaped, unless it is `safe` or a code block."""
    environment = templates("tools/export", finalize=_escape, keep_trailing_newline=True)
    environment.filters["thousands"] = "{:,}".format
    environment.globals |= {"count": count, "number": number, "span": span, "version": __version__}
    environment.globals["fenced"] = lambda code, language: Markup(fenced(code, language))
    return f"---\n{data}\n---\n{environment.get_template(template).render(**values)}"


def _escape(value: Any) -> str:
    return value if isinstance(value, Markup) else escaped(str(value))


def push(folder: Path, repo: str, kind: str, private: bool) -> str:
    """Push `folder` to the repository `repo`, a "dataset" or a "model", and return its address there.

    A missing repository is created; of an earlier export, the images are deleted.

    Raises:
        UserError: The hub refuses it, or `private` for a public repository.
        GenrobustError: The hub cannot be reached, or fails.
    """
    api = HfApi()
    try:
        repo = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True).repo_id
        if private and not api.repo_info(repo, repo_type=kind).private:
            raise UserError(f"{repo} exists and is public: make it private on the hub first, or name another")
        commit = api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            commit_message=f"{folder.resolve().name}, by genrobust",
            delete_patterns=REPLACED if kind == "dataset" else None,
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        status = getattr(getattr(error, "response", None), "status_code", 500)
        why = one_line(error).replace(get_token() or "no token", "***")  # some libraries quote a header they refuse
        kind_of = UserError if status < 500 or isinstance(error, HFValidationError) else GenrobustError
        then = f"hf upload {repo} {folder} --repo-type {kind}{' --private' * private}"
        raise kind_of(
            f"cannot push to {repo} on {api.endpoint}: {why}\n{folder} is complete: fix this (hf auth login takes a "
            f"token that may write), then {then}"
        ) from None
    return str(commit.repo_url)
