"""The numbers of an audit.json that a dataset card quotes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import UserError, read_page_json, reading
from genrobust.data import ShardDataset
from genrobust.report import format_number, percent


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """An audit as a card quotes it: `rows` of a measure and its value; `leaks` by test set.

    `leaked` are the keys of the exported images that are copies of test images. `beyond` says how the audited images
    differ from the exported ones, "" where they are the same.
    """

    rows: tuple[tuple[str, str], ...]
    leaks: dict[str, int]
    leaked: tuple[str, ...]
    left_out: tuple[str, ...]
    beyond: str


def read_audit(path: Path, dataset: ShardDataset, chosen: np.ndarray, alone: bool = True) -> AuditSummary:
    """Read the audit.json of `dataset`, whose images at the indices `chosen` are exported, `alone` or with another's.

    Raises:
        UserError: No such file, no audit, or one of another dataset.
    """
    then = ": it is no audit.json that this version of genrobust audit wrote: audit again"
    with reading(f"--audit {path}", KeyError, TypeError, ValueError, IndexError, AttributeError, then=then):
        facts = read_page_json(path)
        if facts["dataset"]["fingerprint"] != dataset.fingerprint:
            raise UserError(f"--audit {path} is of another dataset than {dataset.folder}: audit this one")
        leaked = sorted({i for duplicates in facts["of_tests"] for i in duplicates["flagged"]} & set(chosen.tolist()))
        left, beyond = len(dataset) - len(chosen), []
        if left:
            beyond.append(f"Measured over all {len(dataset):,} images, {left:,} of which the filter left out.")
        if not alone:
            beyond.append("The validation part is another dataset, which this audit has not seen.")
        return AuditSummary(
            rows=tuple(_rows(facts)),
            leaks={str(name): int(n) for name, n in facts["leaks"].items()},
            leaked=tuple(dataset.keys[i] for i in leaked),
            left_out=tuple(map(str, facts["left_out"])),
            beyond=" ".join(beyond),
        )


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "images audited", f"{facts['n']:,}"
    copies = {
        "images with a copy among the others": facts["inside"],
        "copies of real training images": facts["of_real"],
    }
    copies |= {f"copies of test images of {duplicates['against']}": duplicates for duplicates in facts["of_tests"]}
    copies |= {"copies of the generator's training images": facts["of_wild"]}
    for name, duplicates in copies.items():
        if duplicates is not None:
            yield name, f"{duplicates['exact']:,} exact, {duplicates['near']:,} near"
    known = facts["memorization"]
    if known is not None:
        near = f"unusually near to the generator's training images ({percent(known['expected'], 0)} expected)"
        yield near, f"{percent(known['share'])} ({format_number(100 * known['lo'], 1)} to {percent(known['hi'])})"
    for judged in facts["judgments"]:
        yield f"taken for their label by {judged['judge']}", percent(judged["agreement"]["share"])
    if facts["clip_score"] is not None:
        yield "CLIP score with the class, 100 x mean cosine", format_number(facts["clip_score"]["named"])
    for name, fidelity in ((space["name"], space["fidelity"]) for space in facts["spaces"]):
        if fidelity is not None:
            yield f"FID, {name}", format_number(fidelity["fid"])
            yield f"KID x 1,000, {name}", format_number(1000 * fidelity["kid"], 1)
            for measure in ("precision", "recall"):
                yield f"{measure}, {name}", percent(fidelity[measure])
