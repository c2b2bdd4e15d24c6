"""The folder of an export, which appears complete or not at all, its card, and its way to the Hugging Face hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CardData, HfApi
from huggingface_hub.errors import HTTPError
from markupsafe import Markup

from genrobust import __version__
from genrobust.core import GenrobustError, make_folder, one_line, refusal, templates
from genrobust.report import count, escaped, fenced, number, span

SPLITS = TRAIN, VALIDATION = "train", "validation"  # as Hugging Face calls them


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


def write_card(folder: Path, template: str, header: CardData, **values: Any) -> None:
    """Write the card of an export: `template` below `header`; every value is escaped, unless it is `safe`."""
    environment = templates("tools/export", keep_trailing_newline=True)
    environment.finalize = lambda value: value if isinstance(value, Markup) else escaped(str(value))
    environment.filters["thousands"] = "{:,}".format
    environment.globals |= {"count": count, "fenced": fenced, "number": number, "span": span, "version": __version__}
    text = environment.get_template(template).render(name=folder.name, license=header.get("license"), **values)
    (folder / "README.md").write_text(f"---\n{header}\n---\n{text}", encoding="utf-8")


def push(folder: Path, repo: str, kind: str) -> str:
    """Push `folder` to the repository `repo`, a "dataset" or a "model", and return its address there.

    A missing repository is created as a private one; of an earlier export, the images of the same split are deleted.

    Raises:
        GenrobustError: The hub refuses it, cannot be reached, or fails.
    """
    api = HfApi()
    splits = [name for name in SPLITS if (folder / name).is_dir() or any(folder.glob(f"data/{name}-*"))]
    try:
        commit = api.upload_folder(
            repo_id=api.create_repo(repo, repo_type=kind, private=True, exist_ok=True).repo_id,
            repo_type=kind,
            folder_path=folder,
            commit_message=f"{folder.name}, by genrobust",
            # What an earlier export may have left: the number of files is part of the names of some.
            delete_patterns=[path for name in splits for path in (f"data/{name}-*-of-*.parquet", f"{name}/*")] or None,
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: of the library for large files
        raise GenrobustError(
            f"cannot push to {repo} on {api.endpoint}: {one_line(error)}\n{folder} is complete: fix this (hf auth "
            f"login takes a token that may write), then hf upload {repo} {folder} --repo-type {kind} --private"
        ) from error
    return str(commit.repo_url)
