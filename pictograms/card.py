"""Write the data card, its contact sheets and the notice of the Pictograms dataset.

    python pictograms/card.py --data src/genrobust/assets/pictograms --sheets docs/pictograms

Everything in them is counted from the dataset's own files, so the card cannot drift from the data.
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
STYLES = ("outline", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")
SHIFTS = ("outline-v2", *STYLES[1:])
ORDER = ("train", "val", "test", *SHIFTS, "wild", "wild-val")  # the splits, as the tables have them
THUMB = 32
REAL = ("train", "train", "val", "test")
SHEETS = {  # file stem: (title, split or style of each column)
    "real-and-shift": ("Real (train, val, test) and the seven shifted test sets", REAL + SHIFTS),
    "wild": ("Wild, by style", STYLES),
    "wild-val": ("Wild-val, by style", (*STYLES[:5], "pixel") * 2),
}


def load(data: Path) -> list[dict]:
    """Every row of the three tables; only their images are kept in encoded form."""
    return [row for name in ("real", "shift", "wild") for row in pq.read_table(data / f"{name}.parquet").to_pylist()]


def sheet(rows: list[dict], classes: list[dict], title: str, columns: tuple[str, ...], by: str, path: Path) -> None:
    """A grid of classes by columns, fifty classes in each half; the same column twice shows two drawings."""
    queues: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: r["sha256"]):  # an order that favors no set
        queues[row["class_id"], row[by]].append(row)
    font, label, head = ImageFont.load_default(10), 78, 34
    half = len(columns) * THUMB + label
    per_half = -(-len(classes) // 2)
    canvas = Image.new("RGB", (2 * half + 12, per_half * THUMB + head), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((2, 2), title, fill="black", font=font)
    for i, one in enumerate(classes):
        x, y = (i // per_half) * (half + 12), (i % per_half) * THUMB + head
        draw.text((x, y + 9), one["id"], fill="black", font=font)
        for j, column in enumerate(columns):
            if i % per_half == 0 and (j == 0 or columns[j - 1] != column):
                draw.text((x + label + j * THUMB, 19), column[:5], fill="gray", font=font)
            if queue := queues[one["id"], column]:
                image = Image.open(io.BytesIO(queue.pop(0)["image"])).convert("RGB")
                thumb = image.resize((THUMB - 4, THUMB - 4), Image.Resampling.LANCZOS)
                canvas.paste(thumb, (x + label + j * THUMB + 2, y + 2))
    # Sixteen colors, spread over all that occur, are enough to look at, and keep the repository small.
    flat = canvas.quantize(16, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).convert("RGB")
    flat.save(path, lossless=True, method=6, quality=100)  # as WebP: an eighth smaller than PNG


def table(header: list[str], rows: list[list[object]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)


@dataclass(frozen=True)
class Counts:
    """What the card says of the data's rows.

    `by_class` and `by_style` count splits, `families` and `of_split` the families of each side and of each split.
    """

    rows: int
    megabytes: float
    classes: list[dict]
    splits: Counter[str]
    by_class: dict[str, Counter[str]]
    by_style: dict[str, Counter[str]]
    families: dict[str, Counter[str]]
    of_split: dict[str, Counter[str]]


def counts_of(rows: list[dict], data: Path) -> Counts:
    by_class, by_style, families, of_split = (defaultdict(Counter) for _ in range(4))
    for row in rows:
        by_class[row["class_id"]][row["split"]] += 1
        by_style[row["style"]][row["split"]] += 1
        families[side_of(row["split"])][row["family"]] += 1
        of_split[row["split"]][row["family"]] += 1
    size = sum(p.stat().st_size for p in data.glob("*.parquet")) / 1e6
    classes = json.loads((data / "classes.json").read_text())
    splits = Counter(r["split"] for r in rows)
    return Counts(len(rows), size, classes, splits, by_class, by_style, families, of_split)


def card(rows: list[dict], data: Path) -> str:
    counts = counts_of(rows, data)
    steps = json.loads((data / "census.json").read_text())["steps"]
    sets = json.loads((data / "sets.json").read_text())
    parts = [
        contents(counts),
        sides(counts),
        left_out(steps),
        limits(counts),
        licenses(sets),
        REBUILD,
    ]
    return "\n".join(parts)


def contents(counts: Counts) -> str:
    splits = []
    for name in ORDER:
        of_classes = [counts.by_class[c["id"]][name] for c in counts.classes]
        covered = sum(n > 0 for n in of_classes)
        largest = max(counts.of_split[name].values()) / counts.splits[name]
        hands = [len(counts.of_split[name]), f"{100 * largest:.0f} %"]
        splits.append([name, f"{counts.splits[name]:,}", *hands, covered, min(of_classes), max(of_classes)])
    styles = [[style, *(counts.by_style[style][name] for name in ("wild", "wild-val"))] for style in STYLES]
    hands = sum(map(len, counts.families.values()))
    return f"""\
