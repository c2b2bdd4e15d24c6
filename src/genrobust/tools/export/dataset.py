"""Exports a generated dataset in another program's format, with its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from huggingface_hub import DatasetCardData

from genrobust.classifiers import AUTO, with_precision
from genrobust.core import count
from genrobust.data import NAMES, OK, USED, ShardDataset, kept_indices, making, read_filter
from genrobust.recipe import recipe_yaml
from genrobust.store import Artifact
from genrobust.study import Studies, recipe_and_name
from genrobust.tools.export.croissant import write_croissant
from genrobust.tools.export.folder import new_folder, write_card
from genrobust.tools.export.format import Content, Format

# Columns of an image that are left out if no image has a value.
OPTIONAL = (
    *("prompt", "template", "negative_prompt", "style", "seed", "source", "generator", "mode"),
    *("lora", "adapter", "strength", "steps", "guidance_scale", "redraws"),
)


def export_dataset(studies: Studies, what: str, form: Format, out: Path, license: str) -> int:
    """Write the dataset `what`, with its card and its recipe, into `out`. Return the number of images.

    Args:
        license: The license of the images, as an id of the hub.
    """
    shards = ShardDataset(studies.folder(what) or Path(what))
    rule = studies.filter_of(what)
    filtered = None if rule is None else read_filter(rule)
    if filtered is None:
        indices = np.arange(len(shards))
    else:
        indices = kept_indices(shards, filtered)
    content = _read_content(shards, indices)
    manifest = {key: value for key, value in shards.about.items() if key not in ("class_ids", NAMES)}
    _, name = recipe_and_name(what)
    files = [{"split": content.split, "path": form.files.replace("SPLIT", content.split)}]
    header = DatasetCardData(
        license=license,
        pretty_name=out.name,
        annotations_creators=["machine-generated"],
        task_categories=["image-classification"],
        tags=["synthetic", "generated", "diffusion", "genrobust"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    with new_folder(out) as folder:
        form.write(content, folder)
        generator = manifest.get("generator") or "an unknown generator"
        write_croissant(folder, license, f"Images of {count(len(content.classes), 'class')}, made by {generator}.")
        recipe = _recipe_text(studies, what, manifest, out)
        if recipe:
            (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
        write_card(
            folder,
            "dataset_card.md.j2",
            header,
            content=content,
            per_class=np.bincount(content.table["label"], minlength=len(content.classes)),
            form=form,
            manifest=manifest,
            manifest_yaml=yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False),
            making=making(shards.metadata(USED)),
            filtered=filtered,
            dataset=name,
            from_real="source" in content.table.column_names or "trained" in Artifact(shards.folder).manifest().inputs,
        )
    return len(content)


def _recipe_text(studies: Studies, what: str, manifest: Mapping[str, Any], out: Path) -> str:
    """Return the recipe that generates the dataset again. Empty if `what` is a folder."""
    recipe, name = recipe_and_name(what)
    if not recipe:
        return ""
    resolved = studies.recipe(recipe)
    # The precision that was automatic then, also for trained generators.
    if resolved.generation(name)[0].precision == AUTO:
        resolved = with_precision(resolved, manifest["dtype"])
    return recipe_yaml(resolved, out)


def _read_content(shards: ShardDataset, indices: np.ndarray) -> Content:
    classes = shards.label_space()
    rows = shards.metadata(("status", "size", "key", "label", *OPTIONAL))
    # `indices` count the images alone, in the order of the rows.
    images = rows.filter(pc.equal(rows["status"], OK)).take(indices)
    columns = {
        "key": images["key"],
        "label": images["label"],
        "class_id": pa.array(classes.label_names).take(images["label"]),
        "class_name": pa.array(classes.names).take(images["label"]),
    }
    for name in OPTIONAL:
        values = images[name].unique().to_pylist()
        if set(values) - {None, ""}:
            columns[name] = images[name]
    split = "validation" if shards.is_val else "train"
    size = pc.sum(images["size"]).as_py()
    return Content(shards, indices, pa.table(columns), size, classes, split)
