"""The card of an export, README.md: what the dataset holds, how it was made, its known faults and its license."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import DatasetCard, DatasetCardData

from genrobust.core import Making
from genrobust.release.audit_summary import AuditSummary
from genrobust.release.cards import render_card
from genrobust.release.counts import Counts
from genrobust.release.format import Format
from genrobust.release.licenses import GENERATOR, License
from genrobust.release.parts import RECIPE, Content
from genrobust.release.sheet import shown_classes
from genrobust.report import EN_DASH

MOST = 20  # templates, and keys of leaked images, that are listed


@dataclass(frozen=True, slots=True)
class About:
    """The content of a card beside the counts.

    `division` says in words how the export was divided into parts and `filtered` what a filter left out, or is "".
    `making` is of each dataset, by name. `license` is the dataset's own, `licenses` those of what drew it.
    `manifests` are the datasets', `command` makes it again, and `has_recipe` says that the recipe lies beside the card.
    """

    title: str
    form: Format
    division: str
    filtered: str
    making: tuple[tuple[str, Making], ...]
    audit: AuditSummary | None
    license: str
    licenses: tuple[License, ...]
    manifests: tuple[dict[str, Any], ...]
    command: str
    has_recipe: bool

    @property
    def generators(self) -> str:
        return " and ".join(dict.fromkeys(license.id for license in self.licenses if license.part == GENERATOR))


def dataset_card(content: Content, counts: Counts, about: About) -> str:
    """Write the card as Markdown, with the header that the hub reads."""
    classes = content.labels.classes
    kept = [{k: v for k, v in manifest.items() if k != "class_ids"} for manifest in about.manifests]
    return render_card(
        DatasetCard,
        "dataset_card.md.j2",
        _header(content, counts, about),
        content=content,
        counts=counts,
        about=about,
        classes=classes,
        shown=[classes[label].name for label in shown_classes(content.labels)],
        spread=lambda counts: EN_DASH.join(f"{n:,}" for n in sorted({min(counts), max(counts)})),
        most=MOST,
        manifest=yaml.safe_dump(kept[0] if len(kept) == 1 else kept, allow_unicode=True, sort_keys=False),
        recipe=RECIPE,
    )


def _header(content: Content, counts: Counts, about: About) -> DatasetCardData:
    parts, features = counts.images, about.form.features(content)
    splits = [{"name": part, "num_bytes": counts.bytes[part], "num_examples": n} for part, n in parts.items()]
    paths = [{"split": part, "path": about.form.files.format(part)} for part in parts]
    return DatasetCardData(
        license=about.license,
        pretty_name=about.title,
        annotations_creators=["machine-generated"],
        task_categories=["image-classification"],
        size_categories=[_size_category(len(content))],
        tags=["synthetic", "generated", "diffusion", "genrobust"],
        dataset_info={**({"features": features} if features else {}), "splits": splits},
        configs=[{"config_name": "default", "data_files": paths}],
    )


def _size_category(n: int) -> str:
    below = "n"
    for power, name in enumerate(("1K", "10K", "100K", "1M", "10M", "100M", "1B"), start=3):
        if n < 10**power:
            return "n<1K" if below == "n" else f"{below}<n<{name}"
        below = name
    return "1B<n<10B"
