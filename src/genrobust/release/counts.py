"""Counts over an export, made before it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genrobust.core import LabelSpace
from genrobust.release.parts import ALWAYS, COLUMNS, OWN, Content, Part, rows

# How images were drawn: what differs between the images of few datasets, so that distinct values are few.
DRAWN = (
    *("generator", "weights_sha256", "mode", "lora", "lora_sha256", "lora_scale"),
    *("adapter", "adapter_file", "adapter_sha256", "adapter_scale", "strength", "scheduler", "steps"),
    *("guidance_scale", "guidance_until", "negative_prompt", "width", "height", "dtype", "device"),
    *("genrobust_version", "diffusers_version", "transformers_version", "torch_version"),
)
DISTINCT = 1000  # templates and values that are counted one by one: captions can be as many as images
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts over the images of an export.

    `images` and `bytes` (of their PNGs) are by part, `per_class` maps a part to counts [classes]. `templates` and
    `styles` count images; `other_templates` those of templates beyond the first `DISTINCT`. `drawn` maps each of
    `DRAWN` that is known to its values, in words. `prompts` are examples.
    """

    images: dict[str, int]
    bytes: dict[str, int]
    per_class: dict[str, tuple[int, ...]]
    templates: dict[str, int]
    other_templates: int
    styles: dict[str, int]
    drawn: dict[str, tuple[str, ...]]
    prompts: tuple[str, ...]


def count_images(parts: Sequence[Part], labels: LabelSpace) -> tuple[Content, Counts]:
    """Count over the images of `parts`, and find the columns that have a value for any of them."""
    known = set(ALWAYS)
    templates: Counter[str] = Counter()
    styles: Counter[str] = Counter()
    drawn: dict[str, dict[str, None]] = {name: {} for name in DRAWN}
    prompts: dict[str, None] = {}
    sizes = dict.fromkeys((part.name for part in parts), 0)
    for part in parts:
        for _, row in rows(part, tuple(dict.fromkeys((*OWN, *DRAWN, "size")))):
            sizes[part.name] += row["size"]
            if row["key"] in part.flagged:
                known.add("flagged")
            row = {name: value for name, value in row.items() if value not in (None, "")}
            known |= row.keys()
            template = row.get("template", "")
            templates[template if template in templates or len(templates) < DISTINCT else _OTHER] += 1
            styles[row.get("style", "")] += 1
            if "prompt" in row and len(prompts) < EXAMPLES:
                prompts[row["prompt"]] = None
            for name in drawn.keys() & row.keys():
                if len(drawn[name]) < DISTINCT:
                    drawn[name][f"{row[name]:g}" if isinstance(row[name], float) else str(row[name])] = None
    counts = Counts(
        images={part.name: len(part) for part in parts},
        bytes=sizes,
        per_class={p.name: tuple(np.bincount(p.labels, minlength=len(labels)).tolist()) for p in parts},
        other_templates=templates.pop(_OTHER, 0),
        templates={text: n for text, n in templates.most_common() if text},
        styles={text: n for text, n in styles.most_common() if text},
        drawn={name: tuple(found) for name, found in drawn.items() if found},
        prompts=tuple(prompts),
    )
    return Content(tuple(parts), labels, tuple(name for name in COLUMNS.names if name in known)), counts


_OTHER = "\0"  # no template holds it
