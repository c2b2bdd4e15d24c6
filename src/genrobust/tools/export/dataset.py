"""Exports a generated dataset in another program's format, with its card."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from genrobust.core import Artifact, UserError
from genrobust.data import FILTERS, FilterResult, ShardDataset, filters_of, kept_indices, read_filter
from genrobust.tools.export.content import read_content
from genrobust.tools.export.dataset_card import dataset_card, read_verdict
from genrobust.tools.export.folder import CARD, check_target, new_folder
from genrobust.tools.export.format import Format

RECIPE = "recipe.yaml"


class Origin(NamedTuple):
    """The recipe of a dataset, with all its values, and the name that it gives to the dataset."""

    recipe: str
    dataset: str


def export_dataset(
    dataset: Path,
    form: Format,
    out: Path,
    filter: str | None = None,
    origin: Origin | None = None,
    audit: Path | None = None,
    license: str = "other",
) -> int:
    """Write the dataset of shards in the folder `dataset` with its card into `out`; return the number of images.

    Args:
        filter: The name or the folder of the filter whose images are left out.
        origin: The recipe of the dataset, written beside the card.
        audit: The audit.json of the dataset, for the card.
        license: An id of the hub's.

    Raises:
        UserError: What cannot be opened or does not belong together, or a class without images.
        GenrobustError: A damaged dataset.
    """
    if out.resolve().is_relative_to(dataset.resolve()):
        raise UserError(f"--out {out} lies in the dataset {dataset}: an export goes to a folder outside")
    check_target(out)
    shards = ShardDataset(dataset)
    applied = None if filter is None else _find_filter(filter, dataset)
    content = read_content(shards, np.arange(len(shards)) if applied is None else kept_indices(shards, applied))
    card = dataset_card(
        content,
        form,
        title=out.resolve().name,
        filtered=applied,
        verdict=read_verdict(audit, shards) if audit else [],
        license=license,
        origin=origin,
    )
    with new_folder(out) as folder:
        form.write(content, folder)
        if origin is not None:
            (folder / RECIPE).write_text(origin.recipe, encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")
    return len(content)


def _find_filter(name: str, folder: Path) -> FilterResult:
    for path in (folder / FILTERS / name, Path(name)):
        if Artifact(path).is_finished:
            return read_filter(path)
    names = ", ".join(stored.folder.name for stored in filters_of(folder)) or "none"
    raise UserError(f"--filter {name}: no such filter in {folder / FILTERS}; there are {names}")
