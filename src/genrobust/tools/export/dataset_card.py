"""The card of an export, README.md: what the dataset holds, how it was made, its known faults and its license."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import DatasetCardData

from genrobust.data import NAMES
from genrobust.report import EN_DASH
from genrobust.tools.export.cards import render_card
from genrobust.tools.export.counts import DRAWN, Counts
from genrobust.tools.export.format import Format
from genrobust.tools.export.parts import RECIPE, Content
from genrobust.tools.export.sheet import shown_classes

MOST = 20  # templates, and keys of leaked images, that are listed
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")


def dataset_card(
    content: Content, counts: Counts, form: Format, manifests: Sequence[Mapping[str, Any]], **about: Any
) -> str:
    """Write the card as Markdown, with the header that the hub reads.

    Args:
        manifests: Those of the datasets that were exported.
        about: The other values of the template.
    """
    names = content.labels.names
    of_classes = ("class_ids", NAMES)  # which the table of images by class has
    excerpts = [{key: value for key, value in manifest.items() if key not in of_classes} for manifest in manifests]
    return render_card(
        "dataset_card.md.j2",
        _header(content, counts, form, about["title"], about["license"]),
        content=content,
        counts=counts,
        form=form,
        manifests=manifests,
        shown=[names[label] for label in shown_classes(content.labels)],
        spread=lambda counts: EN_DASH.join(f"{n:,}" for n in sorted({min(counts), max(counts)})),
        drawn=DRAWN,
        most=MOST,
        manifest=yaml.safe_dump(excerpts[0] if len(excerpts) == 1 else excerpts, allow_unicode=True, sort_keys=False),
        recipe=RECIPE,
        **about,
    )


def _header(content: Content, counts: Counts, form: Format, title: str, license: str) -> DatasetCardData:
    parts, features = counts.images, form.features(content)
    splits = [{"name": part, "num_bytes": counts.bytes[part], "num_examples": n} for part, n in parts.items()]
    paths = [{"split": part, "path": form.files.format(part)} for part in parts]
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
