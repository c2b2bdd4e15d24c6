"""Results of a benchmark of many parts, saved after each, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from side_by_side import rate, table

Seconds = dict[str, list[float]]  # of one item, in each round, by the way that it was made


@dataclass(frozen=True)
class Part:
    """Something to measure: `run` returns the seconds of an item of each way, and nothing else may be measured with it.

    Parts of one `title` share a table. `ways` names what `run` measures, in the order of the table; the first of a
    table is what the others are held against.
    """

    title: str
    unit: str
    ways: Sequence[str]
    run: Callable[[], Seconds]


@dataclass
class Results:
    """What was measured on the machine `where`, kept in `file`."""

    file: Path
    where: str
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by the title of the table, and the way
    notes: dict[str, str] = field(default_factory=dict)  # on a table
    failed: dict[str, str] = field(default_factory=dict)  # why, by the ways of a part; tried again by the next run

    @classmethod
    def load(cls, file: Path, machine: str, where: str) -> Results:
        """Read what an earlier run on the same kind of `machine` left in `file`; SystemExit for another one."""
        if not file.exists():
            return cls(file, f"{machine}; {where}")
        found = json.loads(file.read_text(encoding="utf-8"))
        if not found["where"].startswith(f"{machine};"):
            raise SystemExit(f"{file} has the results of {found['where']}: name another file with --out")
        return cls(file, found["where"], found["seconds"], found["notes"])

    def has(self, part: Part) -> bool:
        return set(part.ways) <= self.seconds.get(part.title, {}).keys()

    def add(self, part: Part, seconds: Mapping[str, list[float]]) -> None:
        self.seconds.setdefault(part.title, {}).update(seconds)
        self.failed.pop(", ".join(part.ways), None)
        self.save()

    def note(self, title: str, words: str) -> None:
        self.notes[title] = words
        self.save()

    def save(self) -> None:
        content = {"where": self.where, "seconds": self.seconds, "notes": self.notes}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1), encoding="utf-8")
        new.replace(self.file)

    def markdown(self, parts: Sequence[Part]) -> str:
        """A table for each title, in the order of `parts`."""
        blocks = []
        for title in dict.fromkeys(part.title for part in parts):
            of_title = [part for part in parts if part.title == title]
            found = self.seconds.get(title, {})
            ways = [way for part in of_title for way in part.ways if way in found]
            if not ways:
                continue
            first = median(found[ways[0]])
            rows = [[way, rate(1, found[way]), f"{first / median(found[way]):.2f}"] for way in ways]
            blocks.append(table([title, of_title[0].unit, f"times {ways[0]}"], rows))
            blocks += [self.notes[title]] if title in self.notes else []
        left = [f"{part.title}: {', '.join(part.ways)}" for part in parts if not self.has(part)]
        blocks += [f"Failed: {ways}: {why}" for ways, why in self.failed.items()]
        blocks += ["Not measured yet; the same command goes on with it:\n" + "\n".join(left)] if left else []
        return "\n\n".join([*blocks, f"Median of the rounds (slowest to fastest); {self.where}"])
