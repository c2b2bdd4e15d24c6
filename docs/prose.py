"""Writes the pages that quote measured metrics from the results of their studies, so that the two cannot part.

    python docs/prose.py --keep runs pictograms-full budgets    after these studies ran: keep their results
    python docs/prose.py                                        after a change to a template or to a result

`--keep` reads runs/NAME/results.json and writes docs/results/NAME.json (see `keeping.py`), which holds the scores over
all seeds, what was claimed, where and when it ran; docs/results/ranked/NAME.json has what docs/ranking.html shows of
those that it ranks. Without it, every docs/templates/PAGE.j2 becomes the page of that name, README.md in the root and
the others in docs, and the ranking is made again. In a template, `study("NAME")` is a `Result`, `benchmark("NAME")` a
`Drops` (kept from runs/benchmarks/NAME by `--benchmark`), `refits(...)` a table of other baseline lines, and
`theirs("35.6")` a metric of others.
tests/docs/test_prose.py fails where a page is not what its template and the results give, or where a template states a
measured metric by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from keeping import MEAN, condensed, condensed_benchmark, is_mean, ranked
from refits import refits

from genrobust.tools.compare.page import compare_html
from genrobust.tools.compare.ranking import rank

HERE = Path(__file__).parent
RESULTS, TEMPLATES = HERE / "results", HERE / "templates"
RANKING, RANKED = "ranking.html", ("pictograms-full", "pacs")  # the page that ranks the arms of these studies
NUMBERS = ("no", "one", "two", "three", "four", "five")
QUALITIES = (  # of a source's images: head, key, digits, factor
    ("FID", "fid", 3, 1), ("recall, %", "recall", 0, 100), ("Vendi", "vendi", 1, 1), ("labels, %", "agreement", 0, 100),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", nargs="+", metavar=("RUNS", "NAME"), help="the output folder, and studies in it")
    parser.add_argument("--benchmark", nargs=2, metavar=("RUNS", "NAME"), help="the same, and a benchmark in it")
    parser.add_argument("--again", nargs=3, metavar=("RUNS", "NAME", "WHERE"), help="a second run: claims and means")
    args = parser.parse_args()
    if args.again:
        runs, name, where = args.again
        found = json.loads((Path(runs) / name / "results.json").read_text(encoding="utf-8"))
        found["summary"]["scores"] = [row for row in found["summary"]["scores"] if is_mean(row)]
        (RESULTS / f"{name}-{where}.json").write_text(condensed(found), encoding="utf-8")
    if args.benchmark:
        runs, name = args.benchmark
        found = json.loads((Path(runs) / "benchmarks" / name / "benchmark.json").read_text(encoding="utf-8"))
        (RESULTS / "benchmarks" / f"{name}.json").write_text(condensed_benchmark(found), encoding="utf-8")
    if args.keep:
        runs, *names = args.keep
        for name in names:
            found = json.loads((Path(runs) / name / "results.json").read_text(encoding="utf-8"))
            (RESULTS / f"{name}.json").write_text(condensed(found), encoding="utf-8")
            if name in RANKED:
                (RESULTS / "ranked" / f"{name}.json").write_text(ranked(found), encoding="utf-8")
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


def read_kept(name: str) -> dict[str, Any]:
    """What is kept of the study `name`, with its scores as dictionaries."""
    told = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    curves = {arm: named(rows) for arm, rows in told.get("curves", {}).items()}
    return {**told, "scores": named(told["scores"]), "curves": curves}


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
    environment.globals |= {"study": Result.of, "benchmark": Drops.of, "mean": MEAN, "theirs": str, "refits": refits}
    found = {}
    for template in sorted(TEMPLATES.glob("*.j2")):
        name = template.stem
        place = HERE.parent / name if name == "README.md" else HERE / name
        found[place] = environment.get_template(template.name).render()
    kept = {name: RESULTS / "ranked" / f"{name}.json" for name in RANKED}
    found[HERE / RANKING] = compare_html(rank(kept), HERE / RANKING)
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

    def curve(self, arm: str) -> Result:
        """The scores along the WiSE-FT curve of `arm`: its arms are the shares of fine-tuning, such as "0.5"."""
        rows = self.told["curves"][arm]
        return Result({**self.told, "arms": list(dict.fromkeys(row["arm"] for row in rows))}, by_key(rows))

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

    def share(self, arm: str, of: str, above: str, test: str = MEAN) -> str:
        """How much of the gap between `above` and `of` the accuracy of `arm` closes, in percent: "83"."""
        low, mine, high = (self.score(name, test)["value"] for name in (above, arm, of))
        return f"{100 * (mine - low) / (high - low):.0f}"

    def apart(self, other: Result) -> str:
        """Return the largest difference between two runs in the mean of the shifts of an arm of both: "1.1"."""
        both = [arm for arm in self.told["arms"] if arm in other.told["arms"]]
        return f"{max(abs(self.score(arm)['value'] - other.score(arm)['value']) for arm in both):.1f}"

    def decided_otherwise(self, other: Result) -> str:
        """How many claims another run decided otherwise: "none of the 9 claims that both measured"."""
        mine, theirs = ({claim["says"]: claim["here"] for claim in run.told["claims"]} for run in (self, other))
        both = [says for says in mine if "not measured" not in (mine[says], theirs[says])]
        return (
            f"{sum(mine[says] != theirs[says] for says in both) or 'none'} of the {len(both)} claims that both measured"
        )

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
        if any(self.score(arms[0], name)["groups"] for name in sets):
            rows.append([*self.families(arms[0], sets), "", ""])
        for arm in arms:
            rows.append([arm, *(self.top1(arm, name) for name in sets), f"**{self.top1(arm)}**", self.spread(arm)])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def families(self, arm: str, sets: Sequence[str], metric: str = "top1", minus: str = "") -> list[str]:
        """A row of a table: how many families of designers drew each of the `sets`."""
        groups = (self.score(arm, name, metric, minus)["groups"] for name in sets)
        return ["*designers (families)*", *(f"*{n or 'unknown'}*" for n in groups)]

    def robustness(self, arms: Sequence[str]) -> str:
        """Effective robustness of each arm on each shift and its mean, as a Markdown table; ° marks extrapolations."""
        shifts = self.told["shifts"]
        rows = [["effective robustness", *(f"`{name}`" for name in shifts), "**mean**", "95 % interval"]]
        rows.append(["---"] * (len(shifts) + 3))
        rows.append([*self.families(arms[0], shifts, "er"), "", ""])
        for arm in arms:
            marks = ["°" if self.score(arm, name, "er")["extrapolated"] else "" for name in shifts]
            each = [f"{self.er(arm, name)}{mark}" for name, mark in zip(shifts, marks, strict=True)]
            has_mean = ("er", arm, MEAN, "") in self.scores
            rows.append([arm, *each, f"**{self.er(arm)}**", self.spread(arm, metric="er") if has_mean else ""])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def robust_gains(self, arms: Mapping[str, str], minus: str) -> str:
        """Gains in effective robustness over `minus` on each shift, over one clean set and over two, as a table.

        `arms` are as {"arm": "words for it"}; ° marks extrapolations.
        """
        shifts = self.told["shifts"]
        rows = [["gain", "over", *(f"`{name}`" for name in shifts)], ["---"] * (len(shifts) + 2)]
        first, *families = self.families(next(iter(arms)), shifts, "er", minus)
        rows.append([first, "", *families])
        for arm, words in arms.items():
            for metric, over in (("er", "`test`"), ("multi_er", "`test`, *wild-val*")):
                gains = [self.score(arm, name, metric, minus) for name in shifts]
                told = [f"{gain['value']:+.1f}{'°' * gain['extrapolated']}" for gain in gains]
                rows.append([words if metric == "er" else "", over, *told])
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

    def quality(self, source: str, key: str) -> str:
        """A share of a source's images that is kept of their qualities, in percent: "86"."""
        return f"{100 * next(one[key] for one in self.told['qualities'] if one['source'] == source):.0f}"

    def arms(self, start: str, others: bool = False) -> list[str]:
        """The arms whose names begin with `start`; all `others` instead."""
        return [arm for arm in self.told["arms"] if arm.startswith(start) != others]

    def curves(self, arms: Sequence[str]) -> str:
        """Accuracies along the WiSE-FT curves of `arms` that have one, as a Markdown table of two rows an arm."""
        curves = {arm: self.curve(arm) for arm in self.told["curves"] if arm in arms}
        points = next(iter(curves.values())).told["arms"]
        rows = [["share of fine-tuning", "", *points], ["---"] * (len(points) + 2)]
        for arm, curve in curves.items():
            for test, side in ((self.told["clean"], f"`{self.told['clean']}`"), (MEAN, "shifts")):
                rows.append([arm, side, *(curve.top1(point, test) for point in points)])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def verdicts(self) -> str:
        """Return the claims of the recipe with their results, as a Markdown table.

        Where a claim is that the reference is better than an arm, the difference is that arm's from the reference.
        """
        rows = [["claim", "made by", "difference, points", "result"], ["---"] * 4]
        for claim in self.told["claims"]:
            found, where = claim["difference"], claim["test_set"]
            measured = "\u2013"
            if found:
                of = "" if claim["metric"] == "top1" else " of effective robustness"
                on = "" if where == MEAN else f" on `{where}`"
                value, lo, hi = found["value"], found["lo"], found["hi"]
                if claim["arm"] == self.told["reference"]:
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


@dataclass(frozen=True)
class Drops:
    """What classifiers lose on generated images, within styles that the real ones have too and over all images."""

    told: dict[str, Any]

    @staticmethod
    @cache
    def of(name: str) -> Drops:
        """The results kept of the benchmark `name`."""
        return Drops(json.loads((RESULTS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8")))

    def drop(self, model: str, over: str = "within") -> str:
        """The accuracy on real minus that on generated images, over `within` or `all`: "5.1 (2.0 to 8.3)"."""
        found = next(m[over]["drop"] for m in self.told["models"] if m["name"] == model)
        return f"{found['value']:+.1f} ({found['lo']:.1f} to {found['hi']:.1f})"

    def table(self) -> str:
        """A row for each model, as a Markdown table."""
        heads = ["trained on", "real images, top-1 in %", "generated ones", "drop", "drop over all images"]
        rows = [heads, ["---"] * len(heads)]
        for model in self.told["models"]:
            name, within = model["name"].partition(":")[2] or model["name"], model["within"]
            sides = (f"{within[side]['value']:.1f}" for side in ("real", "generated"))
            rows.append([name, *sides, self.drop(model["name"]), self.drop(model["name"], "all")])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
