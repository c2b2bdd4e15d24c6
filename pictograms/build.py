"""Build the Pictograms dataset from the npm package @iconify/json.

    python pictograms/build.py --package path/to/package --out src/genrobust/assets/pictograms

Every choice is in a file beside this one: `families.yaml` (who drew what, in which style, on which
side), `classes.yaml` (which names belong to which class) and `exclusions.csv` (drawings that a
person excluded). Nothing here is random: the same package gives the same pixels and rows.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from drawings import NEW, Drawing, candidates, load_classes, rendered
from PIL import Image
from scipy.ndimage import gaussian_filter
from tables import census, sets_used, write_json, write_table

from genrobust.leaks import NEAR as COPY, nearest, thumbnail

# Who keeps a drawing that two sides share. What is trained on comes first: an image to be tested on that resembles one
# of those leaves, so that no test image has a twin in anything that a model has learned from.
PRIORITY = ("wild", "real", "shift", "wild-val", NEW)
# Drawings a class takes from one family in one style: one hand must not outweigh the others.
CAPS = {"real": 4, "shift": 4, "wild-val": 4, "wild": 3, NEW: 4}
# Share of ink by which two drawings of a class must differ; see `ink_distance`. Chosen by looking at
# pairs: below it most are one design (scaled, moved, rounded, mirrored); from 0.14 on most are two designs.
NEAR = 0.10
SHARES = {"test": 0.20, "val": 0.10}  # of the real images of a class; the rest is train


def without_exact_duplicates(drawings: list[Drawing], counts: Counter[str]) -> list[Drawing]:
    """Keep one drawing for each pixel hash, by priority of side; leave out drawings that two classes claim."""
    by_hash: dict[str, list[Drawing]] = defaultdict(list)
    for drawing in drawings:
        by_hash[drawing.sha256].append(drawing)
    kept = []
    for same in by_hash.values():
        if len({d.class_id for d in same}) > 1:
            counts["claimed by two classes"] += len(same)
            continue
        same.sort(key=lambda d: PRIORITY.index(d.side))
        for other in same[1:]:
            place = "within" if other.side == same[0].side else f"{same[0].side} keeps, removed from"
            counts[f"exact duplicates, {place} {other.side}"] += 1
        kept.append(same[0])
    return kept


def fingerprint(pixels: np.ndarray) -> np.ndarray:
    """32x32x3 ink (255 minus color) of the drawing cropped to its own box: blind to margin and scale.

    Blurred by a pixel, since thin strokes that lie beside each other would have no ink in common.
    """
    ink = 255 - pixels
    rows, columns = np.nonzero(ink.max(axis=2) > 40)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    side = max(bottom - top, right - left)
    square = np.zeros((side, side, 3), np.uint8)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = ink[top:bottom, left:right]
    small = np.asarray(Image.fromarray(square).resize((32, 32), Image.Resampling.BOX), np.float32)
    return gaussian_filter(small, (1, 1, 0), truncate=3)


def ink_distance(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Share of two fingerprints' ink that differs, the one mirrored or not, for each of `many`, [N, 32, 32, 3].

    0 for the same drawing, 1 where nothing overlaps. A plain mean difference would call any two thin outlines near, for
    both are mostly white.
    """
    apart = np.minimum(*(np.abs(many - turned).sum(axis=(1, 2, 3)) for turned in (one, one[:, ::-1])))
    return apart / (many.sum(axis=(1, 2, 3)) + one.sum())


def without_near_duplicates(drawings: list[Drawing], counts: Counter[str]) -> list[Drawing]:
    """Leave out drawings that resemble one of the same class on a side that comes earlier in `PRIORITY`.

    Real ones stay, and are marked.
    """
    kept: list[Drawing] = []
    for same_class in grouped(drawings, lambda d: d.class_id):
        prints = np.stack([fingerprint(d.pixels) for d in same_class])
        ranks = np.array([PRIORITY.index(d.side) for d in same_class])
        alive = np.ones(len(same_class), bool)
        for i in np.argsort(ranks, kind="stable"):
            before = np.flatnonzero(alive & (ranks < ranks[i]))
            if len(before) and (distances := ink_distance(prints[i], prints[before])).min() < NEAR:
                alive[i] = same_class[i].known = same_class[i].side == "real"
                keeper = same_class[before[distances.argmin()]]
                action = "train only" if alive[i] else "removed"
                counts[f"near duplicates of {keeper.side}, {action}: {same_class[i].side}"] += 1
        kept += [d for d, ok in zip(same_class, alive, strict=True) if ok]
    return kept


def copies(drawings: list[Drawing], sides: set[str]) -> list[Drawing]:
    """Those of `sides` not to be trained on that `genrobust audit` would call a copy of one that is, of any class."""
    trained = [d for d in drawings if d.split in {"train", "wild"}]
    other = [d for d in drawings if d.side in sides and d.split not in {"train", "wild"}]
    frames, queries = (np.stack([thumbnail(Image.fromarray(d.pixels)) for d in some]) for some in (trained, other))
    return [d for d, apart in zip(other, nearest(queries, frames).distance, strict=True) if apart < COPY]


