"""Writes the pages that quote measured metrics from the results of their studies, so that the two cannot part.

    python docs/prose.py --keep runs pictograms-full budgets    after these studies ran: keep their results
    python docs/prose.py                                        after a change to a template or to a result

`--keep` reads runs/NAME/results.json and writes docs/results/NAME.json (see `keeping.py`), which holds the scores over
all seeds, what was claimed, where and when it ran. Without it, every docs/templates/PAGE.j2 becomes the page of that
path, README.md in the root and the others in docs. In a template, `study("NAME")` is a `Result`, `holes` what holes.py
measured, and `theirs("35.6")` a number that others measured. Numbers of studies that are no longer kept stand in
docs/results/also-tried.md.
tests/docs/test_prose.py fails where a page is not what its template and the results give, or where a template states a
measured number by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from keeping import MEAN, condensed

HERE = Path(__file__).parent
RESULTS, TEMPLATES = HERE / "results", HERE / "templates"
NUMBERS = ("no", "one", "two", "three", "four", "five")
QUALITIES = (  # of a source's images: head, key, digits, factor
    ("FID", "fid", 3, 1), ("recall, %", "recall", 0, 100), ("Vendi", "vendi", 1, 1), ("labels, %", "agreement", 0, 100),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", nargs="+", metavar=("RUNS", "NAME"), help="the output folder, and studies in it")
    args = parser.parse_args()
    if args.keep:
        runs, *names = args.keep
        for name in names:
            found = json.loads((Path(runs) / name / "results.json").read_text(encoding="utf-8"))
            (RESULTS / f"{name}.json").write_text(condensed(found), encoding="utf-8")
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


def read_kept(name: str) -> dict[str, Any]:
    """What is kept of the study `name`, with its scores as dictionaries."""
    told = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    curves = {arm: named(rows) for arm, rows in told.get("curves", {}).items()}
    return {**told, "scores": named(told["scores"]), "curves": curves}


def drawn_from(*studies: str) -> str:
    """What a picture says of the kept results that it shows: test_prose.py fails where these have changed since."""
    files = [HERE / f"{name}.json" if name == "holes" else RESULTS / f"{name}.json" for name in studies]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"drawn from {', '.join(studies)}: {digest[:12]}"


def named(rows: list[list[Any]]) -> list[dict[str, Any]]:
    """Rows below their columns, as dictionaries."""
    columns, *values = rows
    return [dict(zip(columns, row, strict=True)) for row in values]


def pages() -> dict[Path, str]:
    """The text of every page that has a template."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    holes = json.loads((HERE / "holes.json").read_text(encoding="utf-8"))
    environment.globals |= {"study": Result.of, "theirs": str, "holes": holes, "decimal": decimal}
    found = {}
    for template in sorted(TEMPLATES.rglob("*.j2")):
        name = template.relative_to(TEMPLATES).with_suffix("").as_posix()
        place = HERE.parent / name if name == "README.md" else HERE / name
        found[place] = environment.get_template(f"{name}.j2").render()
    return found


