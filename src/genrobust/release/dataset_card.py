"""The card of an export, README.md: what the dataset holds, how it was made, what is wrong with it, what one may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from genrobust import __version__
from genrobust.core import Making, templates
from genrobust.release.facts import Facts
from genrobust.release.formats.imagefolder import METADATA
from genrobust.release.formats.parquet import features
from genrobust.release.licenses import Licence
from genrobust.release.origin import RECIPE
from genrobust.release.parts import DATA, TRAIN, Described
from genrobust.release.sheet import shown_classes
from genrobust.report import EN_DASH, count, escaped, fenced

TEMPLATES = 20  # that are listed
OTHER = "other"  # the hub's word for a licence that is none of its list
_MEANING = {
    "key": "its name, unique in its part",
    "label": "its class as a number",
    "class_id": "its class's id",
    "class_name": "its class's name",
    "prompt": "what the generator was asked for",
    "template": "what the prompt was made from",
    "negative_prompt": "what the generator was asked to avoid",
    "style": "the style that the prompt names",
    "seed": "of the noise that it was drawn from",
    "source": "the key of the real image that it was made from",
    "generator": "what drew it",
    "mode": "what the generator was given: labels (text), images, labels+images, or class",
    "lora": "the LoRA that was added to the generator",
    "strength": "how much of the real image was replaced by noise, 0 to 1",
    "steps": "denoising steps",
    "guidance_scale": "of classifier-free guidance",
    "redraws": "how often it was drawn again, since a draw was black, blank, not a number or unsafe",
    "flagged": "a fault that was found: what a filter or the audit says of it",
}


@dataclass(frozen=True, slots=True)
class AuditTold:
    """An audit as a card tells it: `rows` of what was measured and its figure; `leaks` by test set.

    `leaked` are the keys of the exported images that are copies of test images. `beyond` says how the audited images
    differ from the exported ones, "" where they are the same.
    """

    rows: tuple[tuple[str, str], ...]
    leaks: dict[str, int]
    leaked: tuple[str, ...]
    left_out: tuple[str, ...]
    beyond: str


@dataclass(frozen=True, slots=True)
class About:
    """What a card tells beside the counts.

    `form` is that of the export, `division` says in words how it was divided into parts and `filtered` what a filter
    left out, or is "". `making` is of each dataset, by name. `licence` is the dataset's own, `licences` those of its
    generators. `manifests` are the datasets', `command` makes it again, and `has_recipe` says that the recipe is there.
    """

    title: str
    form: str
    division: str
    filtered: str
    making: tuple[tuple[str, Making], ...]
    audit: AuditTold | None
    licence: str
    licences: tuple[Licence, ...]
    manifests: tuple[dict[str, Any], ...]
    command: str
    has_recipe: bool


class _Raw(str):
    """A text that goes into the card as it is."""

    __slots__ = ()


def card(described: Described, facts: Facts, about: About) -> str:
    """The card as Markdown, with the header that Hugging Face reads. Names, prompts and paths are escaped."""
    environment = templates("release", finalize=_escaped, keep_trailing_newline=True)
    environment.filters["raw"] = _Raw
    environment.globals |= {"count": count, "fenced": _fenced, "spread": _spread}
    classes = described.labels.classes
    return environment.get_template("dataset_card.md.j2").render(
        header=yaml.safe_dump(header(described, facts, about), allow_unicode=True, sort_keys=False, width=1000),
        title=about.title,
        total=len(described),
        classes=classes,
        generators=" and ".join(dict.fromkeys(licence.generator for licence in about.licences)),
        version=__version__,
        shown=[classes[label].name for label in shown_classes(described.labels)],
        usage=_usage(about, described),
        reading=_reading(about.form),
        facts=facts,
        division=about.division,
        columns=[(name, _MEANING[name]) for name in described.columns],
        templates=list(facts.templates.items())[:TEMPLATES],
        styles=[f"{style} {n:,}" for style, n in facts.styles.items()],
        filtered=about.filtered,
        audit=about.audit,
        faults=_faults(about),
        licences=_licences(described, about),
        manifest=yaml.safe_dump(_settings(about.manifests), allow_unicode=True, sort_keys=False),
        command=about.command,
        recipe=RECIPE if about.has_recipe else None,
    )


def header(described: Described, facts: Facts, about: About) -> dict[str, Any]:
    """The card's YAML header, as https://huggingface.co/docs/hub/datasets-cards has it."""
    kinds = {"imagefolder": "{}/**", "parquet": f"{DATA}/{{}}-*.parquet", "webdataset": f"{DATA}/{{}}-*.tar"}
    splits = [
        {"name": part, "num_bytes": facts.bytes[part], "num_examples": number} for part, number in facts.images.items()
    ]
    info: dict[str, Any] = {"splits": splits}
    if about.form != "webdataset":  # whose columns are its files' endings
        info = {"features": _header_features(described, about.form), **info}
    paths = [{"split": part, "path": kinds[about.form].format(part)} for part in facts.images]
    return {
        "license": about.licence,
        "pretty_name": about.title,
        "annotations_creators": ["machine-generated"],
        "task_categories": ["image-classification"],
        "size_categories": [_size_category(len(described))],
        "tags": ["synthetic", "generated", "diffusion", "genrobust"],
        "dataset_info": info,
        "configs": [{"config_name": "default", "data_files": paths}],
    }