def grouped(drawings: Iterable[Drawing], key) -> list[list[Drawing]]:
    groups: dict = defaultdict(list)
    for drawing in drawings:
        groups[key(drawing)].append(drawing)
    return [groups[k] for k in sorted(groups)]


def capped(drawings: list[Drawing], counts: Counter[str]) -> list[Drawing]:
    """At most `CAPS` a (class, family, style), taken from the family's sets in turn, plain names first."""
    kept = []
    for group in grouped(drawings, lambda d: (d.class_id, d.family, d.style)):
        turns = []
        for same_set in grouped(group, lambda d: d.set):
            same_set.sort(key=lambda d: (not d.direct, len(d.name), d.name))
            turns += [(turn, d.set, d) for turn, d in enumerate(same_set)]
        turns.sort(key=lambda t: t[:2])
        limit = CAPS[group[0].side]
        counts[f"over the cap, {group[0].side}"] += max(0, len(turns) - limit)
        kept += [d for _, _, d in turns[:limit]]
    return kept


def assign_splits(drawings: list[Drawing]) -> None:
    """Cut `real` by groups that never straddle: variants of one name, and near duplicates of other hands.

    Groups are taken in the order of a hash, test first, until each split has its share of the class. A group with a
    drawing that resembles one of *wild* is for training.
    """
    for drawing in drawings:
        if drawing.side == "shift":
            drawing.split = "outline-v2" if drawing.style == "outline" else drawing.style
        elif drawing.side != "real":
            drawing.split = drawing.side
    for same_class in grouped((d for d in drawings if d.side == "real"), lambda d: d.class_id):
        same_class.sort(key=lambda d: d.key)
        prints = np.stack([fingerprint(d.pixels) for d in same_class])
        label = list(range(len(same_class)))
        for i, one in enumerate(same_class):
            near = ink_distance(prints[i], prints) < NEAR
            for j, other in enumerate(same_class[:i]):
                if near[j] or (one.family, one.stem) == (other.family, other.stem):
                    label = [label[j] if n == label[i] else n for n in label]
        groups = [[d for d, n in zip(same_class, label, strict=True) if n == k] for k in sorted(set(label))]
        groups.sort(key=lambda g: hashlib.sha256(f"{g[0].class_id}/{g[0].key}".encode()).hexdigest())
        # The largest group (simple shapes look alike in every hand) goes to train, too.
        groups.sort(key=lambda g: len(g) > SHARES["test"] * len(same_class))
        quota = {split: max(1, round(share * len(same_class))) for split, share in SHARES.items()}
        for group in groups:
            open_splits = (s for s in quota if quota[s] > 0 and len(group) <= quota[s] + 1)
            split = "train" if any(d.known for d in group) else next(open_splits, "train")
            if split != "train":
                quota[split] -= len(group)
            for drawing in group:
                drawing.split = split


def split(drawings: list[Drawing], counts: Counter[str]) -> list[Drawing]:
    """Assign splits so that nothing to be tested on is a copy of an image that is trained on.

    A real drawing that would be one goes to train; the others leave.
    """
    assign_splits(drawings)
    while found := copies(drawings, {"real"}):
        for drawing in found:
            drawing.known = True
        counts["copies of an image that is trained on, train only: real"] += len(found)
        assign_splits(drawings)
    left = copies(drawings, {"shift", "wild-val"})
    counts.update(f"copies of an image that is trained on, removed: {d.split}" for d in left)
    gone = {d.key for d in left}
    return [d for d in drawings if d.key not in gone]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package @iconify/json")
    parser.add_argument("--out", type=Path, required=True, help="folder the dataset is written to")
    args = parser.parse_args()

    classes = load_classes()
    counts: Counter[str] = Counter()
    drawings = rendered(candidates(args.package, counts), counts)
    drawings = without_exact_duplicates(drawings, counts)
    drawings = without_near_duplicates(drawings, counts)
    drawings = capped(drawings, counts)
    drawings = split(drawings, counts)

    args.out.mkdir(parents=True, exist_ok=True)
    index = {c["id"]: i for i, c in enumerate(classes)}
    write_table(args.out / "real.parquet", [d for d in drawings if d.side == "real"], index)
    write_table(args.out / "shift.parquet", [d for d in drawings if d.side == "shift"], index)
    write_table(args.out / "wild.parquet", [d for d in drawings if d.side.startswith("wild")], index)
    write_json(args.out / "classes.json", [{k: c[k] for k in ("id", "name", "prompt")} for c in classes])
    write_json(args.out / "sets.json", sets_used(args.package, drawings))
    write_json(args.out / "census.json", census(drawings, counts))


if __name__ == "__main__":
    main()
