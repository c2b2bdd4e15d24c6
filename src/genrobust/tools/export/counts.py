"""Counts over an export, made before it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genrobust.core import LabelSpace
from genrobust.tools.export.parts import ALWAYS, COLUMNS, OWN, Content, Part

# How images were drawn: what differs between the images of few datasets, so that distinct values are few.
DRAWN = (
    *("generator", "weights_sha256", "mode", "lora", "lora_sha256", "lora_scale"),
    *("adapter", "adapter_file", "adapter_sha256", "adapter_scale", "strength", "scheduler", "steps"),
    *("guidance_scale", "guidance_until", "negative_prompt", "width", "height", "dtype", "device"),
    *("genrobust_version", "diffusers_version", "transformers_version", "torch_version"),
)
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts over the images of an export.

    `images` and `bytes` (of their PNGs) are by part, `per_class` maps a part to counts [classes]. `values` counts the
    images by the values, in words, of each of `DRAWN`, of the templates and of the styles. `prompts` are examples.
    """

    images: dict[str, int]
    bytes: dict[str, int]
    per_class: dict[str, list[int]]
    values: dict[str, dict[str, int]]
    prompts: list[str]


def count_images(parts: Sequence[Part], labels: LabelSpace) -> tuple[Content, Counts]:
    """Count over the images of `parts`, and find the columns that have a value for any of them."""
    columns, known = tuple(dict.fromkeys((*OWN, *DRAWN, "size"))), set(ALWAYS)
    values: dict[str, Counter[str]] = {name: Counter() for name in (*DRAWN, "template", "style")}
    sizes, prompts = Counter[str](), dict[str, None]()
    for part in parts:
        for table in part.tables(columns):
            sizes[part.name] += sum(table["size"].to_pylist())
            if not part.flagged.keys().isdisjoint(table["key"].to_pylist()):
                known.add("flagged")
            for name in columns:
                column = table[name].drop_null()
                if pa.types.is_string(column.type):
                    column = column.filter(pc.not_equal(column, ""))
                known |= {name} if len(column) else set()
                prompts |= dict.fromkeys(column[:EXAMPLES].to_pylist()) if name == "prompt" else {}
                for row in column.value_counts().to_pylist() if name in values else []:
                    value = row["values"]
                    values[name][f"{value:g}" if isinstance(value, float) else str(value)] += row["counts"]
    counts = Counts(
        images={part.name: len(part) for part in parts},
        bytes=dict(sizes),
        per_class={p.name: np.bincount(p.labels, minlength=len(labels)).tolist() for p in parts},
        values={name: dict(counter.most_common()) for name, counter in values.items()},
        prompts=list(prompts)[:EXAMPLES],
    )
    return Content(tuple(parts), labels, tuple(name for name in COLUMNS.names if name in known)), counts
