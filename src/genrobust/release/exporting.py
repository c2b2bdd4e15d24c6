"""The command export: opens a generated dataset, divides it, and writes it in another program's form with its card."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import ClassLabel, Filter, LabelSpace, UserError, progress_bar, slug
from genrobust.data import (
    PATTERN,
    USED,
    ShardDataset,
    filters_of,
    kept_indices,
    making,
    read_filter,
    readable_names,
)
from genrobust.recipe import GENERATED
from genrobust.release.dataset_card import OTHER, About, AuditTold, card
from genrobust.release.facts import Facts, describe
from genrobust.release.formats.croissant import croissant
from genrobust.release.formats.folder import new_folder, refuse_others
from genrobust.release.formats.imagefolder import write_imagefolder
from genrobust.release.formats.parquet import write_parquet
from genrobust.release.formats.tars import write_tars
from genrobust.release.licenses import Licence, licences_of
from genrobust.release.origin import RECIPE, Origin
from genrobust.release.parts import CARD, CROISSANT, SHEET, TRAIN, VALIDATION, Described, Part, split
from genrobust.release.sheet import contact_sheet
from genrobust.report import count, figure, percent

FORMS = ("imagefolder", "webdataset", "parquet")
_GENERATED = "It is generated as well: it says nothing of accuracy on real images."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export, and how; see `export`."""

    dataset: Path
    to: str
    out: Path | None = None
    val: float | None = None
    val_dataset: Path | None = None
    overwrite: bool = False
    licence: str = OTHER
    audit: Path | None = None
    filter: str | None = None
    generator: Path | None = None
    origin: Origin | None = None
    accept_licence: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """Where an export lies, the images of its parts, and the generators whose licence is not known."""

    folder: Path
    images: dict[str, int]
    unknown: tuple[str, ...]


def export(wanted: Wanted) -> Exported:
    """Write the dataset of shards in `wanted.dataset` in the form `to`, one of FORMS, into a folder of its own.

    `val` is the fraction of each class that becomes the validation part; `val_dataset` another generated dataset of the
    same classes that is it. `filter` names a filter beside the shards, or a filter's file: what it leaves out stays out
    of the export. `audit` is the audit.json of the dataset, for the card. `licence` is the dataset's. `generator` is
    the folder of the generator, for its card. `origin` is the recipe that the dataset came from, which goes along as
    RECIPE. Without `out` the export lies beside the dataset, as
    ``<dataset>-<to>``; `overwrite` replaces an export that lies there once the new one is whole.

    Raises UserError for what cannot be opened or does not belong together, for a class without images in a part, and
    for a generator whose licence restricts its images unless `accept_licence`; GenrobustError for a damaged dataset.
    """
    if wanted.to not in FORMS:
        raise UserError(f"--to {wanted.to}: write {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", wanted.licence):
        raise UserError(f"--licence {wanted.licence}: give an id such as apache-2.0 or cc-by-4.0, in small letters")
    if wanted.val is not None and wanted.val_dataset is not None:
        raise UserError("say either --val FRACTION or --val-dataset FOLDER")
    out = _place(wanted)
    datasets = [ShardDataset(folder) for folder in (wanted.dataset, wanted.val_dataset) if folder is not None]
    labels = _labels(datasets)
    licences = _licences(datasets, wanted)
    chosen, flagged, filtered = _filtered(wanted, datasets[0])
    audit = _audit(wanted.audit, datasets[0], chosen) if wanted.audit is not None else None
    if audit is not None:
        flagged = {**flagged, **{key: _joined(flagged.get(key), "a copy of a test image") for key in audit.leaked}}
    parts, division = _parts(wanted, datasets, chosen, flagged)
    described, facts = describe(parts, labels)
    about = About(
        title=out.name,
        form=wanted.to,
        division=division,
        filtered=filtered,
        making=tuple((of.folder.resolve().name, making(of.metadata(USED))) for of in datasets),
        audit=audit,
        licence=wanted.licence,
        licences=licences,
        manifests=tuple(dataset.manifest for dataset in datasets),
        command=_command(wanted),
        has_recipe=wanted.origin is not None,
    )
    with new_folder(out, wanted.overwrite) as folder:
        with progress_bar(f"exporting to {wanted.to}", len(described)) as bar:
            _write(described, facts, wanted.to, folder, bar.advance)
        if wanted.origin is not None:
            (folder / RECIPE).write_text(wanted.origin.recipe, encoding="utf-8")
        _tell(described, facts, about, folder)
    return Exported(out, facts.images, tuple(of.generator for of in licences if not of.name))


