"""Exports a generated dataset in another program's format, with its card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from huggingface_hub import DatasetCardData

from genrobust.classifiers import with_dtype
from genrobust.core import FLOAT32, UserError, read_page_json, reading
from genrobust.data import NAMES, OK, USED, ShardDataset, kept_indices, making, read_filter
from genrobust.recipe import recipe_yaml
from genrobust.report import EN_DASH
from genrobust.study import Studies, check_outside, recipe_and_name
from genrobust.tools.export.folder import CARD, new_folder, render_card
from genrobust.tools.export.format import TRAIN, Content, Format

RECIPE = "recipe.yaml"
EXAMPLES = 5  # prompts in the card
PARTS = {"generator": "generator", "lora": "LoRA", "adapter": "adapter"}  # keys of a manifest, in words
# The columns of an image that are left out where no image has a value.
OPTIONAL = (
    *("prompt", "template", "negative_prompt", "style", "seed", "source", "generator", "mode"),
    *("lora", "adapter", "strength", "steps", "guidance_scale", "redraws"),
)


def export_dataset(studies: Studies, what: str, form: Format, out: Path, audit: Path | None, license: str) -> int:
    """Write the dataset that `what` names, with its card and its recipe, into `out`; return the number of images.

    Args:
        audit: The audit.json of the dataset, for the card.
        license: An id of the hub's.

    Raises:
        UserError: What cannot be opened or does not belong together.
        GenrobustError: A damaged dataset, or `out` holds files.
    """
    named, rule = studies.dataset(what), studies.filter_of(what)
    dataset = studies.folder(what) or Path(what)
    check_outside(str(dataset), out)
    shards = ShardDataset(dataset)
    applied = read_filter(rule) if rule else None
    content = _read_content(shards, np.arange(len(shards)) if applied is None else kept_indices(shards, applied))
    per_class = np.bincount(content.table["label"], minlength=len(content.classes))
    columns = content.table.column_names
    manifest = {key: value for key, value in shards.about.items() if key not in ("class_ids", NAMES)}
    recipe: str | None = None
    if named is not None:
        dtype = manifest.get("dtype", FLOAT32)  # that auto was at the time
        recipe = recipe_yaml(with_dtype(studies.recipe(recipe_and_name(what)[0]), dtype), out)
    card = render_card(
        "dataset_card.md.j2",
        DatasetCardData(
            license=license,
            pretty_name=out.resolve().name,
            annotations_creators=["machine-generated"],
            task_categories=["image-classification"],
            tags=["synthetic", "generated", "diffusion", "genrobust"],
            configs=[{"config_name": "default", "data_files": [{"split": TRAIN, "path": form.files}]}],
        ),
        content=content,
        form=form,
        title=out.resolve().name,
        license=license,
        parts=[(words, manifest[key]) for key, words in PARTS.items() if manifest.get(key)],
        per_class=EN_DASH.join(f"{n:,}" for n in sorted({per_class.min(), per_class.max()})),
        manifest=manifest,
        manifest_yaml=yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False),
        prompts=pc.unique(content.table["prompt"])[:EXAMPLES].to_pylist() if "prompt" in columns else [],
        making=making(shards.metadata(USED)),
        filtered=applied,
        verdict=_read_verdict(audit, shards) if audit else [],
        recipe_name=recipe and recipe_and_name(what)[1],
    )
    with new_folder(out) as folder:
        form.write(content, folder)
        if recipe is not None:
            (folder / RECIPE).write_text(recipe, encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")
    return len(content)


def _read_content(shards: ShardDataset, indices: np.ndarray) -> Content:
    """Read the columns of the images at `indices`, without those of `OPTIONAL` that none of them has."""
    classes, rows = shards.label_space(), shards.metadata(("status", "size", "key", "label", *OPTIONAL))
    images = rows.filter(pc.equal(rows["status"], OK)).take(indices)
    columns = {"key": images["key"], "label": images["label"]}
    for name, texts in (("class_id", classes.label_names), ("class_name", classes.names)):
        columns[name] = pa.array(texts).take(images["label"])
    columns |= {
        name: pc.fill_null(images[name], "") if pa.types.is_string(images[name].type) else images[name]
        for name in OPTIONAL
        if pc.any(pc.not_equal(pc.cast(images[name], pa.string()), "")).as_py()
    }
    return Content(shards, indices, pa.table(columns), pc.sum(images["size"]).as_py(), classes)


def _read_verdict(path: Path, shards: ShardDataset) -> list[str]:
    """Read the sentences of the audit.json of `shards`; raise UserError for no audit, or one of another dataset."""
    then = ": it is no audit.json that this version of genrobust audit wrote: audit again"
    with reading(f"--audit {path}", KeyError, TypeError, ValueError, then=then):
        facts = read_page_json(path)
        if facts["dataset"]["fingerprint"] != shards.fingerprint:
            raise UserError(f"--audit {path} is of another dataset than {shards.folder}: audit this one")
        return [*facts["verdict"], *facts["left_out"]]
