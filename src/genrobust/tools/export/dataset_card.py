"""The card of an exported dataset, README.md: what it holds, how it was made, its known faults and its license."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from huggingface_hub import DatasetCardData

from genrobust.core import UserError, read_page_json, reading
from genrobust.data import NAMES, USED, ShardDataset, making
from genrobust.report import EN_DASH
from genrobust.tools.export.cards import render_card
from genrobust.tools.export.content import Content
from genrobust.tools.export.format import Format
from genrobust.tools.export.licenses import licenses_of

MOST = 20  # templates, and keys of leaked images, that are listed
EXAMPLES = 5
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """What a card quotes of an audit: its `verdict` in sentences, and copies of test images by test set.

    `leaked` are the keys of those among the exported images.
    """

    verdict: Sequence[str]
    leaks: dict[str, int]
    leaked: Sequence[str]


def read_audit(path: Path, shards: ShardDataset, chosen: np.ndarray) -> AuditSummary:
    """Read the audit.json of `shards`, whose images at the indices `chosen` are exported.

    Raises:
        UserError: No such file, no audit, or one of another dataset.
    """
    then = ": it is no audit.json that this version of genrobust audit wrote: audit again"
    with reading(f"--audit {path}", KeyError, TypeError, ValueError, IndexError, AttributeError, then=then):
        facts = read_page_json(path)
        if facts["dataset"]["fingerprint"] != shards.fingerprint:
            raise UserError(f"--audit {path} is of another dataset than {shards.folder}: audit this one")
        leaked = {i for duplicates in facts["of_tests"] for i in duplicates["flagged"]} & set(chosen.tolist())
        verdict = [*map(str, facts["verdict"]), *map(str, facts["left_out"])]
        leaks = {str(name): int(n) for name, n in facts["leaks"].items()}
        return AuditSummary(verdict, leaks, [shards.keys[i] for i in sorted(leaked)])


def dataset_card(content: Content, form: Format, title: str, license: str, **about: Any) -> str:
    """Write the card as Markdown, with the header that the hub reads; `about` are other values of the template."""
    shards = content.parts[0].shards
    manifest = {key: value for key, value in shards.about.items() if key not in ("class_ids", NAMES)}
    table = pa.concat_tables([part.table for part in content.parts])
    counts = {name: _most_common(table, name) for name in ("template", "style")}
    prompts = table["prompt"].unique()[:EXAMPLES].to_pylist() if "prompt" in table.column_names else []
    return render_card(
        "dataset_card.md.j2",
        _header(content, form, title, license),
        content=content,
        form=form,
        title=title,
        license=license,
        licenses=licenses_of(manifest),
        per_class={p.name: np.bincount(p.labels, minlength=len(content.labels)).tolist() for p in content.parts},
        spread=lambda counts: EN_DASH.join(f"{n:,}" for n in sorted({min(counts), max(counts)})),
        manifest=manifest,
        manifest_yaml=yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False),
        counts=counts,
        prompts=prompts,
        making=making(shards.metadata(USED)),
        most=MOST,
        **about,
    )


def _most_common(table: pa.Table, column: str) -> list[tuple[str, int]]:
    """The values of a text column, each with its number of rows, the commonest first."""
    if column not in table.column_names:
        return []
    counts = [(row["values"], row["counts"]) for row in table[column].value_counts().to_pylist() if row["values"]]
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))


def _header(content: Content, form: Format, title: str, license: str) -> DatasetCardData:
    features = form.features(content)
    splits = [{"name": part.name, "num_bytes": part.size, "num_examples": len(part)} for part in content.parts]
    paths = [{"split": part.name, "path": form.files.format(part.name)} for part in content.parts]
    return DatasetCardData(
        license=license,
        pretty_name=title,
        annotations_creators=["machine-generated"],
        task_categories=["image-classification"],
        size_categories=[_SIZES[max(0, len(str(len(content))) - 3)]],
        tags=["synthetic", "generated", "diffusion", "genrobust"],
        dataset_info={**({"features": features} if features else {}), "splits": splits},
        configs=[{"config_name": "default", "data_files": paths}],
    )