def _write(described: Described, facts: Facts, to: str, folder: Path, advance: Callable[[], object]) -> None:
    if to == "imagefolder":
        write_imagefolder(described, folder, advance)
    elif to == "webdataset":
        write_tars(described, facts.bytes, folder, advance)
    else:
        write_parquet(described, facts.bytes, folder, advance)


def _tell(described: Described, facts: Facts, about: About, folder: Path) -> None:
    """Write the card, its contact sheet and the Croissant metadata; these last, since they mark an export."""
    contact_sheet(described.parts[0], described.labels).save(folder / SHEET)
    (folder / CARD).write_text(card(described, facts, about), encoding="utf-8")
    told = {
        "name": slug(about.title),
        "description": f"{len(described):,} images of {len(described.labels):,} classes, drawn by "
        f"{' and '.join(dict.fromkeys(of.generator for of in about.licences))}; see {CARD}.",
        "license": about.licence,
    }
    text = json.dumps(croissant(described, about.form, folder, told), indent=1, ensure_ascii=False)
    (folder / CROISSANT).write_text(text + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------ what was asked for


def _place(wanted: Wanted) -> Path:
    source = wanted.dataset.resolve()
    out = (wanted.out or source.with_name(f"{source.name}-{wanted.to}")).resolve()
    sources = [source, *([wanted.val_dataset.resolve()] if wanted.val_dataset else [])]
    for of in sources:
        if out.is_relative_to(of) or of.is_relative_to(out):
            raise UserError(f"--out {out} lies in the dataset {of}, or holds it: an export goes to a folder outside")
    refuse_others(out, wanted.overwrite)
    return out


def _labels(datasets: Sequence[ShardDataset]) -> LabelSpace:
    for dataset in datasets:
        if not dataset.class_ids:
            raise UserError(f"{dataset.folder} does not say what its classes are: generate it again with this version")
        if dataset.class_ids != datasets[0].class_ids:
            raise UserError(
                f"--val-dataset {dataset.folder} is of {len(dataset.class_ids)} classes, which are not the "
                f"{len(datasets[0].class_ids)} of {datasets[0].folder} in this order: name one of the same classes"
            )
    names = readable_names(datasets[0].class_ids)
    return LabelSpace(tuple(ClassLabel(id, name, name) for id, name in names.items()), shared_prompts=True)


def _licences(datasets: Sequence[ShardDataset], wanted: Wanted) -> tuple[Licence, ...]:
    found = licences_of([dataset.manifest for dataset in datasets], wanted.generator)
    for licence in found:
        if licence.forbids and not wanted.accept_licence:
            raise UserError(
                f"the generator {licence.generator} is under {licence.name}, which restricts what may be done with its "
                f"images ({licence.forbids}): read it, and export with --accept-licence if it allows what you plan"
            )
    return found


def _filtered(wanted: Wanted, dataset: ShardDataset) -> tuple[np.ndarray, dict[str, str], str]:
    """The indices that `wanted.filter` keeps, what other filters say of images by key, and the filter in words."""
    beside = [found for found in filters_of(dataset.folder) if found.fingerprint == dataset.fingerprint]
    flagged: dict[str, str] = {}
    if wanted.filter is None:
        chosen, words = np.arange(len(dataset)), ""
    else:
        applied = _named_filter(wanted.filter, dataset.folder)
        chosen = kept_indices(dataset, applied)
        beside = [found for found in beside if found.path.resolve() != applied.path.resolve()]
        words = (
            f"{applied.path.name} left out {applied.made - applied.kept:,} of {applied.made:,} images, by {applied.by}."
        )
    for found in beside:
        for key, reason in found.rejected.items():
            flagged[key] = _joined(flagged.get(key), f"{found.path.stem}: {reason}")
        words += f" Not applied: {found.path.name}, by {found.by}; what it would leave out is flagged."
    return chosen, flagged, words.strip()


def _named_filter(name: str, folder: Path) -> Filter:
    for path in (folder / name, folder / f"{name}.parquet", Path(name)):
        if path.is_file():
            return read_filter(path)
    there = ", ".join(sorted(path.stem for path in folder.glob(PATTERN))) or "none"
    raise UserError(f"--filter {name}: no such filter beside the shards in {folder}; there are {there}")


def _joined(before: str | None, text: str) -> str:
    return f"{before}; {text}" if before else text


def _parts(
    wanted: Wanted, datasets: Sequence[ShardDataset], chosen: np.ndarray, flagged: Mapping[str, str]
) -> tuple[list[Part], str]:
    """The parts, none of which lacks a class, and in words how the dataset was divided into them."""
    first = datasets[0]
    parts, words = [Part(TRAIN, first, chosen, flagged)], "There is no validation part."
    if wanted.val is not None:
        train, validation = split(first, chosen, wanted.val)
        parts = [Part(name, first, of, flagged) for name, of in ((TRAIN, train), (VALIDATION, validation))]
        words = f"The validation part is {percent(wanted.val)} of each class, drawn by a hash of the keys. {_GENERATED}"
    elif wanted.val_dataset is not None:
        if datasets[1].fingerprint == first.fingerprint:
            raise UserError("--val-dataset names the dataset itself: it would validate on what it trains on")
        parts.append(Part(VALIDATION, datasets[1], np.arange(len(datasets[1])), {}))
        words = f"The validation part is another generated dataset. {_GENERATED}"
    for part in parts:
        lacking = np.setdiff1d(np.arange(len(first.class_ids)), part.labels)
        if len(lacking):
            some = ", ".join(first.class_ids[i] for i in lacking[:5]) + (" ..." if len(lacking) > 5 else "")
            raise UserError(
                f"the {part.name} part has no image of {count(len(lacking), 'class').replace('classs', 'classes')} "
                f"({some}): choose a filter that leaves some, or generate more images"
            )
    return parts, words


def _command(wanted: Wanted) -> str:
    """What makes the export again, with paths by their last name: a card does not tell where things lay."""
    origin = wanted.origin
    made = ["genrobust", "generate", "RECIPE" if origin is None else RECIPE]
    made += ["--dataset", origin.dataset] if origin is not None and origin.dataset != GENERATED else []
    words = ["genrobust", "export", wanted.dataset.resolve().name, "--to", wanted.to]
    if wanted.val is not None:
        words += ["--val", f"{wanted.val:g}"]
    for option, path in (("--val-dataset", wanted.val_dataset), ("--audit", wanted.audit)):
        words += [option, path.resolve().name] if path is not None else []
    words += ["--filter", Path(wanted.filter).name] if wanted.filter is not None else []
    words += ["--recipe", RECIPE] if origin is not None else []
    return f"{shlex.join(made)}\n{shlex.join([*words, '--licence', wanted.licence])}"


# ------------------------------------------------------------------------------------------ an audit


def _audit(path: Path, dataset: ShardDataset, chosen: np.ndarray) -> AuditTold:
    """What audit.json says of `dataset`, of which `chosen` are exported; raises UserError where it is none of it."""
    try:
        facts = json.loads(path.read_bytes())
        fingerprint = facts["dataset"]["fingerprint"]
    except FileNotFoundError:
        raise UserError(f"--audit {path}: there is no such file; genrobust audit writes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--audit {path}: this is no audit.json of genrobust audit ({error!r})") from None
    if fingerprint != dataset.fingerprint:
        raise UserError(f"--audit {path} is of another dataset than {dataset.folder}: audit this one")
    try:
        exported = set(chosen.tolist())
        leaked = sorted({i for found in facts["of_tests"] for i in found["flagged"]} & exported)
        left = len(dataset) - len(chosen)
        return AuditTold(
            rows=tuple(_audit_rows(facts)),
            leaks={str(name): int(n) for name, n in facts["leaks"].items()},
            leaked=tuple(dataset.keys[i] for i in leaked),
            left_out=tuple(map(str, facts["left_out"])),
            beyond=f"Measured over all {len(dataset):,} images, {left:,} of which the filter left out." if left else "",
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"--audit {path} is damaged, or of another version ({error!r}): audit again") from None


def _audit_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("images audited", f"{facts['n']:,}")]
    pairs = [
        ("images with a copy among the others", facts["inside"]),
        ("copies of real training images", facts["of_real"]),
    ]
    pairs += [(f"copies of test images of {found['against']}", found) for found in facts["of_tests"]]
    pairs += [("copies of the generator's training images", facts["of_wild"])]
    rows += [(name, f"{found['exact']:,} exact, {found['near']:,} near") for name, found in pairs if found is not None]
    known = facts["memorization"]
    if known is not None:
        bounds = f"{figure(100 * known['lo'], 1)} to {percent(known['hi'])}"
        rows.append(
            (
                f"unusually near to the generator's training images ({percent(known['expected'], 0)} expected)",
                f"{percent(known['share'])} ({bounds})",
            )
        )
    for judged in facts["judgements"]:
        rows.append((f"taken for their label by {judged['judge']}", percent(judged["agreement"]["share"])))
    score = facts["clip_score"]
    if score is not None:
        rows.append(("CLIP score with the class, 100 x mean cosine", figure(score["named"])))
    for space in facts["spaces"]:
        found = space["fidelity"]
        if found is not None:
            rows += [
                (f"FID, {space['name']}", figure(found["fid"])),
                (f"KID, {space['name']}", figure(found["kid"], 4)),
            ]
            rows += [(f"{name}, {space['name']}", percent(found[name])) for name in ("precision", "recall")]
    return rows
