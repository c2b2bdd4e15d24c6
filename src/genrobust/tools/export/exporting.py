"""The command export: opens a generated dataset, divides it, and writes it in another program's form with its card."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrobust.core import Artifact, UserError, progress_bar, some_of
from genrobust.data import FILTERS, USED, FilterResult, ShardDataset, filters_of, kept_indices, making, read_filter
from genrobust.report import count, percent
from genrobust.tools.export.audit_summary import read_audit
from genrobust.tools.export.counts import count_images
from genrobust.tools.export.dataset_card import dataset_card
from genrobust.tools.export.folder import new_folder, refuse_others
from genrobust.tools.export.format import open_format
from genrobust.tools.export.licenses import GENERATOR, OTHER, check_license, licenses_of, require_free
from genrobust.tools.export.parts import CARD, RECIPE, SHEET, TRAIN, VALIDATION, Origin, Part, split
from genrobust.tools.export.sheet import draw_sheet

_GENERATED = "It is generated as well: it says nothing of accuracy on real images."


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The dataset to export, and how: the options of the command; `origin` is the recipe that it came from."""

    dataset: Path
    to: str
    options: Sequence[str] = ()
    out: Path | None = None
    val: float | None = None
    val_dataset: Path | None = None
    overwrite: bool = False
    license: str = OTHER
    audit: Path | None = None
    filter: str | None = None
    generator: Path | None = None
    origin: Origin | None = None
    accept_license: bool = False


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The folder of an export, the images of its parts, and the generators whose license is not known."""

    folder: Path
    images: dict[str, int]
    unknown: tuple[str, ...]


def export(options: ExportOptions) -> ExportResult:
    """Write a dataset of shards in the form of another program, with its card, into a folder of its own.

    Raises:
        UserError: What cannot be opened or does not belong together, a class without images in a part, or a generator,
            LoRA or adapter whose license restricts its images, unless `accept_license`.
        GenrobustError: A damaged dataset.
    """
    check_license(options.license)
    form = open_format(options.to, options.options)
    out = _export_folder(options)
    datasets = [ShardDataset(folder) for folder in (options.dataset, options.val_dataset) if folder is not None]
    manifests = [dataset.about for dataset in datasets]
    licenses = licenses_of(manifests, options.generator)
    if not options.accept_license:
        require_free(licenses)
    chosen, flagged, filtered = _apply_filters(options, datasets[0])
    audit = None
    if options.audit is not None:
        audit = read_audit(options.audit, datasets[0], chosen, alone=len(datasets) == 1)
        for key in audit.leaked:
            _flag(flagged, key, "a copy of a test image")
    parts, division = _divide(options, datasets, chosen, flagged)
    labels = datasets[0].label_space()
    content, counts = count_images(parts, labels)
    generators = list(dict.fromkeys(license.id for license in licenses if license.part == GENERATOR))
    card = dataset_card(
        content,
        counts,
        form,
        manifests,
        title=out.name,
        generators=" and ".join(generators),
        division=division,
        filtered=filtered,
        making=[(dataset.folder.resolve().name, making(dataset.metadata(USED))) for dataset in datasets],
        audit=audit,
        license=options.license,
        licenses=licenses,
        command=_command(options),
        has_recipe=options.origin is not None,
    )
    with new_folder(out, options.overwrite) as folder:
        with progress_bar(f"exporting to {options.to}", len(content)) as bar:
            form.write(content, counts.bytes, folder, bar.advance)
        if options.origin is not None:
            (folder / RECIPE).write_text(options.origin.recipe, encoding="utf-8")
        draw_sheet(content.parts[0], labels).save(folder / SHEET)
        (folder / CARD).write_text(card, encoding="utf-8")
    return ExportResult(
        out, counts.images, tuple(license.id for license in licenses if license.part == GENERATOR and not license.name)
    )


def _export_folder(options: ExportOptions) -> Path:
    """Check the options that need no dataset; returns the folder of the export."""
    if options.val is not None and options.val_dataset is not None:
        raise UserError("give either --val FRACTION or --val-dataset FOLDER")
    source = options.dataset.resolve()
    out = (options.out or source.with_name(f"{source.name}-{options.to}")).resolve()
    for dataset in [source, *([options.val_dataset.resolve()] if options.val_dataset else [])]:
        if out.is_relative_to(dataset) or dataset.is_relative_to(out):
            raise UserError(
                f"--out {out} lies in the dataset {dataset}, or holds it: an export goes to a folder outside"
            )
    refuse_others(out, options.overwrite)
    return out


def _apply_filters(options: ExportOptions, dataset: ShardDataset) -> tuple[np.ndarray, dict[str, str], str]:
    """The indices that `options.filter` keeps, the reasons of other filters by key, and the filter in words."""
    others = [other for other in filters_of(dataset.folder) if other.fingerprint == dataset.fingerprint]
    flagged: dict[str, str] = {}
    chosen, words = np.arange(len(dataset)), []
    if options.filter is not None:
        applied = _find_filter(options.filter, dataset.folder)
        chosen = kept_indices(dataset, applied)
        others = [other for other in others if other.folder.resolve() != applied.folder.resolve()]
        left_out = f"{applied.made - applied.kept:,} of {applied.made:,} images"
        words.append(f"{applied.folder.name} left out {left_out}, by {applied.by}.")
    for other in others:
        for key, reason in other.rejected.items():
            _flag(flagged, key, f"{other.folder.name}: {reason}")
        words.append(f"Not applied: {other.folder.name}, by {other.by}; what it would leave out is flagged.")
    return chosen, flagged, " ".join(words)


def _find_filter(name: str, folder: Path) -> FilterResult:
    for path in (folder / FILTERS / name, Path(name)):
        if Artifact(path).is_finished:
            return read_filter(path)
    names = ", ".join(stored.folder.name for stored in filters_of(folder)) or "none"
    raise UserError(f"--filter {name}: no such filter in {folder / FILTERS}; there are {names}")


def _flag(flagged: dict[str, str], key: str, reason: str) -> None:
    flagged[key] = f"{flagged[key]}; {reason}" if key in flagged else reason


def _divide(
    options: ExportOptions, datasets: Sequence[ShardDataset], chosen: np.ndarray, flagged: Mapping[str, str]
) -> tuple[list[Part], str]:
    """The parts, none of which lacks a class, and in words how the dataset was divided into them."""
    first = datasets[0]
    parts, words = [Part(TRAIN, first, chosen, flagged)], "There is no validation part."
    if options.val is not None:
        train, validation = split(first, chosen, options.val)
        parts = [Part(name, first, indices, flagged) for name, indices in ((TRAIN, train), (VALIDATION, validation))]
        words = (
            f"The validation part is {percent(options.val)} of each class, drawn by a hash of the keys. {_GENERATED}"
        )
    elif options.val_dataset is not None:
        if datasets[1].fingerprint == first.fingerprint:
            raise UserError("--val-dataset names the dataset itself: it would validate on what it trains on")
        if datasets[1].class_ids != first.class_ids:
            raise UserError(
                f"--val-dataset {options.val_dataset} is of {len(datasets[1].class_ids)} classes, which are not the "
                f"{len(first.class_ids)} of {first.folder} in this order: name one of the same classes"
            )
        parts.append(Part(VALIDATION, datasets[1], np.arange(len(datasets[1])), {}))
        words = f"The validation part is another generated dataset. {_GENERATED}"
    for part in parts:
        lacking = np.setdiff1d(np.arange(len(first.class_ids)), part.labels)
        if len(lacking):
            raise UserError(
                f"the {part.name} part has no image of {count(len(lacking), 'class')} "
                f"({some_of(first.label_names[i] for i in lacking)}): choose a filter that leaves some, "
                "or generate more images"
            )
    return parts, words


def _command(options: ExportOptions) -> str:
    """The commands that make the export again, with paths by their last name: a card names no folder of a machine."""
    origin = options.origin
    made = ["genrobust", "generate", *(["RECIPE"] if origin is None else [RECIPE, "--dataset", origin.dataset])]
    words = ["genrobust", "export", options.dataset.resolve().name, "--to", options.to]
    if options.val is not None:
        words += ["--val", f"{options.val:g}"]
    for option, path in (("--val-dataset", options.val_dataset), ("--audit", options.audit)):
        words += [option, path.resolve().name] if path is not None else []
    words += ["--filter", Path(options.filter).name] if options.filter is not None else []
    words += ["--recipe", RECIPE] if origin is not None else []
    return f"{shlex.join(made)}\n{shlex.join([*words, '--license', options.license])}"
