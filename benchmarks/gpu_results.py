"""Results of a benchmark of many parts, saved after each, so that a run that was stopped goes on where it was.

Each part runs in a process of its own: what it sets, compiles or breaks on the card is gone with it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from side_by_side import rate, table

Seconds = dict[str, list[float]]  # of one item, in each round, by the way that it was made
HERE = Path(__file__).parent
VERSIONS = ("torch", "diffusers", "transformers", "timm")


@dataclass(frozen=True)
class Part:
    """Something to measure: `run` returns the seconds of an item of each way, and nothing else may be measured with it.

    Parts of one `title` share a table. `ways` names what `run` measures, in the order of the table; the first of a
    table is what the others are held against. `goal` names two ways of its table and how many times as fast as the
    second the first is to be.
    """

    title: str
    unit: str
    ways: Sequence[str]
    run: Callable[[], Seconds]
    goal: tuple[str, str, float] | None = None

    @property
    def name(self) -> str:
        return f"{self.title}: {', '.join(self.ways)}"


def setting(**more: str) -> dict[str, str]:
    """What results may not be mixed over: the code, the versions of what it uses, and `more`."""
    code = hashlib.sha256()
    for path in sorted([*HERE.glob("*.py"), *(HERE.parent / "src").rglob("*.py")]):
        code.update(path.read_bytes())
    return {**more, "code": code.hexdigest()[:12], **{name: metadata.version(name) for name in VERSIONS}}


def in_a_process(work: Callable[[], Any], limit_s: float | None = None, copy: bool = False) -> Any:
    """Return what `work` returns in a process of its own. Raises RuntimeError with what it raised, or that it ended.

    After `limit_s` seconds it is killed, with a TimeoutError. A `copy` of this process has everything imported, and
    begins at once; but CUDA works in none, since diffusers asks for GPUs when it is imported. Without `copy`, `work`
    has to be picklable.
    """
    processes = multiprocessing.get_context("fork" if copy else "spawn")
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_answer, args=(work, theirs))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit_s):
            raise TimeoutError(f"no end after {limit_s:.0f} s")
        try:
            well, answer = ours.recv()
        except EOFError:
            process.join()
            raise RuntimeError(f"its process ended with {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
    if not well:
        raise RuntimeError(answer)
    return answer


def _answer(work: Callable[[], Any], theirs: Connection) -> None:
    try:
        answer: tuple[bool, Any] = True, work()
    except Exception as error:
        answer = False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    theirs.send(answer)


def _verdict(goal: tuple[str, str, float], seconds: Mapping[str, list[float]]) -> str:
    """Whether a part's goal is met, in words."""
    way, than, wanted = goal
    times = median(seconds[than]) / median(seconds[way])
    return f"Goal: {way}, {wanted:g} times {than}. It is {times:.3g} times: {'met' if times >= wanted else 'missed'}."


@dataclass
class Results:
    """What was measured on the machine and with the code of `setting`, kept in `file`. `where` is for readers."""

    file: Path
    where: str
    setting: dict[str, str]
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by the title of the table, and the way
    notes: dict[str, str] = field(default_factory=dict)  # on a table
    batches: dict[str, int] = field(default_factory=dict)  # what pays, by the shape of the pipeline
    failed: dict[str, str] = field(default_factory=dict)  # why, by the name of a part; the next run tries them last

    @classmethod
    def load(cls, file: Path, setting: dict[str, str], where: str) -> Results:
        """Read what an earlier run in the same `setting` left in `file`; SystemExit for another one."""
        if not file.exists():
            return cls(file, where, setting)
        found = json.loads(file.read_text(encoding="utf-8"))
        if other := [key for key in {**setting, **found["setting"]} if found["setting"].get(key) != setting.get(key)]:
            told = ", ".join(f"{key} {found['setting'].get(key)}, now {setting.get(key)}" for key in other)
            raise SystemExit(f"{file} has other results ({told}): name another file with --out")
        return cls(
            file, found["where"], setting, found["seconds"], found["notes"], found["batches"], found.get("failed", {})
        )

    def has(self, part: Part) -> bool:
        return set(part.ways) <= self.seconds.get(part.title, {}).keys()

    def add(self, part: Part, seconds: Mapping[str, list[float]]) -> None:
        self.seconds.setdefault(part.title, {}).update(seconds)
        self.failed.pop(part.name, None)
        self.save()

    def note(self, title: str, words: str) -> None:
        self.notes[title] = words
        self.save()

    def save(self) -> None:
        kept = ("where", "setting", "seconds", "notes", "batches", "failed")
        content = {key: getattr(self, key) for key in kept}
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
            goals = dict.fromkeys(part.goal for part in of_title if part.goal)
            blocks += [_verdict(goal, found) for goal in goals if {*goal[:2]} <= found.keys()]
        left = [part.name for part in parts if not self.has(part)]
        blocks += [f"Failed: {name}: {why}" for name, why in self.failed.items()]
        blocks += ["Not measured yet; the same command goes on with it:\n" + "\n".join(left)] if left else []
        return "\n\n".join([*blocks, f"Median of the rounds (slowest to fastest); {self.where}"])