# Pictograms

{counts.rows:,} icons of {len(counts.classes)} nameable things, 64x64 pixels on white, drawn by {hands} \
families of authors in seven styles ({counts.megabytes:.1f} MB). It is made to ask what a classifier trained on one \
drawing style gains from generated images: *real* is outline icons, *shift* is the same things in other styles and by \
other hands, and *wild* is what an image generator is trained on and what a retrieval arm draws from.

Generated by `pictograms/card.py`; the counts are taken from the data files.

## What is in it

| File | Rows |
| --- | --- |
| `real.parquet` | outline icons, cut into train, val and test |
| `shift.parquet` | the shifted test sets, one a style; `outline-v2` is outlines by hands unseen in `real` |
| `wild.parquet` | `wild` (the generator's world) and `wild-val` (other hands, for choosing settings) |
| `classes.json` | id, display name and text prompt of each class, in the order of the `class` index |
| `sets.json` | title, author, license and image count of each icon set |
| `census.json` | every count: class by split, class by side and style, families, and each step of the build |

Columns: `key` (unique), `image` (lossless WebP; decode to RGB), `class`, `class_id`, `style`, `split`, `family` (who \
drew it), `set`, `name`, `license`, `sha256` (of the decoded 64*64*3 bytes).

{table(["Split", "Images", "Families", "Largest family", "Classes covered", "Smallest class", "Largest class"], splits)}

`test` is **other images by the same designers** as `train`: all of its families are there. The shifted sets and \
`wild-val` are by designers of whom nothing is trained on. What is measured on a shifted set is therefore true of its \
families first, and of designers in general as far as their number allows: genrobust's intervals resample families.

{table(["Style", "wild", "wild-val"], styles)}

Contact sheets: `docs/pictograms/` in the repository.
"""


def sides(counts: Counts) -> str:
    lists = []
    for side in ("real", "shift", "wild", "wild-val"):
        families = counts.families[side]
        names = ", ".join(f"{family} {n}" for family, n in sorted(families.items()))
        lists.append(f"- **{side}** ({families.total():,}): {names}")
    told = "\n".join(lists)
    return f"""\
## Sides, families and styles

A *family* is one hand: an author, merged where hands are shared (Lucide forks Feather; Material Design Icons grew \
from Material). A family lies on exactly one side, so no author is both in training and in a shifted test. Most \
shifted families draw in several styles, so the shifted sets share families. A style is read from a set or from an \
icon name's affix (`pictograms/families.yaml`).

{told}

Within `real`, train, val and test are cut by group: variants of one name by one hand, and near duplicates by \
different hands, stay together. Groups are taken in the order of a hash until a class has about 20% test and 10% val.
"""


def left_out(steps: dict[str, int]) -> str:
    def steps_of(prefix: str) -> list[list[object]]:
        return [[k.removeprefix(prefix).strip(": ,"), v] for k, v in steps.items() if k.startswith(prefix)]

    return f"""\
## What was left out

Drawings of a listed name that were looked at on contact sheets and turned down (`pictograms/exclusions.csv`):

{table(["Reason", "Drawings"], steps_of("excluded"))}

Filled drawings in an outline set, found by wearing the ink off by five pixels a side:

{table(["Side", "Drawings"], steps_of("filled drawing in an outline style"))}

Drawn by their own animation, so empty when still: {steps.get("animated", 0)}; blank: {steps.get("blank", 0)}; \
unreadable: {steps.get("unreadable", 0)}.

Exact duplicates (same pixels):

{table(["Where", "Removed"], steps_of("exact duplicates"))}

Near duplicates across sides. What is trained on stays: a drawing to be tested on leaves where it resembles one of \
`wild` or `real`, and a real one that resembles one of `wild` goes to `train`. Two drawings of a class are near when, \
each cropped to its own box at 32x32, mirrored or not and blurred by a pixel, less than 10% of their ink differs; in \
pairs looked at, below that they are one design (a clock with other hands, the same bell, the plain heart of two \
sets), well above it two designs; in between the two mix.

{table(["Near duplicates", "Drawings"], steps_of("near duplicates of"))}

After that, a search for copies in the sense of `genrobust audit`, of whatever class, removed these:

{table(["Copies", "Drawings"], steps_of("copies of an image that is trained on"))}

A fuller search later found 25 more that resemble a test image by another hand: 3 of `train`, 5 of `wild`, 9 of `val` \
and 8 of `wild-val`. They are listed in `near_copies.txt` and left out when the set is read; the counts in this card \
are from before. The embedded generator and the CLIP were trained with them.

A class takes at most 4 drawings from one family in one style (3 in wild); over that:

{table(["Side", "Left out"], steps_of("over the cap"))}
"""


def limits(counts: Counts) -> str:
    scarce = [
        c["id"] for c in counts.classes if sum(counts.by_class[c["id"]][part] for part in ("train", "val", "test")) < 12
    ]
    drawn = sum(of_class["hand-drawn"] > 0 for of_class in counts.by_class.values())
    return f"""\
## Known limits

- Labels come from icon names and one pass over contact sheets, not from several annotators; some are debatable.
- Real is small for some classes: {", ".join(scarce)} have fewer than 12 images.
- Simple shapes (heart, cloud, moon, clock) are alike in every hand; removing near twins thins them in the tests.
- `emoji` has {len(counts.of_split["emoji"])} families, `illustration` and `pixel` \
{len(counts.of_split["pixel"])} each: little can be said of other designers in these styles.
- `hand-drawn` comes from one family a side and is too small for tight intervals ({counts.splits["hand-drawn"]} images \
over {drawn} classes); `wild-val` has none, and its `illustration` is two-color line art by one family.
- `illustration` in `shift` is mostly two families: one's outlines with a color fill, and another's flat shapes.
- Some bicycles carry a rider, some wheelchairs a person; `watch` holds smart watches, `glasses` sunglasses too.
- Pixel icons are resampled to 64 pixels, so their cells are not all whole pixels.
"""


def licenses(sets: dict[str, dict]) -> str:
    def link(text: str, url: str) -> str:
        return f"[{text}]({url})" if url else text

    rows = [
        [f"{s['title']} (`{i}`)", link(s["author"], s["author_url"]), link(s["license"], s["license_url"]), s["images"]]
        for i, s in sets.items()
    ]
    return f"""\
## Licenses and attribution

The icons keep their authors' licenses (the `license` column); they were rasterized, nothing else was changed.

{table(["Set", "Author", "License", "Images"], rows)}
"""


REBUILD = """\
## Rebuild

    npm pack @iconify/json@2.2.535 && tar -xzf iconify-json-2.2.535.tgz
    python pictograms/build.py --package package --out src/genrobust/assets/pictograms
    python pictograms/card.py --data src/genrobust/assets/pictograms --sheets docs/pictograms

The build draws with resvg, has no randomness and gives the same pixel hashes again.
"""


def side_of(split: str) -> str:
    return "real" if split in ("train", "val", "test") else split if split.startswith("wild") else "shift"


def notice(data: Path) -> str:
    sets = json.loads((data / "sets.json").read_text())
    lines = [
        f"- {s['title']}, by {s['author']}{' (' + s['author_url'] + ')' if s['author_url'] else ''}: {s['license']}"
        f"{' (' + s['license_url'] + ')' if s['license_url'] else ''}"
        for s in sets.values()
    ]
    return (
        "## Pictograms\n\nThe dataset in `src/genrobust/assets/pictograms` holds icons of the sets below, taken from\n"
        "the npm package `@iconify/json` 2.2.535 and rasterized at 64x64 pixels. Each stays under its own license.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that build.py wrote")
    parser.add_argument("--sheets", type=Path, required=True, help="folder for the contact sheets")
    args = parser.parse_args()
    rows = load(args.data)
    classes = json.loads((args.data / "classes.json").read_text())
    (args.data / "README.md").write_text(card(rows, args.data))
    (HERE / "NOTICE.md").write_text(notice(args.data))
    args.sheets.mkdir(parents=True, exist_ok=True)
    for stem, (title, columns) in SHEETS.items():
        by = "style" if stem.startswith("wild") else "split"
        wanted = [r for r in rows if by == "split" or r["split"] == stem]
        sheet(wanted, classes, title, columns, by, args.sheets / f"{stem}.webp")


if __name__ == "__main__":
    main()
