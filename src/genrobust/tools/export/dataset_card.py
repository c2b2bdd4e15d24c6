"""The card of an exported dataset, README.md: what it holds, how it was made, its known faults and its license."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from huggingface_hub import DatasetCardData

from genrobust.core import UserError, read_page_json, reading
from genrobust.data import NAMES, USED, ShardDataset, making
from genrobust.report import EN_DASH
from genrobust.tools.export.card import render_card, stated_license
from genrobust.tools.export.content import Content
from genrobust.tools.export.format import Format

EXAMPLES = 5
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
_PARTS = {"generator": "generator", "lora": "LoRA", "adapter": "adapter"}  # keys of a manifest, in words


def read_verdict(path: Path, shards: ShardDataset) -> list[str]:
    """Read the sentences of the audit.json of `shards`.

    Raises:
        UserError: No such file, no audit, or one of another dataset.
    """
    then = ": it is no audit.json that this version of genrobust audit wrote: audit again"
    with reading(f"--audit {path}", KeyError, TypeError, ValueError, then=then):
        facts = read_page_json(path)
        if facts["dataset"]["fingerprint"] != shards.fingerprint:
            raise UserError(f"--audit {path} is of another dataset than {shards.folder}: audit this one")
        return [*facts["verdict"], *facts["left_out"]]


def dataset_card(content: Content, form: Format, title: str, license: str, **about: Any) -> str:
    """Write the card as Markdown, with the header that the hub reads; `about` are other values of the template."""
    manifest = {key: value for key, value in content.shards.about.items() if key not in ("class_ids", NAMES)}
    per_class = np.unique(np.bincount(content.table["label"]))
    columns = content.table.column_names
    texts = {
        name: content.table[name].to_pylist() if name in columns else [] for name in ("template", "style", "prompt")
    }
    return render_card(
        "dataset_card.md.j2",
        DatasetCardData(
            license=license,
            pretty_name=title,
            annotations_creators=["machine-generated"],
            task_categories=["image-classification"],
            size_categories=[_SIZES[max(0, len(str(len(content))) - 3)]],
            tags=["synthetic", "generated", "diffusion", "genrobust"],
            configs=[{"config_name": "default", "data_files": [{"split": "train", "path": form.files}]}],
        ),
        content=content,
        form=form,
        title=title,
        license=license,
        parts=[
            (words, manifest[k], stated_license(str(manifest[k]))) for k, words in _PARTS.items() if manifest.get(k)
        ],
        per_class=EN_DASH.join(f"{n:,}" for n in sorted({per_class[0], per_class[-1]})),
        manifest=manifest,
        manifest_yaml=yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False),
        templates=Counter(texts["template"]).most_common(EXAMPLES),
        styles=sorted(Counter(filter(None, texts["style"])).items()),
        prompts=list(dict.fromkeys(texts["prompt"]))[:EXAMPLES],
        making=making(content.shards.metadata(USED)),
        **about,
    )