@dataclass(frozen=True)
class Result:
    """The results of a study, in the words of a page. Names that were not measured raise KeyError."""

    told: dict[str, Any]
    scores: dict[tuple[str, str, str, str], dict[str, Any]]

    @staticmethod
    @cache
    def of(name: str) -> Result:
        """The results kept of the study `name`."""
        told = read_kept(name)
        return Result(told, by_key(told["scores"]))

    def on(self, test: str) -> Result:
        """The same with `test` in the place of the mean of the shifts, such as the cells that an arm lacks."""
        scores = {
            (metric, arm, MEAN, minus): row for (metric, arm, of, minus), row in self.scores.items() if of == test
        }
        return Result(self.told, self.scores | scores)

    def curve(self, arm: str) -> Result:
        """The scores along the WiSE-FT curve of `arm`: its arms are the shares of fine-tuning, such as "0.5"."""
        return Result(self.told, by_key(self.told["curves"][arm]))

    def score(self, arm: str, test: str = MEAN, metric: str = "top1", minus: str = "") -> dict[str, Any]:
        """A score, by default the mean of the shifts."""
        return self.scores[metric, arm, test, minus]

    def top1(self, arm: str, test: str = MEAN) -> str:
        """An accuracy: "71.7"."""
        return f"{self.score(arm, test)['value']:.1f}"

    def er(self, arm: str, test: str = MEAN) -> str:
        """An effective robustness, "+29.9", or an en dash where it has no mean."""
        score = self.scores.get(("er", arm, test, ""))
        return f"{score['value']:+.1f}" if score else "\u2013"

    def spread(self, arm: str, test: str = MEAN, metric: str = "top1", minus: str = "") -> str:
        """An interval: "21.8 to 41.4"."""
        score = self.score(arm, test, metric, minus)
        return f"{decimal(score['lo'])} to {decimal(score['hi'])}"

    def gain(self, arm: str, minus: str, test: str = MEAN, metric: str = "top1") -> str:
        """A difference with its interval: "+31.0 (21.8 to 41.4)"."""
        value = self.score(arm, test, metric, minus)["value"]
        return f"{decimal(value, '+')} ({self.spread(arm, test, metric, minus)})"

    def without_any(self, arm: str) -> str:
        """The gain of an arm over its reference without one group: "+22.8 (without glyphs) to +28.9 (without ...)"."""
        gains = sorted((gain, group) for group, gain in self.told["without_group"][arm].items())
        return " to ".join(f"{gain:+.1f} (without {group})" for gain, group in (gains[0], gains[-1]))

    def minutes(self, arm: str, what: str) -> str:
        """How many minutes of one device (of a core, on a CPU) an arm takes to "generate" or to "train": "9.4"."""
        return f"{self.told['seconds'][arm][what] / 60:.1f}"

    @property
    def ran(self) -> str:
        """Where and when: "2 CPU cores with AVX512_BF16, 2026-11-27"."""
        environment = self.told["environment"]
        cores, device = environment["machine"].partition(",")[0], environment["device"]
        _, _, has = device.partition("this CPU has ")
        extension = has.partition(")")[0]
        return f"{cores}{f' with {extension}' if has else ''}, {self.told['date']}"

    @property
    def seeds(self) -> str:
        """How many seeds each arm was trained with, in words: "three seeds"."""
        return f"{NUMBERS[len(self.told['seeds'])]} seeds"

    def table(self, arms: Sequence[str], tests: Sequence[str] = ()) -> str:
        """Top-1 of each arm on each test set as a Markdown table, with the mean of the shifts and its interval last."""
        sets = tests or [self.told["clean"], *self.told["shifts"]]
        heads = [f"`{name}`" for name in sets]
        rows = [["top-1, %", *heads, "**mean of the shifts**", "95 % interval"], ["---"] * (len(sets) + 3)]
        if all(families := [self.score(arms[0], name)["groups"] for name in sets]):
            rows.append(["*designers (families)*", *(f"*{n}*" for n in families), "", ""])
        for arm in arms:
            rows.append([arm, *(self.top1(arm, name) for name in sets), f"**{self.top1(arm)}**", self.spread(arm)])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def sources(self, made_from: Mapping[str, str]) -> str:
        """What images of each source are like, and the top-1 of the arms named by it, as a Markdown table.

        `made_from` says in words what they are made from. The arm of a source alone has its name, that of half as many
        real images "real+" before it.
        """
        qualities, clean = {one["source"]: one for one in self.told["qualities"]}, self.told["clean"]
        heads = [f"{how}: {where}" for how in ("alone", "with real") for where in (f"`{clean}`", "shifts")]
        heads = ["images from", *heads, *(head for head, *_ in QUALITIES)]
        rows = [heads, ["---"] * len(heads)]
        for source, words in made_from.items():
            arms = [(arm, test) for arm in (source, f"real+{source}") for test in (clean, MEAN)]
            top1 = [self.top1(arm, test) if arm in self.told["arms"] else "\u2013" for arm, test in arms]
            found = [(qualities[source][key], digits, times) for _, key, digits, times in QUALITIES]
            like = ["\u2013" if value is None else f"{times * value:.{digits}f}" for value, digits, times in found]
            rows.append([f"{words} (`{source}`)", *top1, *like])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def verdicts(self) -> str:
        """Return the claims of the recipe with their results, as a Markdown table.

        Where a claim is that something is worse ("less accurate", "cost accuracy"), the difference is below zero.
        """
        rows = [["claim", "made by", "difference, points", "result"], ["---"] * 4]
        for claim in self.told["claims"]:
            found, where = claim["difference"], claim["test_set"]
            measured = "\u2013"
            if found:
                of = "" if claim["metric"] == "top1" else " of effective robustness"
                on = "" if where == MEAN else f" on `{where}`"
                value, lo, hi = found["value"], found["lo"], found["hi"]
                if " less " in claim["says"] or " cost " in claim["says"]:
                    value, lo, hi = -value, -hi, -lo
                measured = f"{decimal(value, '+')} ({decimal(lo)} to {decimal(hi)}){of}{on}"
            rows.append([claim["says"], claim["source"] or "us", measured, f"**{claim['here']}**"])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def decimal(value: float, sign: str = "-") -> str:
    """A metric with one decimal, "7.1"; with the sign "+" as a difference, "+7.1". None is "-0.0"."""
    return f"{round(value, 1) + 0.0:{sign}.1f}"


def by_key(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Scores by what they are of: metric, arm, test set, and the arm that is subtracted."""
    return {(row["metric"], row["arm"], row["test_set"], row["minus"]): row for row in rows}


if __name__ == "__main__":
    main()