def _header_features(described: Described, form: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, feature in features(described.schema, described.labels).items():
        if feature["_type"] == "ClassLabel" and form == "imagefolder":  # whose metadata hold plain numbers
            found.append({"name": name, "dtype": "int64"})
        elif feature["_type"] == "ClassLabel":
            names = {str(label): id for label, id in enumerate(feature["names"])}
            found.append({"name": name, "dtype": {"class_label": {"names": names}}})
        else:
            found.append({"name": name, "dtype": feature.get("dtype", "image")})
    return found


def _size_category(n: int) -> str:
    bounds = {"1K": 10**3, "10K": 10**4, "100K": 10**5, "1M": 10**6, "10M": 10**7, "100M": 10**8, "1B": 10**9}
    below = "n"
    for name, bound in bounds.items():
        if n < bound:
            return "n<1K" if below == "n" else f"{below}<n<{name}"
        below = name
    return "1B<n<10B"


# ------------------------------------------------------------------------------------------ words


def _usage(about: About, described: Described) -> str:
    if about.form == "imagefolder":
        return (
            "from datasets import load_dataset\nfrom torchvision.datasets import ImageFolder\n\n"
            f'train = load_dataset("FOLDER", split="{TRAIN}")\n'
            f'pixels = ImageFolder("FOLDER/{TRAIN}")'
        )
    if about.form == "webdataset":
        return (
            "from timm.data import create_dataset\n\n"
            f'train = create_dataset("wds/", root="FOLDER", split="{TRAIN}", is_training=True, batch_size=64)'
        )
    return f'from datasets import load_dataset\n\ntrain = load_dataset("FOLDER", split="{TRAIN}")'


def _reading(form: str) -> str:
    if form == "imagefolder":
        return (
            f"Each part holds a folder a class and {METADATA}, a row an image. torchvision numbers the classes in the "
            "order of their folders' names, which differs from the labels here where the ids are not sorted."
        )
    if form == "webdataset":
        return (
            "Each sample is key.png, key.cls (the label) and key.json (all that is told of it). The order is fixed and "
            "the classes alternate: shuffle all the same. Hugging Face datasets and webdataset read them as well."
        )
    return "The label is a ClassLabel whose names are the class ids."


def _spread(counts: Sequence[int]) -> str:
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,}{EN_DASH}{max(counts):,}"


def _faults(about: About) -> list[str]:
    found = []
    for name, making in about.making:
        if making.given_up:
            why = "; ".join(f"{n:,} {reason}" for reason, n in making.reasons.items())
            found.append(
                f"{name}: of {count(making.requests, 'request')}, {making.given_up:,} gave no image ({why}), so "
                "classes may have different numbers of images."
            )
        if making.redrawn:
            faults = ", ".join(f"{kind} {n:,}" for kind, n in making.faults.items() if n)
            found.append(
                f"{name}: {count(making.redrawn, 'request')} drawn more than once ({faults or 'no reason kept'})."
            )
        if not making.given_up and not making.redrawn:
            found.append(f"{name}: every one of {count(making.requests, 'request')} gave an image at its first draw.")
    audit = about.audit
    if audit is not None and audit.leaks:
        where = ", ".join(f"{count(n, 'copy').replace('copys', 'copies')} of {test}" for test, n in audit.leaks.items())
        keys = ", ".join(audit.leaked[:TEMPLATES]) + (" ..." if len(audit.leaked) > TEMPLATES else "")
        several = len(audit.leaked) != 1
        here = (
            f"{count(len(audit.leaked), 'exported image')} {'are' if several else 'is'} such, flagged: {keys}."
            if audit.leaked
            else "None is exported."
        )
        found.append(
            f"The audit finds copies of test images: {where}. {here} Do not score on these test sets with them."
        )
    found.append("A label says what the generator was asked for; the image may show something else.")
    return found


def _licences(described: Described, about: About) -> list[str]:
    found = []
    if about.licence == OTHER:
        found.append("No licence was chosen for this dataset: ask whoever published it before you use or share it.")
    else:
        found.append(f"The dataset is published under {about.licence}.")
    for licence in about.licences:
        if licence.forbids:
            found.append(
                f"The generator {licence.generator} is under {licence.name}, which restricts what may be done with its "
                f"images ({licence.forbids}); whoever exported them has accepted that."
            )
        elif licence.name:
            found.append(f"The generator {licence.generator} is under {licence.name}, as its card says.")
        else:
            found.append(f"No card of the generator {licence.generator} was at hand: its licence is not known here.")
    if "lora" in described.columns:
        found.append("A LoRA was added to the generator; its licence holds as well.")
    if "source" in described.columns:
        found.append("Images were made from real ones (column source), whose licences hold as well.")
    return found


def _settings(manifests: Sequence[dict[str, Any]]) -> Any:
    """What the manifests say, without the list of classes, which the card has already."""
    told = [{k: v for k, v in manifest.items() if k not in ("class_ids", "format")} for manifest in manifests]
    return told[0] if len(told) == 1 else told


def _escaped(value: Any) -> str:
    return value if isinstance(value, _Raw) else escaped(str(value))


def _fenced(code: str, language: str) -> _Raw:
    return _Raw(fenced(code, language))
