"""Exports a generated dataset in another program's format, with its card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from huggingface_hub import DatasetCardData

from genrobust.classifiers import AUTO, with_precision
from genrobust.data import NAMES, OK, USED, ShardDataset, kept_indices, making, read_filter
from genrobust.recipe import recipe_yaml
from genrobust.store import Artifact
from genrobust.study import Studies, recipe_and_name
from genrobust.tools.export.folder import new_folder, write_card
from genrobust.tools.export.format import Content, Format

# The columns of an image that are left out where no image has a value.
OPTIONAL = (
    *("prompt", "template", "negative_prompt", "style", "seed", "source", "generator", "mode"),
    *("lora", "adapter", "strength", "steps", "guidance_scale", "redraws"),
)


def export_dataset(studies: Studies, what: str, form: Format, out: Path, license: str) -> int:
    """Write the dataset that `what` names, with its card and its recipe, into `out`; return the number of images.

    Args:
        license: An id of the hub's.
    """
    shards = ShardDataset(studies.folder(what) or Path(what))
    rule = studies.filter_of(what)
    filtered = read_filter(rule) if rule else None
    content = _read_content(shards, np.arange(len(shards)) if filtered is None else kept_indices(shards, filtered))
    manifest = {key: value for key, value in shards.about.items() if key not in ("class_ids", NAMES)}
    recipe, name = recipe_and_name(what)
    files = form.files.replace("SPLIT", content.split)
    with new_folder(out) as folder:
        form.write(content, folder)
        if recipe:
            resolved = studies.recipe(recipe)
            if resolved.generation(name)[0].precision == AUTO:  # which this was at the time, also for a training
                resolved = with_precision(resolved, manifest["dtype"])
            (folder / "recipe.yaml").write_text(recipe_yaml(resolved, out), encoding="utf-8")
        write_card(
            folder,
            "dataset_card.md.j2",
            DatasetCardData(
                license=license,
                pretty_name=folder.name,
                annotations_creators=["machine-generated"],
                task_categories=["image-classification"],
                tags=["synthetic", "generated", "diffusion", "genrobust"],
                configs=[{"config_name": "default", "data_files": [{"split": content.split, "path": files}]}],
            ),
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


def _read_content(shards: ShardDataset, indices: np.ndarray) -> Content:
    """Read the columns of the images at `indices`, without those of `OPTIONAL` that none of them has."""
    classes, rows = shards.label_space(), shards.metadata(("status", "size", "key", "label", *OPTIONAL))
    images = rows.filter(pc.equal(rows["status"], OK)).take(indices)
    columns = {"key": images["key"], "label": images["label"]}
    for name, texts in (("class_id", classes.label_names), ("class_name", classes.names)):
        columns[name] = pa.array(texts).take(images["label"])
    columns |= {name: images[name] for name in OPTIONAL if {*images[name].unique().to_pylist()} - {None, ""}}
    split = "validation" if shards.is_val else "train"
    return Content(shards, indices, pa.table(columns), pc.sum(images["size"]).as_py(), classes, split)
