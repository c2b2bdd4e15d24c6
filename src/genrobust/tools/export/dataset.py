"""Exports a generated dataset: opens it, divides it, and writes it in another program's form with its card."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genrobust.core import Artifact, UserError, progress_bar
from genrobust.data import FILTERS, FilterResult, ShardDataset, filters_of, kept_indices, read_filter
from genrobust.tools.export.content import Content, read_content
from genrobust.tools.export.dataset_card import dataset_card, read_audit
from genrobust.tools.export.folder import CARD, check_target, new_folder
from genrobust.tools.export.format import Format
from genrobust.tools.export.licenses import OTHER

RECIPE = "recipe.yaml"


class Origin(NamedTuple):
    """The recipe of a dataset, with all its values, and the name that it gives to the dataset."""

    recipe: str
    dataset: str


def export_dataset(
    dataset: Path,
    form: Format,
    out: Path,
    to: Sequence[str],
    filter: str | None = None,
    origin: Origin | None = None,
    val: float | None = None,
    audit: Path | None = None,
    license: str = OTHER,
    overwrite: bool = False,
) -> Content:
    """Write the dataset of shards in the folder `dataset` in the form of another program, with its card, into `out`.

    Args:
        to: The options that chose the form, for the card.
        filter: The name or the folder of the filter whose images are left out.
        origin: The recipe of the dataset, written beside the card.
        val: The fraction of each class that validates.
        audit: The audit.json of the dataset, for the card.
        license: An id of the hub's.

    Raises:
        UserError: What cannot be opened or does not belong together, or a class without images in a part.
        GenrobustError: A damaged dataset.
    """
    source, target = dataset.resolve(), out.resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise UserError(f"--out {out} lies in the dataset {dataset}, or holds it: an export goes to a folder outside")
    check_target(out, overwrite)
    shards = ShardDataset(dataset)
    applied = None if filter is None else _find_filter(filter, dataset)
    chosen = np.arange(len(shards)) if applied is None else kept_indices(shards, applied)
    content = read_content(shards, chosen, val)
    name = [source.name] if origin is None else [f"{RECIPE}:{origin.dataset}"]
    words = ["genrobust", "export", *name, *to, *([] if val is None else ["--val", f"{val:g}"]), "--license", license]
    words += [] if origin is None else ["--run"]
    card = dataset_card(
        content,
        form,
        title=target.name,
        filtered=applied,
        audit=None if audit is None else read_audit(audit, shards, chosen),
        license=license,
        command=shlex.join(words),
        origin=origin,
    )
    with new_folder(out, overwrite, "dataset") as folder:
        with progress_bar(f"exporting to {out}", len(content)) as bar:
            form.write(content, folder, bar.advance)
        if origin is not None:
            (folder / RECIPE).write_text(origin.recipe, encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")
    return content


def _find_filter(name: str, folder: Path) -> FilterResult:
    for path in (folder / FILTERS / name, Path(name)):
        if Artifact(path).is_finished:
            return read_filter(path)
    names = ", ".join(stored.folder.name for stored in filters_of(folder)) or "none"
    raise UserError(f"--filter {name}: no such filter in {folder / FILTERS}; there are {names}")
