"""The hostile list: what may be wrong on purpose, and ends with an error that names it, and with no harm done.

Each entry is a command, the words that its error names, and what makes its files. Where two outcomes are equally right,
a refusal and a result without the harm, its exit codes are both, and a check looks for the harm.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
import typer
from hostile_files import (
    DEEP,
    GOOD,
    OWN,
    PICKLE,
    TABLE,
    Make,
    changed_json,
    fifo,
    file,
    flipped,
    image,
    images_column,
    link,
    member,
    moved,
    pair,
    parquet,
    png,
    recipe,
    removed,
    safetensors,
    tar,
    torch_file,
    yaml,
)
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.images import Sample
from genrobust.core.sealing import sealed

CLASSES = ("camera", "clock")
HANGS_S = 300  # of one command; the slowest takes some seconds, on a busy machine more
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
Check = Callable[[Path, Result], object]
REFUSED, EITHER, FAILED = (2,), (0, 2), (1, 2)


@dataclass(frozen=True)
class Mistake:
    """A command in the world of `home`, what its error names, and what is asked of it.

    Attributes:
        codes: Its exit codes that are right. With 0 it may change files, but for those in `kept`.
        kept: The files that are the same afterwards whatever the exit code.
        check: Looks for harm in the folder and in what was printed.
    """

    line: str | Sequence[str]
    named: Sequence[str]
    makes: Sequence[Make] = ()
    codes: tuple[int, ...] = REFUSED
    kept: Sequence[str] = ()
    check: Check = lambda folder, done: None

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line) if isinstance(self.line, str) else list(self.line)


def no(line: str | Sequence[str], named: str, *makes: Make, **more: object) -> Mistake:
    return Mistake(line, named.split(" & ") if named else (), makes, **more)  # type: ignore[arg-type]


def of_recipe(changes: str, named: str, **more: object) -> Mistake:
    return no("show r.yaml --yaml", named, yaml(changes), **more)


def of_text(text: str | bytes, named: str = "r.yaml", **more: object) -> Mistake:
    return no("show r.yaml --yaml", named, file("r.yaml", text), **more)


def of_value(key: str, value: str, **more: object) -> Mistake:
    return no(["show", "own.yaml", "--yaml", "--set", f"{key}={value}"], key.rpartition(".")[2], **more)


def of_data(named: str, *makes: Make, data: str = "x", **more: object) -> Mistake:
    """A command that opens the images at `data` as training images."""
    section = f"data={{source: folders, train: {data}, test: {data}}}"
    return no(["prompts", "own.yaml", "--set", section], named, *makes, **more)


def of_checkpoint(named: str, *makes: Make, codes: tuple[int, ...] = FAILED, **more: object) -> Mistake:
    return no("predict checkpoint photos/test", named, *makes, codes=codes, **{"check": no_nan, **more})


def of_table(text: str | bytes, named: str, options: str = "--id clean --shift shifted", **more: object) -> Mistake:
    return no(f"effective-robustness {options} t.csv", named, file("t.csv", text), **more)


def of_generator(index: object, named: str = "model_index.json", **more: object) -> Mistake:
    text = index if isinstance(index, str | bytes) else json.dumps(index)
    words = "generate small.yaml --set generator.model=gen"
    return no(words, named, file("gen/model_index.json", text), **more)


ABOUT = {"shards": 1, "class_ids": ["camera", "clock"], "generator": "pictograms", "mode": "labels"}


def of_manifest(named: str = "shards", codes: tuple[int, ...] = FAILED, **changes: object) -> Mistake:
    changed = changed_json("shards/manifest.json", about={**ABOUT, **changes})
    return no("export shards --to parquet --out new", named, changed, codes=codes)


def no_nan(folder: Path, done: Result) -> None:
    assert ",nan" not in done.stdout


def not_harmed(folder: Path, done: Result) -> None:
    assert not (folder / "harmed").exists()


def still_a_pipe(name: str) -> Check:
    return lambda folder, done: _require(stat.S_ISFIFO((folder / name).lstat().st_mode))


def still_a_link(name: str) -> Check:
    return lambda folder, done: _require((folder / name).is_symlink())


def silent_of(*words: str) -> Check:
    return lambda folder, done: _require(not any(word in done.stdout for word in words))


def no_formula(folder: Path, done: Result) -> None:
    """No cell of the CSV that was printed begins as a formula does, but for numbers."""
    import csv

    cells = [cell for row in csv.reader(done.stdout.splitlines()) for cell in row]
    assert [c for c in cells if re.match(r"[=+@\t\r-]", c) and not re.fullmatch(r"[-+]?[\d.e+-]+", c)] == []


def _require(fact: bool) -> None:
    assert fact


LONG = "n" * 300  # longer than the name of a file may be
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MILLION = f"sweep: [{{over: {{{', '.join(f'v{i}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]' for i in range(6))}}}, arm: " + (
    "{name: '{v0}{v1}{v2}{v3}{v4}{v5}', mixture: real}}]"
)

VICTIM = ("../victim/report.html", "../victim/.notes.part")
NAMES = [  # a name leaves its folder, or two names share a file
    *(of_recipe(f"name: {name}", "name") for name in ("../../victim", "/tmp/x", "..", ".", "''", "a/b", "../victim")),
    *(of_recipe(f"name: {name}", "name") for name in (LONG, r'"a\0b"', r'"a\e[31mb"', r'"a\nb"', "'   '", "~/x")),
    *(of_recipe(f"name: {name}", "name", codes=EITHER) for name in (r"a\b", "CON", "nul.txt", "a.", "-x", ".x", "C:x")),
    of_value("name", "../x"),
    no(["report", "own.yaml", "--set", "name=../../victim"], "name", kept=VICTIM),
    no("run own.yaml --set name=victim/../../victim", "name", kept=VICTIM),
    of_recipe("arms: [{name: a, mixture: real}, {name: a, mixture: real}]\nreference: a", "arms"),
    of_recipe("arms: [{name: '', mixture: real}]\nreference: ''", "arms"),
    of_recipe(f"arms: [{{name: {LONG * 20}, mixture: real}}]\nreference: {LONG * 20}", "arms", codes=EITHER),
    of_recipe(r'arms: [{name: "a\0", mixture: real}]' + "\n" + r'reference: "a\0"', "arms"),
    of_recipe("datasets: {a b: {}, a-b: {}}", "datasets", codes=EITHER),
    of_recipe("datasets: {A: {}, a: {}}", "datasets", codes=EITHER),
    of_recipe("datasets: {../x: {}}", "datasets", codes=EITHER),
    of_recipe("datasets: {generated: {}}", "datasets"),
    of_recipe("datasets: {'': {}}", "datasets"),
    *(
        no("prompts r.yaml", "shifts", yaml(f"data: {data}"), codes=codes)
        for names, codes in (
            ("Sketch, sketch", EITHER),
            ("a b, a-b", EITHER),
            ('"caf\\u00e9", "cafe\\u0301"', EITHER),
            ("test", REFUSED),
            ("Test", EITHER),
            ("../x", EITHER),
            ("''", REFUSED),
            ('"a\\0b"', REFUSED),
            (LONG, EITHER),
        )
        for shifts in [", ".join(f"{name.strip()}: photos/solid" for name in names.split(","))]
        for data in [f"{{source: folders, train: photos/train, test: photos/test, shifts: {{{shifts}}}}}"]
    ),
    no("prompts own.yaml", "ice-cream", image("photos/train/Ice Cream/1.png"), image("photos/train/ice-cream/1.png")),
    no(
        "prompts own.yaml",
        "caf",
        image("photos/train/caf\u00e9/1.png"),
        image("photos/train/cafe\u0301/1.png"),
        codes=EITHER,
    ),
    no(
        "init --train photos/train --test photos/test --shift A=photos/solid --shift a=more",
        "--shift",
        image("more/camera/0.png"),
        image("more/clock/0.png"),
        codes=EITHER,
    ),
    no("init --train photos/train --test photos/test --shift test=photos/solid", "--shift"),
    no("init --train photos/train --test photos/test --shift =photos/solid", "--shift"),
    no("audit shards --test x=photos/test --test x=photos/solid", "--test"),
    no("audit shards --test x", "--test"),
    no("benchmark --models a=checkpoint --models a=checkpoint --on shards --real photos/test", "checkpoint"),
    no("benchmark --models a=checkpoint --on shards --real photos/test --labels a=l.txt --labels a=l.txt", "--labels"),
]
YAML = [
    of_text(OWN + "name: again\n", "name & r.yaml"),
    of_text(OWN.replace("steps: 2,", "steps: 2, steps: 3,"), "steps & r.yaml"),
    of_recipe("<<: {name: x}\n<<: {name: y}", "r.yaml"),
    no(["show", "own.yaml", "--set", "train={steps: 1, steps: 2}"], "steps"),
    *(of_value(key, "2020-01-01") for key in ("train", "data_seed", "arms", "train.steps")),
    *(of_value(key, "2020-01-01", codes=EITHER) for key in ("name", "generator.model")),  # a text may look so
    of_recipe("name: 2020-01-01 10:00:00", "name", codes=EITHER),
    of_recipe("train: {model_kwargs: {a: 2020-01-01}}", "model_kwargs", codes=EITHER),
    of_recipe("sweep: [{over: {d: [2020-01-01]}, arm: {name: '{d}', mixture: real, train: '{d}'}}]", "train"),
    of_recipe("2020-01-01: x", "r.yaml"),
    *(of_recipe(f"{key}: {'1' * 5000}", "r.yaml") for key in ("data_seed", "name", "threads")),
    of_value("seeds", f"[{'1' * 5000}]"),
    of_recipe(f"data_seed: 0x{'f' * 5000}", "r.yaml"),
    of_recipe(f"{'1' * 5000}: x", "r.yaml"),
    of_text("[" * DEEP),
    of_text("a: " + "[" * 2000 + "]" * 2000),
    of_text("{a: " * 2000 + "1" + "}" * 2000),
    of_text("".join(f"{' ' * i}a:\n" for i in range(3000))),
    no(["show", "own.yaml", "--set", f"train={'[' * 3000}{']' * 3000}"], "--set"),
    of_text(BOMB + "name: *a9\narms: [{name: real, mixture: real}]\n"),
    of_recipe("arms: &a [*a]", "r.yaml"),
    of_recipe("train: &t {model_kwargs: *t}", "r.yaml"),
    of_recipe("train: &t\n  model_kwargs: *t", "r.yaml"),
    no(["show", "own.yaml", "--set", "arms=&a [*a]"], "arms"),
    of_text(OWN + "title: a\0b\n"),
    of_recipe(r'title: "\ud800"', "r.yaml", codes=EITHER),
    of_recipe(r'title: "\e]0;x\a"', "title", codes=EITHER),
    of_text(OWN.encode("utf-16"), codes=EITHER),
    of_text(OWN.encode() + "title: caf\u00e9".encode("latin-1")),
    of_text(""),
    of_text("# only a comment\n"),
    of_text("- a\n- b\n"),
    of_text("just words"),
    of_text("3"),
    of_text(f"{OWN}---\n{OWN}"),
    *(
        of_recipe(f"title: !!{tag}", "r.yaml")
        for tag in ("python/object/apply:os.system ['x']", "python/name:os.system")
    ),
    *(of_recipe(f"title: !!{tag}", "r.yaml") for tag in ("set {a}", "omap [a: 1]", "timestamp x", "int x")),
    of_recipe("title: !!binary aGk=", "r.yaml", codes=EITHER),
    of_recipe("title: !own {a: 1}", "r.yaml"),
    of_text("%YAML 9.9\n---\n" + OWN, codes=EITHER),
    of_text("name: 'open\n"),
    of_text("name:\tx\n\tb: 1\n"),
    of_text("? [a, b]\n: 1\n"),
    of_recipe("train: {[1, 2]: 3}", "r.yaml"),
    of_recipe("train: {{a: 1}: 3}", "r.yaml"),
    *(of_recipe(f"{key}: 1", "r.yaml") for key in ("1", "true", "null", "1.5", "~", "''", "train.steps")),
    *(of_recipe(f"train: {{{key}: 1}}", "train") for key in ("1", "true", "null", "1.5")),
    of_recipe(
        "data: {shifts: {1: photos/solid}, source: folders, train: photos/train, test: photos/test}",
        "shifts",
        codes=EITHER,
    ),
    *(no(["show", "own.yaml", "--set", words], "--set") for words in ("=1", "", "name", " ", "train.steps")),
    *(
        no(["show", "own.yaml", "--set", words], words.partition("=")[0])
        for words in (
            "arms.99.name=x",
            "name.x=1",
            ".=1",
            "arms.x=1",
            "arms.-1.name=x",
            "threads.0=1",
        )
    ),
    *(
        no(["show", "own.yaml", "--set", f"arms={value}"], "arms")
        for value in ("[", "3", "[[]]", "{}", "null", "[null]", "'", "x")
    ),
    of_recipe("quick: 3", "quick", codes=EITHER),
    of_recipe("quick: [1]", "quick", codes=EITHER),
    no("show r.yaml --quick", "quick", yaml("quick: 3")),
    no("show r.yaml --quick", "quick", yaml("quick: [train.steps]")),
    no("show r.yaml --quick", "r.yaml", yaml("quick: {1: 2}")),
    *(
        of_recipe(f"sweep: {value}", "sweep")
        for value in ("3", "{}", "[3]", "[{}]", "[{over: 3}]", "[{over: {a: []}}]")
    ),
    *(
        of_recipe(f"sweep: [{{over: {{a: [1]}}, arm: {value}}}]", "sweep")
        for value in ("3", "{name: 3}", "[]", "{name: '{b}'}")
    ),
    of_recipe("sweep: [{over: {1: [1]}, arm: {name: a}}]", "sweep"),
    of_recipe("sweep: [{over: {a: [1]}, arm: {name: '{a', mixture: real}}]", "sweep"),
    of_recipe(
        "sweep: [{over: {a: [.nan]}, arm: {name: '{a}', mixture: real, train: {learning_rate: '{a}'}}}]",
        "r.yaml",
    ),
    of_recipe("sweep: [{over: {a: [x, x]}, arm: {name: '{a}', mixture: real}}]", "sweep"),
    of_recipe(
        "sweep: [{over: {a: [../x]}, dataset: {name: '{a}'}, arm: {name: '{a}', mixture: real}}]", "", codes=EITHER
    ),
    of_recipe("\n".join(f"unknown{i}: 1" for i in range(50)), "unknown"),
    no("show dir.yaml", "dir.yaml", file("dir.yaml/x", "")),
    no("show loop.yaml", "loop.yaml", link("loop.yaml", "loop.yaml")),
    no("show gone.yaml", "gone.yaml", link("gone.yaml", "none.yaml")),
    no(["show", f"{LONG}.yaml"], LONG[:20]),
    no(["show", os.fsdecode(b"caf\xe9.yaml")], "caf"),
]
COUNTS = ("100000", "1000000000", "1000000000000", "0", "-1", "1.5", "true", "x", "null", ".nan", ".inf", "[1]", "1e9")
BOUNDS = [  # numbers without bounds, and what is no number
    *(of_value("threads", value) for value in COUNTS),
    *(of_value("train.steps", value) for value in ("0", "-1", "1.5", "true", ".nan", "1000000000000")),
    *(of_value("train.batch_size", value) for value in ("0", "-1", "true", ".inf", "1000000000")),
    *(of_value("train.image_size", value) for value in ("0", "-32", "1000000", "x", "1000000000000")),
    *(of_value("train.workers", value) for value in ("0", "-1", "1000000000")),
    *(of_value("generate.per_class", value) for value in ("0", "-1", "1.5", "true", ".inf", "1000000000000000000000")),
    *(of_value("generate.shard_size", value) for value in ("0", "-1", "1.5", "true")),
    *(of_value("generate.batch_size", value) for value in ("0", "-5", "1000000000")),
    *(of_value("generate.max_redraws", value) for value in ("-1", "1000000000", "true")),
    *(of_value("generator.steps", value) for value in ("0", "-1", "1000000000", "true", ".nan")),
    *(of_value("generator.width", value) for value in ("0", "-8", "1000000000")),
    *(of_value("generator.height", value) for value in ("0", "1000000000", "x")),
    *(of_value("robustness.bootstrap", value) for value in ("0", "-1", "1000000000")),
    *(of_value("robustness.grid", value) for value in ("-1", "1000000000", ".nan")),
    *(of_value("evaluate.batch_size", value) for value in ("0", "1000000000")),
    *(of_value("evaluate.image_size", value) for value in ("0", "1000000000")),
    *(of_value("evaluate.min_images", value) for value in ("-1", "true")),
    *(of_value("finetune.steps", value) for value in ("0", "1000000000000")),
    *(of_value("finetune.lora_rank", value) for value in ("0", "1000000000")),
    *(of_value("finetune.accumulate", value) for value in ("0", "1000000000")),
    *(of_value("class_model.depth", value) for value in ("0", "1000000000")),
    *(of_value("class_model.width", value) for value in ("1", "1920000000000")),
    *(of_value("quality", f"{{clip: pictograms, per_class: {value}}}") for value in ("0", "-1", "true")),
    *(of_value("execute.num_cpus", value) for value in ("0", "1000000000")),
    *(of_value("execute.num_gpus", value) for value in ("-1", ".nan", ".inf", "1000000000")),
    *(
        of_value("seeds", value)
        for value in ("[-1]", "[]", "[0, 0]", "3", "[true]", "[1.5]", "[.nan]", "[1e40]", "[x]")
    ),
    of_value("seeds", f"[{10**30}]"),
    *(of_value("data_seed", value) for value in ("1.5", ".nan", "true", "x")),
    *(
        of_value(key, value)
        for value in (".nan", ".inf", "-.inf", "nan", "1e400")
        for key in (
            *("train.learning_rate", "train.weight_decay", "train.label_smoothing", "train.ema_decay", "train.mixup"),
            *("train.epochs", "train.momentum", "train.color_jitter", "generator.guidance_scale", "evaluate.crop_pct"),
        )
    ),
    of_value("generator.strength", ".nan"),
    of_value("generator.guidance_until", ".nan"),
    of_value("generator.lora", "{model: x, scale: .nan}"),
    of_value("generator.lora", "{model: x, scale: .inf}"),
    of_value("arms.0.mixture", "[{source: real, weight: .nan}]"),
    of_value("arms.0.mixture", "[{source: real, weight: .inf}]"),
    of_value("arms.0.mixture", "[{source: real, fraction: .nan}]"),
    of_value("arms.0.train", "{learning_rate: .nan}"),
    of_recipe("datasets: {d: {filter: {threshold: .nan}}}", "r.yaml"),
    of_recipe("datasets: {d: {filter: {drop: .nan}}}", "r.yaml"),
    of_recipe("datasets: {d: {generator: {guidance_scale: .nan}}}", "r.yaml"),
    of_recipe("datasets: {d: {generate: {per_class: .inf}}}", "r.yaml"),
    of_recipe(MILLION, "sweep"),
    no("prompts own.yaml --set generate.per_class=1000000000", "per_class", codes=EITHER),
    no("show own.yaml --set generate.per_class=1000000000", "per_class", codes=EITHER),
    no(["show", "own.yaml", "--yaml", "--set", f"seeds=[{', '.join(map(str, range(20_000)))}]"], "seeds", codes=EITHER),
    *(no(f"prompts own.yaml --count {value}", "--count") for value in ("0", "-1", "nan", "1.5", "x")),
    *(no(f"prompts own.yaml --count {value}", "--count", codes=EITHER) for value in ("1000000000000", "9" * 400)),
    *(
        no(f"generate own.yaml --shards {value}", "--shards")
        for value in ("0/4", "5/4", "0/0", "1/", "/1", "1/2/3", "x/y", "1/-2")
    ),
    *(
        no(["train", "own.yaml", "--cells", value], "--cells")
        for value in ("", "1", "-1/2", "1.0/2", "²/³", "1/" + "9" * 5000)
    ),
    *(no(f"show own.yaml --workers {value}", "--workers") for value in ("0", "-1", "nan", "x")),
    *(no(f"predict checkpoint photos/test --top {value}", "--top") for value in ("0", "-1", "nan")),
    *(no(f"predict checkpoint photos/test --batch-size {value}", "--batch-size") for value in ("0", "-1", "nan")),
    no("predict checkpoint photos/test --batch-size 1000000000000", "--batch-size", codes=EITHER),
    no(f"predict checkpoint photos/test --top {'9' * 30}", "--top", codes=EITHER),
    *(
        no(f"filter shards --by clip --clip pictograms --drop {v}", "--drop")
        for v in ("nan", "inf", "0", "1", "-1", "x")
    ),
    *(
        no(f"filter shards --by clip --clip pictograms --threshold {v}", "--threshold")
        for v in ("nan", "inf", "x", "1e400")
    ),
    *(no(f"export shards --to parquet --out new --val {v}", "--val") for v in ("nan", "inf", "0", "1", "-1", "2", "x")),
    *(
        no(f"effective-robustness --id clean --shift shifted --min-id {v} table.csv", "--min-id")
        for v in ("nan", "inf", "-1", "101", "x")
    ),
]
TARS = [
    of_data("x.tar", file("x.tar", ""), data="x.tar"),
    of_data("x.tar", file("x.tar", b"\x1f\x8b" + bytes(600)), data="x.tar"),
    of_data("x.tar", file("x.tar", b"no tar at all" * 100), data="x.tar"),
    of_data("x.tar", file("x.tar", GOOD[:-700]), data="x.tar"),
    of_data("x.tar", file("x.tar", bytes(2048)), data="x.tar"),
    of_data("x.tar & a0", tar("x.tar", GOOD, pair("a0", "clock")), data="x.tar"),
    of_data("x.tar & a0", tar("x.tar", GOOD, pair("a0")), data="x.tar"),
    of_data("x.tar & a0", tar("x.tar", GOOD, member("a0.jpg", png())), data="x.tar"),
    of_data("x.tar & a0", tar("x.tar", GOOD, member("a0.PNG", png())), data="x.tar"),
    of_data("x.tar & a0", tar("x.tar", GOOD, member("./a0.png", png())), data="x.tar", codes=EITHER),
    of_data("x.tar & a0", tar("x.tar", GOOD, member("a0.cls", "clock")), data="x.tar"),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png())), data="x.tar"),
    of_data(
        "x.tar & b",
        tar("x.tar", GOOD, member("b.png", kind=b"1", to="a0.png"), member("b.cls", "camera")),
        data="x.tar",
    ),
    of_data(
        "x.tar & b",
        tar("x.tar", GOOD, member("b.png", kind=b"2", to="/etc/passwd"), member("b.cls", "camera")),
        data="x.tar",
    ),
    of_data(
        "x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.cls", kind=b"1", to="a0.cls")), data="x.tar"
    ),
    of_data(
        "x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.cls", kind=b"2", to="b.cls")), data="x.tar"
    ),
    *(
        of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", kind=kind), member("b.cls", "camera")), data="x.tar")
        for kind in (b"3", b"4", b"6")
    ),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.cls", b"\xff\xfe")), data="x.tar"),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.cls", "")), data="x.tar"),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.cls", b"\0\0")), data="x.tar"),
    *(
        of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.json", text)), data="x.tar")
        for text in (
            "{",
            "[]",
            "3",
            "",
            "{}",
            '{"label": null}',
            '{"label": NaN}',
            '{"label": {}}',
            "[" * DEEP,
            b"\xff",
        )
    ),
    of_data("x.tar", tar("x.tar", GOOD, member("b.png", png(), size=10**12), member("b.cls", "camera")), data="x.tar"),
    of_data("x.tar", tar("x.tar", GOOD, member("b.cls", "camera", size=2**40)), data="x.tar"),
    of_data("x.tar", tar("x.tar", GOOD, member("b.png", png(), size=-1), member("b.cls", "camera")), data="x.tar"),
    of_data("x.tar", tar("x.tar", GOOD, pair("../../b")), data="x.tar", codes=EITHER),
    of_data("x.tar", tar("x.tar", GOOD, pair("/etc/b")), data="x.tar", codes=EITHER),
    of_data("x.tar", tar("x.tar", GOOD, pair("b", "a\x1b[31m")), data="x.tar", codes=EITHER),
    of_data("none", data="none-*.tar"),
    of_data("x.tar", file("x.tar/y", ""), data="x.tar"),
    of_data("train", tar("d/a-train.tar", GOOD), tar("d/a-test.tar", GOOD), data="d"),
]
TABLES = [  # parquet files and saved datasets
    of_data("x.parquet", file("x.parquet", ""), data="x.parquet"),
    of_data("x.parquet", file("x.parquet", b"PAR1" + bytes(100) + b"PAR1"), data="x.parquet"),
    of_data("x.parquet", file("x.parquet", torch_file()), data="x.parquet"),
    of_data("image", parquet("x.parquet", {"img": images_column(), "label": [0, 1, 0, 1]}), data="x.parquet"),
    of_data("label", parquet("x.parquet", {"image": images_column()}), data="x.parquet"),
    *(
        of_data(
            "x.parquet & label", parquet("x.parquet", {"image": images_column(), "label": labels}), data="x.parquet"
        )
        for labels in (
            ["camera", "clock"] * 2,
            [0, 1, None, 1],
            [0.0, 1.0, 0.5, float("nan")],
            [0, 1, -1, 0],
            [0, 1, 2, 0],
            [0, 1, 10**12, 0],
            [[0], [1], [0], [1]],
            [{"a": 0}] * 4,
            [True, False] * 2,
            [b"0", b"1"] * 2,
            ["0", "1"] * 2,
        )
    ),
    of_data(
        "", parquet("x.parquet", {"image": images_column(), "label": [0.0, 1.0] * 2}), data="x.parquet", codes=EITHER
    ),
    *(
        of_data(
            "x.parquet", parquet("x.parquet", {"image": images_column(), "label": [0, 1] * 2}, names), data="x.parquet"
        )
        for names in ([1, 2], [None, "b"], ["a", "a"], "ab", {"a": 1}, [["a"], "b"], ["", "b"], [1.5, True], [{}, {}])
    ),
    *(
        of_data(
            "",
            parquet("x.parquet", {"image": images_column(), "label": [0, 1] * 2}, names),
            data="x.parquet",
            codes=EITHER,
        )
        for names in (
            b"\xff",
            b"{",
            b"[" * DEEP,
            b"[]",
            b"null",
            b'{"info": 3}',
            b'{"info": {"features": {"label": {"names": null}}}}',
        )
    ),
    of_data(
        "x.parquet",
        parquet("x.parquet", {"image": images_column(), "label": [0, 1] * 2}, ["a\x1b[31m", "b"]),
        data="x.parquet",
        codes=EITHER,
    ),
    of_data(
        "x.parquet & label",
        parquet("x.parquet", [("image", images_column()), ("label", [0, 1] * 2), ("label", [1, 0] * 2)]),
        data="x.parquet",
    ),
    of_data(
        "x.parquet & image",
        parquet("x.parquet", [("image", images_column()), ("image", images_column()), ("label", [0, 1] * 2)]),
        data="x.parquet",
    ),
    of_data(
        "x.parquet",
        parquet("x.parquet", {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}),
        data="x.parquet",
    ),
    of_data(
        "x.parquet", parquet("x.parquet", {"image": [1, 2, 3, 4], "label": [0, 1] * 2}), data="x.parquet", codes=EITHER
    ),
    *(
        of_data("saved", file("saved/state.json", text), data="saved")
        for text in (
            "",
            "[]",
            "3",
            "{",
            "{}",
            '{"_data_files": 3}',
            '{"_data_files": []}',
            '{"_data_files": [3]}',
            "[" * DEEP,
            b"\xff",
        )
    ),
    *(
        of_data("saved", file("saved/state.json", json.dumps({"_data_files": [{"filename": name}]})), data="saved")
        for name in ("none.arrow", "../../../etc/passwd", "/etc/passwd", "", 3, None, "a\0b", LONG)
    ),
    of_data("saved", file("saved/dataset_dict.json", "{}"), data="saved"),
]
TREES = [  # folders of images
    of_data("x", data="x"),
    of_data("x", file("x/readme.txt", "x"), data="x"),
    of_data("x", file("x", "a file"), data="x"),
    of_data("loose", image("x/a/1.png"), image("x/loose.png"), data="x"),
    of_data("x", file("x/a/.hidden.png", png()), file("x/b/1.txt", ""), data="x"),
    of_data("0.png", file("x/a/0.png", ""), image("x/b/0.png"), data="x"),
    of_data("x", link("x", "x"), data="x"),
    of_data("a", image("x/b/1.png"), image("x/c/1.png"), link("x/a", "a"), data="x"),
    of_data("x/a", image("x/b/1.png"), link("x/a/1.png", "1.png"), data="x"),
    of_data("x/a/1.png", image("x/b/1.png"), link("x/a/1.png", "none.png"), data="x"),
    of_data("x/a/1.png", image("x/b/1.png"), file("x/a/2.png", png()), fifo("x/a/1.png"), data="x"),
    of_data("caf", image(b"x/caf\xe9/1.png"), image("x/b/1.png"), data="x"),
    of_data("caf", image(b"x/a/caf\xe9.png"), image("x/b/1.png"), data="x"),
    of_data(
        "x",
        image("x/a\nb/1.png"),
        image("x/a\nb/2.png"),
        image("x/b/2.png"),
        image("x/b/1.png"),
        data="x",
        codes=EITHER,
    ),
    of_data(
        "x",
        image("x/a\x1b[31m/1.png"),
        image("x/a\x1b[31m/2.png"),
        image("x/b/2.png"),
        image("x/b/1.png"),
        data="x",
        codes=EITHER,
    ),
    of_data(
        "x",
        image("x/[bold]/1.png"),
        image("x/{}/1.png"),
        image("x/[bold]/2.png"),
        image("x/{}/2.png"),
        data="x",
        codes=EITHER,
    ),
    *(of_data("train", data=value) for value in ("", "3", "null", "[a]", "{}", "true", '"a\\0b"')),
    of_data("2020-01-01", data="2020-01-01"),  # a text, as every value that only looks like a date
    of_data("", data="http://example.com/x"),
    no("prompts own.yaml --set data.test=photos/train/camera", "camera"),
    no("prompts own.yaml --set data.shifts.solid=none", "none"),
    no(["prompts", "own.yaml", "--set", "data.shifts={x: {path: photos/solid, kind: nothing}}"], "nothing"),
    no("prompts own.yaml --set data.source=nothing", "nothing"),
    no(["prompts", "own.yaml", "--set", "data.class_names={none: x}"], "none"),
    no(["prompts", "own.yaml", "--set", "data.class_names={camera: clock}"], "clock"),
    no(["prompts", "own.yaml", "--set", "data.class_names={camera: 3}"], "class_names"),
    no(["prompts", "own.yaml", "--set", "data.same_class={photo: none}"], "none"),
    no("predict checkpoint x", "1.png", file("x/1.png", "text"), codes=(1,)),
    no("predict checkpoint x", "1.jpg", file("x/1.jpg", png()[:60]), codes=(1,)),
    no("predict checkpoint x", ".heic images are not read", file("x/1.heic", "text"), image("x/2.png"), codes=(1,)),
    no(
        "predict checkpoint x",
        "pixels",
        file("x/1.ppm", "P6 65536 65536 255\n"),
        codes=(1,),
    ),
    no("predict checkpoint x", "1.png", link("x/1.png", "/etc/passwd"), codes=(1,), check=silent_of("root:")),
    no("predict checkpoint x", "x", file("x/1.png/y.txt", "")),
    no(
        "predict checkpoint x",
        "",
        *(image(f"x/{name}") for name in ("=1+1.png", "+1.png", "-1.png", "@x.png", "\tx.png")),
        codes=(0,),
        check=no_formula,
    ),
    no("predict checkpoint x", "", image(b"x/caf\xe9.png"), codes=(0,)),
    no(
        "predict checkpoint x",
        "",
        image("x/1.png"),
        link("x/loop", "."),
        codes=EITHER,
        check=lambda f, d: _require(d.stdout.count("1.png") <= 1),
    ),
    no("init --train photos/train --test x", "x", image("x/loose.png")),
    no(
        "init --train photos/train --test photos/test",
        "camera",
        link("photos/train/camera/loop", ".."),
        codes=EITHER,
        check=silent_of("200"),
    ),
    no("audit x", "classes", image("x/a/1.png"), image("x/a/2.png")),
]


def nan_weights(folder: Path) -> None:
    import torch

    from genrobust.classifiers.checkpoints import CheckpointInfo
    from genrobust.classifiers.models import create_classifier, save_checkpoint

    model = create_classifier("test_resnet", 2, 32)
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    save_checkpoint(folder / "checkpoint", model, CheckpointInfo("test_resnet", {}, CLASSES, 32, {}))


NAN = Make("weights that are NaN", nan_weights)
CHECKPOINTS = [
    of_checkpoint("checkpoint", NAN),
    no("filter shards --by classifier --classifier checkpoint --drop 0.5", "checkpoint", NAN, codes=FAILED),
    no("benchmark --models checkpoint --on shards --real photos/test", "checkpoint", NAN, codes=FAILED),
    no("export-model checkpoint --to timm", "checkpoint", NAN, codes=FAILED),
    no(
        "predict checkpoint photos/test --labels l.txt",
        "l.txt",
        file("l.txt", "=1+1\n@SUM(A1)\n"),
        codes=EITHER,
        check=no_formula,
    ),
    of_checkpoint("checkpoint", removed("checkpoint/model.safetensors")),
    of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", "")),
    of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", PICKLE), check=not_harmed),
    of_checkpoint("checkpoint", removed("checkpoint/model.safetensors"), file("checkpoint/model.safetensors/x", "")),
    of_checkpoint("checkpoint", link("checkpoint/model.safetensors", "model.safetensors")),
    *(
        of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", safetensors(header)))
        for header in (
            b"",
            b"{",
            b"[]",
            b"[" * 10_000,
            {},
            {"a": 3},
            {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}},
            {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}},
            {"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}},
            {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        )
    ),
    of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", b"\xff" * 8 + b"{}")),
    of_checkpoint("model.safetensors", flipped("checkpoint/model.safetensors", -5)),
    *(
        of_checkpoint("checkpoint.json", file("checkpoint/checkpoint.json", text))
        for text in (
            "",
            "{",
            "[]",
            "3",
            "null",
            '"a"',
            "{}",
            '{"a": NaN}',
            "[" * DEEP,
            b"\xff",
            "\ufeff{}",
            '{"a": 1, "a": 2}',
            "1" * 5000,
        )
    ),
    *(
        of_checkpoint("checkpoint", changed_json("checkpoint/checkpoint.json", **{key: value}))
        for key, values in (
            ("architecture", (3, None, [], {}, "", "none", "../x", "a\0b", "hf-hub:a/b", LONG)),
            (
                "classes",
                (3, None, "ab", [], ["a"], [1, 2], ["camera", "camera"], [None, "a"], {"a": 1}, ["a", "b", "c"]),
            ),
            ("image_size", (0, -1, "32", None, 1.5, 10**12, True, [32])),
            (
                "model_kwargs",
                (3, "a", {"pretrained": True}, {"none": 1}, {"checkpoint_path": "x"}, {"channels": [10**9] * 4}),
            ),
            ("unknown", (1,)),
        )
        for value in values
    ),
    *(
        of_checkpoint("checkpoint", changed_json("checkpoint/checkpoint.json", **{key: value}), codes=(0, 1, 2))
        for key in ("model_kwargs", "training")  # taken for none, or refused
        for value in (None, [])
    ),
    of_checkpoint("checkpoint", changed_json("checkpoint/checkpoint.json", training=3), codes=(0, 1, 2)),
    *(
        no(f"predict {model} photos/test", model.rpartition("@")[2], codes=FAILED)
        for model in (
            "none/",
            "local-dir:none",
            "resnet18@none.pt",
            "none.onnx",
            "none.safetensors",
            "hf-hub:",
            "hf-hub:../../x",
            "photos/train",
        )
    ),
    no("predict timm photos/test", "timm", file("timm/config.json", "[]"), codes=FAILED),
    no("predict local-dir:timm photos/test", "timm", file("timm/config.json", "[" * DEEP), codes=FAILED),
    *(
        no(
            "predict local-dir:timm photos/test",
            "timm",
            file("timm/config.json", json.dumps(config)),
            file("timm/model.safetensors", safetensors({})),
            codes=FAILED,
        )
        for config in (
            {"pretrained_cfg": 3},
            {"pretrained_cfg": {}, "architecture": 3},
            {"pretrained_cfg": {"input_size": 3}, "architecture": "resnet18"},
            {
                "pretrained_cfg": {"input_size": [3, 10**9, 10**9]},
                "architecture": "resnet18",
                "num_classes": 2,
                "label_names": ["a", "b"],
            },
            {"pretrained_cfg": {}, "architecture": "resnet18", "num_classes": "x"},
            {"pretrained_cfg": {}, "architecture": "resnet18", "num_classes": 2, "label_names": 3},
            {"pretrained_cfg": {}, "architecture": "resnet18", "num_classes": 2, "label_names": {"x": "a", "y": "b"}},
            {"pretrained_cfg": {"mean": "x"}, "architecture": "resnet18", "num_classes": 1000},
            {"pretrained_cfg": {"interpolation": 3}, "architecture": "resnet18", "num_classes": 1000},
        )
    ),
    no("predict resnet18@w.pt photos/test", "w.pt", file("w.pt", torch_file()), codes=FAILED, check=not_harmed),
    no("predict resnet18@w.pth photos/test", "w.pth", file("w.pth", PICKLE), codes=FAILED, check=not_harmed),
    no(
        "predict resnet18@w.safetensors photos/test",
        "w.safetensors",
        file("w.safetensors", safetensors({})),
        codes=FAILED,
    ),
    no("predict m.onnx photos/test", "m.onnx", file("m.onnx", "no model"), codes=FAILED),
    no("predict m.onnx photos/test", "m.onnx", file("m.onnx", ""), codes=FAILED),
    no("predict m.onnx photos/test", "m.onnx", file("m.onnx/x", ""), codes=FAILED),
    *(
        no(f"predict checkpoint photos/test --labels {name}", name)
        for name in ("none.txt", "photos", "photos/test/camera/0.png")
    ),
    *(
        no("predict checkpoint photos/test --labels l.txt", "l.txt", file("l.txt", text))
        for text in (
            "",
            "\n\n",
            "camera",
            "camera\nclock\nx\n",
            "camera\nclock".encode("utf-16"),
            b"caf\xe9\nb\n",
            "\ufeff",
        )
    ),
    no("predict checkpoint photos/test --labels l.txt", "l.txt", file("l.txt", "camera\ncamera\n"), codes=EITHER),
    no("predict checkpoint photos/test --labels l.txt", "l.txt", file("l.txt", "camera\nclock\0\n"), codes=EITHER),
    no(
        "filter shards --by classifier --classifier checkpoint --drop 0.5 --labels l.txt",
        "clock",
        file("l.txt", "clock\nclock\n"),
    ),
    no("export-model checkpoint --to timm", "model.safetensors", removed("checkpoint/model.safetensors"), codes=FAILED),
    *(
        no("export-model checkpoint --to timm --report r.json", "r.json", file("r.json", text), codes=FAILED)
        for text in ("", "[]", "3", "{", "{}", '{"summary": 3}', "[" * DEEP, b"\xff", '{"arms": NaN}')
    ),
    no("export-model checkpoint --to timm --license ''", "--license"),
    no("export-model checkpoint --to timm --license 'a\nb'", "--license"),
]
GENERATORS = [
    of_generator({"_class_name": ["pipeline", "StableDiffusionPipeline"], "_diffusers_version": "0.30"}),
    *(
        of_generator({"_class_name": value}, "gen")
        for value in (3, None, {}, [], "", "os.system", "AutoPipeline", "a\x1b[31m")
    ),
    *(
        of_generator(text, "gen")
        for text in ("", "[]", "3", "{", "null", "{}", b"\xff", "[" * DEEP, '{"a": 1, "a": 2}')
    ),
    of_generator({"_class_name": "StableDiffusionPipeline", "unet": ["os", "system"], "vae": 3}, "gen"),
    no(
        "generate small.yaml --set generator.model=gen",
        "gen",
        file("gen/model_index.json", '{"_class_name": "StableDiffusionPipeline", "unet": ["own", "Net"]}'),
        file("gen/unet/own.py", "open('harmed', 'w')\n\n\nclass Net:\n    pass\n"),
        check=not_harmed,
    ),
    of_generator({"_class_name": "StableDiffusionPipeline", "unet": [None, None]}, "gen"),
    of_generator({"_class_name": "StableDiffusionPipeline", "../../etc": ["a", "b"]}, "gen"),
    *(
        no(["generate", "small.yaml", "--set", f"generator.model={value}"], "generator.model")
        for value in (
            "http://example.com/x",
            "s3://b/m",
            "../none",
            "/none",
            "''",
            '"a\\0b"',
            "a/b/c",
            LONG,
            "' '",
            "3",
            "[a]",
            ".none",
        )
    ),
    no("generate small.yaml --set generator.model=gen", "gen", file("gen", "a file")),
    no("generate small.yaml --set generator.engine=nothing", "nothing"),
    *(
        no(["generate", "small.yaml", "--set", f"generator.lora={value}"], "lora")
        for value in ("none", "x.bin", "''", "3", "{}", "{model: x, scale: x}")
    ),
    no("generate small.yaml --set generator.lora=x.bin", "x.bin", file("x.bin", PICKLE), check=not_harmed),
    *(
        no(
            "prompts small.yaml --set generate.prompts.strategy=list --set generate.prompts.file=p.json",
            "p.json",
            file("p.json", text),
        )
        for text in (
            "",
            "[]",
            "3",
            "{",
            "{}",
            '{"airplane": 3}',
            '{"airplane": [3]}',
            '{"airplane": []}',
            '{"airplane": [NaN]}',
            "[" * DEEP,
            b"\xff",
            '{"airplane": ["a"], "airplane": ["b"]}',
            '{"airplane": ["a {}"]}',
            "1" * 5000,
        )
    ),
    *(
        no(
            "prompts small.yaml --set generate.prompts.strategy=list --set generate.prompts.file=p.txt",
            "p.txt",
            file("p.txt", text),
        )
        for text in ("", "\n", "no slot", "{} {}", "a {}\na {}\n", b"\xff {}", "a {}\nno slot\n")
    ),
    *(
        no(["prompts", "small.yaml", "--set", f"generate.prompts.templates={value}"], "templates")
        for value in (
            "[]",
            "[a]",
            "['{} {}']",
            "['{}', '{}']",
            "nothing",
            "[3]",
            "3",
            "{}",
            "[null]",
            "['']",
            "['{}', 2020-01-01]",
        )
    ),
    no("prompts small.yaml --set generate.prompts.negative_prompt=3", "negative_prompt"),
    no("prompts small.yaml --set generate.prompts.strategy=none", "strategy"),
]
ER = [
    *(
        of_table(text, "t.csv")
        for text in (
            "",
            "\n",
            "model,clean,shifted\n",
            "model,clean,shifted",
            b"\xff\xfe",
            TABLE.encode("utf-16"),
            "a\0b",
        )
    ),
    of_table(TABLE + "m0,50,30\n", "m0"),
    *(
        of_table(TABLE + f"x,{cell},50\n", "clean")
        for cell in ("good", "inf", "-inf", "1e400", "-1", "101", "5 0", "50%", "0x10")
    ),
    *(of_table(TABLE + f"x,50,{cell}\n", "shifted") for cell in ("good", "inf", "-5", "1e9", "=1+1")),
    of_table(TABLE + "x,0.5,0.3\n", "", codes=EITHER),
    of_table(TABLE + "x,50,30,40\n", "t.csv"),
    of_table(TABLE + 'x,"50,30\n', "t.csv"),
    of_table(TABLE + "a\0b,50,30\n", "t.csv", codes=EITHER),
    of_table(TABLE + "\x1b[31mx,50,30\n", "t.csv", codes=EITHER),
    of_table(TABLE.replace("shifted", "clean"), "clean"),
    of_table("model,clean,shifted\na,50,40\n", "baselines"),
    of_table("model,clean,shifted\n" + "".join(f"m{i},50,{30 + i}\n" for i in range(8)), "baselines"),
    of_table("model,clean,shifted\n" + "".join(f"m{i},,{30 + i}\n" for i in range(8)), "clean"),
    of_table("model,clean,shifted\n" + "".join(f"m{i},0.{i}1,0.{i}\n" for i in range(8)), "--unit"),
    of_table("model,clean,shifted\n" + "".join(f"m{i},0.{i}1,{30 + i}\n" for i in range(8)), "clean"),
    of_table(TABLE, "none", "--id none --shift shifted"),
    of_table(TABLE, "shifted", "--id shifted --shift shifted"),
    of_table(TABLE, "--id", "--id clean --id clean --shift shifted"),
    of_table(TABLE, "none", "--id clean --shift shifted --key none"),
    of_table(TABLE, "nobody", "--id clean --shift shifted --pivot nobody"),
    of_table(TABLE, "transform", "--id clean --shift shifted --transform cubic", codes=REFUSED),
    of_table(TABLE, "--unit", "--id clean --shift shifted --unit stones"),
    of_table(TABLE, "--unit", "--id clean --shift shifted --unit fraction"),
    *(
        of_table(TABLE, "baselines", f"--id clean --shift shifted --baselines '{word}'")
        for word in ("(", "none", "[", "m0", "*")
    ),
    of_table(TABLE, "--exclude", "--id clean --shift shifted --exclude '('"),
    of_table(TABLE, "baselines", "--id clean --shift shifted --exclude m"),
    no("effective-robustness --id clean --shift shifted .", "."),
    no("effective-robustness --id none.csv:clean --shift shifted table.csv", "none.csv"),
    no("effective-robustness --id clean --shift shifted", "--id"),
    no(["effective-robustness", "--id", "clean", "--shift", "shifted", f"{LONG}.csv"], LONG[:20]),
    no(
        ["effective-robustness", "--id", "clean", "--shift", "shifted", "--baselines", "m" * 5000, "table.csv"],
        "--baselines",
    ),
    no(["effective-robustness", "--id", os.fsdecode(b"caf\xe9"), "--shift", "shifted", "table.csv"], "caf"),
]
JSON = "effective-robustness --id clean --shift shifted table.csv --json"
OUTPUTS = [  # devices, pipes, links, folders and inputs as outputs
    no(f"{JSON} pipe", "", fifo("pipe"), codes=(0,), check=still_a_pipe("pipe")),
    no(
        "predict checkpoint photos/test --out pipe.csv",
        "",
        fifo("pipe.csv"),
        codes=(0,),
        check=still_a_pipe("pipe.csv"),
    ),
    no(
        "init --train photos/train --test photos/test --recipe pipe.yaml --overwrite",
        "pipe.yaml",
        fifo("pipe.yaml"),
        codes=EITHER,
        check=still_a_pipe("pipe.yaml"),
    ),
    no(
        f"{JSON} link.json",
        "link.json",
        file("target.json", "{}"),
        link("link.json", "target.json"),
        check=still_a_link("link.json"),
    ),
    no(
        f"{JSON} link.json --overwrite",
        "link.json",
        file("target.json", "{}"),
        link("link.json", "target.json"),
        codes=(0,),
        check=still_a_link("link.json"),
    ),
    no(f"{JSON} photos/test/camera/0.png", "0.png & --overwrite"),
    no("predict checkpoint photos/test --out table.csv", "table.csv & --overwrite"),
    no(f"{JSON} table.csv --overwrite", "table.csv & input"),
    no(f"{JSON} link.json", "link.json", link("link.json", "new.json"), codes=EITHER, check=still_a_link("link.json")),
    no(f"{JSON} loop.json", "loop.json", link("loop.json", "loop.json"), codes=FAILED, check=still_a_link("loop.json")),
    no(f"{JSON} .", "folder"),
    no(f"{JSON} photos", "photos"),
    no(f"{JSON} table.csv", "table.csv"),
    no(f"{JSON} ./photos/../table.csv", "table.csv"),
    no(f"{JSON} table.csv/x.json", "table.csv"),
    no(f"{JSON} {LONG}", "too long", codes=FAILED),
    no(f"{JSON} s3://bucket/x.json", "s3:/ & bucket"),
    no(f"{JSON} http://example.com/x.json", "http:/ & example.com"),
    no("predict checkpoint photos/test --out photos.csv", "photos.csv", file("photos.csv/x", "")),
    no("predict checkpoint photos/test --out photos/test/camera/0.png", "--out"),
    no("predict checkpoint photos/test --out s3://bucket/x.csv", "s3:/ & bucket"),
    no("predict checkpoint photos/test --out table.csv/x.csv", "table.csv"),
    no(
        "predict checkpoint photos/test --out link.csv",
        "link.csv",
        file("target.csv", "x"),
        link("link.csv", "target.csv"),
        check=still_a_link("link.csv"),
    ),
    no("init --train photos/train --test photos/test --recipe own.yaml", "own.yaml"),
    no(
        "init --train photos/train --test photos/test --recipe dir.yaml --overwrite",
        "dir.yaml",
        file("dir.yaml/x", ""),
        codes=FAILED,
    ),
    no("init --train photos/train --test photos/test --recipe s3://bucket/x.yaml", "s3:/ & bucket"),
    no("init --train photos/train --test photos/test --recipe x.txt", "x.txt"),
    no("audit shards --out table.csv", "table.csv"),
    no("audit shards --out s3://bucket/x", "s3:/ & bucket"),
    no("benchmark --models checkpoint --on shards --real photos/test --out table.csv", "table.csv"),
    no("benchmark --models checkpoint --on shards --real photos/test --out s3://bucket/x", "s3:/ & bucket"),
    no("run own.yaml --out table.csv", "table.csv"),
    no("run own.yaml --out photos/train", "photos/train & data.train"),
    no("show own.yaml --out photos/test/camera/x", "photos/test & data.test"),
    no("predict own.yaml:real photos/test --runs photos/solid", "photos/solid & shifts.solid"),
    no("train train.yaml --out photos", "photos/train & data.train", file("train.yaml", OWN.replace("own", "train"))),
    no(
        "train own.yaml --set data.train=linked --out photos/train",
        "linked & data.train",
        link("linked/camera", "../photos/train/camera"),
        link("linked/clock", "../photos/train/clock"),
    ),
    no("generate small.yaml --out table.csv/x", "table.csv"),
    *(
        no(["show", "own.yaml", "--out", url], url.partition("\0")[2] or url)
        for url in (
            "s3x://b/r",
            "foo://x",
            "://x",
            "1://x",
            "python://os",
            "file+x://y",
            "blockcache::foo://x",
        )
    ),
    *(no(f"doctor --out {url}", "URL") for url in ("s3x://b/r", "foo://x", "http://example.com/x")),
    no("predict checkpoint photos/test --runs s3://b/r", "s3:/b", codes=EITHER),
    no(["train", "own.yaml", "--out", LONG], LONG[:20], codes=FAILED),
]
EXPORTED = "shards-parquet"
USERS = ("shards-parquet/own.txt",)
EXPORTS = [
    no("export shards --to parquet --out photos", "photos"),
    no("export shards --to parquet --out photos --overwrite", "photos"),
    no("export shards --to parquet --out photos --overwrite", "photos", file("photos/croissant.json", "{}")),
    no(
        "export shards --to parquet --out photos --overwrite",
        "photos",
        file("photos/croissant.json", "{}"),
        file("photos/README.md", "mine"),
    ),
    no(
        "export shards --to parquet --out photos --overwrite",
        "photos",
        file("photos/croissant.json", sealed({"files": {"train/camera/0.png": "0" * 64}})),
    ),
    no(
        "export shards --to parquet --out foreign --overwrite",
        "foreign",
        moved(EXPORTED, "foreign"),
        moved("photos", "foreign/photos"),
    ),
    no(
        "export shards --to parquet --overwrite",
        "own.txt",
        file("shards-parquet/own.txt", "mine"),
        codes=EITHER,
        kept=USERS,
    ),
    no(
        "export shards --to parquet --overwrite",
        "README.md",
        file("shards-parquet/README.md", "mine"),
        codes=EITHER,
        kept=("shards-parquet/README.md",),
    ),
    no(
        "export shards --to parquet --overwrite",
        "own",
        file("shards-parquet/own/x.txt", "mine"),
        codes=EITHER,
        kept=("shards-parquet/own/x.txt",),
    ),
    no(
        "export shards --to parquet --overwrite",
        "out",
        link("shards-parquet/out", "../photos"),
        codes=EITHER,
        kept=("photos/train/camera/0.png",),
    ),
    no(
        "export shards --to parquet --overwrite",
        "",
        file(".shards-parquet.part/x", "mine"),
        file(".shards-parquet.old/x", "mine"),
        codes=EITHER,
        kept=(".shards-parquet.part/x", ".shards-parquet.old/x"),
    ),
    no(
        "export shards --to parquet --out new",
        "",
        file(".new.part/x", "mine"),
        file(".new.old/x", "mine"),
        codes=EITHER,
        kept=(".new.part/x", ".new.old/x"),
    ),
    no(
        "export shards --to parquet --out new",
        "",
        file(".new.part", "mine"),
        file(".new.old", "mine"),
        codes=EITHER,
        kept=(".new.part", ".new.old"),
    ),
    no("export shards --to parquet --out new", "", file(".photo.part", "mine"), codes=EITHER, kept=(".photo.part",)),
    no("export shards --to parquet", "--overwrite"),
    no("export shards --to parquet --out shards", "--out"),
    no("export shards --to parquet --out shards/x", "--out"),
    no("export shards --to parquet --out .", "--out"),
    no("export shards --to parquet --out /", "--out"),
    no("export shards --to parquet --out table.csv", "table.csv"),
    no("export shards --to parquet --out table.csv --overwrite", "table.csv"),
    no("export shards --to parquet --out s3://bucket/x", "s3:/ & bucket"),
    no("export shards --to parquet --out link", "photos", link("link", "photos")),
    no(
        "export shards --to parquet --out link --overwrite",
        "",
        link("link", EXPORTED),
        codes=EITHER,
        check=still_a_link("link"),
    ),
    *(
        no(f"export shards --to parquet --out new --license '{word}'", "--license")
        for word in ("", "A B", "mit\nx", "<b>", "../x")
    ),
    *(
        no("export shards --to parquet --out new --audit a.json", "a.json", file("a.json", text), codes=FAILED)
        for text in ("", "[]", "3", "{", "{}", '{"dataset": 3}', "[" * DEEP, b"\xff", "1" * 5000)
    ),
    no("export shards --to parquet --out new --audit none.json", "none.json"),
    *(
        no(
            "export shards --to parquet --out new --filter f.parquet",
            "f.parquet",
            file("f.parquet", text),
            codes=FAILED,
        )
        for text in ("", "PAR1PAR1", b"\xff" * 64)
    ),
    no(
        "export shards --to parquet --out new --filter f.parquet",
        "f.parquet",
        parquet("f.parquet", {"key": [1], "reason": ["x"]}),
        codes=FAILED,
    ),
    no("export shards --to parquet --out new --filter none", "none"),
    no("export shards --to parquet --out new --generator photos", "--generator"),
    no("export shards --to parquet --out new --recipe own.yaml", "--recipe"),
    no("export shards --to parquet --out new --val 0.5 --val-dataset shards", "--val"),
    no("export shards --to parquet --out new --val-dataset shards", "--val-dataset"),
    no("export photos --to parquet", "photos"),
    no("export-model checkpoint --to timm --out photos", "photos"),
    no("export-model checkpoint --to timm --out photos --overwrite", "photos"),
    no(
        "export-model checkpoint --to timm --out mine --overwrite",
        "mine",
        file("mine/README.md", "mine"),
        codes=EITHER,
        kept=("mine/README.md",),
    ),
    no(
        "export-model checkpoint --to timm --out mine --overwrite",
        "mine",
        file("mine/model.onnx", "mine"),
        codes=EITHER,
        kept=("mine/model.onnx",),
    ),
    no("export-model checkpoint --to timm --out checkpoint --overwrite", "checkpoint", codes=FAILED),
    no("export-model checkpoint --to timm --out table.csv", "table.csv"),
    no("export-model checkpoint --to timm --out s3://bucket/x", "s3:/ & bucket"),
]
PUSH = "push shards-parquet me/icons --dry-run"
PUSHES = [
    no(PUSH, "leak", link("shards-parquet/leak", "/etc/passwd"), codes=EITHER, check=silent_of("leak")),
    no(
        PUSH, "leak", link("shards-parquet/data/leak.parquet", "../../table.csv"), codes=EITHER, check=silent_of("leak")
    ),
    no(PUSH, "leak", link("shards-parquet/leak", "../photos"), codes=EITHER, check=silent_of("camera")),
    no(PUSH, "own.txt", file("shards-parquet/own.txt", "mine"), codes=EITHER, check=silent_of("own.txt")),
    no(PUSH, ".env", file("shards-parquet/.env", "TOKEN=1"), codes=EITHER, check=silent_of(".env")),
    no(PUSH, "README.md", link("shards-parquet/README.md", "../table.csv")),
    no(PUSH, "README.md", link("shards-parquet/README.md", "/etc/passwd"), check=silent_of("root")),
    no(PUSH, "sheet", file("shards-parquet/data/sheet2.png", "x"), codes=EITHER, check=silent_of("sheet2")),
    no(PUSH, "croissant.json", removed("shards-parquet/croissant.json")),
    no(PUSH, "croissant.json", file("shards-parquet/croissant.json", "{}"), codes=FAILED),
    no(PUSH, "README.md", removed("shards-parquet/README.md")),
    no("push photos me/icons --dry-run", "photos", file("photos/croissant.json", "{}"), file("photos/README.md", "x")),
    no("push table.csv me/icons --dry-run", "table.csv"),
    *(
        no(["push", EXPORTED, word], "name", check=silent_of("hf_"))
        for word in ("../x", "a/b/c", "", "a b", "a\x1b[31m/b", "me/" + LONG)
    ),
    no("push shards me/icons --dry-run", "shards"),
]
DATASETS = [  # generated datasets, damaged or edited
    *(
        no(f"{command} shards{more}", "manifest.json", file("shards/manifest.json", text), codes=FAILED)
        for command, more in (("verify", ""), ("export", " --to parquet --out new"), ("audit", ""))
        for text in (
            "",
            "[]",
            "3",
            "{",
            "{}",
            "null",
            '{"format": 1, "shards": 1, "shards": 2}',
            '{"a": NaN}',
            "[" * DEEP,
            b"\xff",
            "1" * 5000,
        )
    ),
    *(of_manifest(shards=value) for value in (-1, 1.5, "1", None, True, [], 10**9, 10**30)),
    *(
        of_manifest(class_ids=value)
        for value in (3, None, "ab", [], ["a"], [1, 2], ["a", "a"], {"a": 1}, [None, "a"], [["a"], "b"])
    ),
    *(
        no(
            "export shards --to parquet --out new",
            "manifest.json",
            changed_json("shards/manifest.json", genrobust_format=value),
            codes=FAILED,
        )
        for value in (0, 99, "1", None, True, [])
    ),
    *(
        no("export shards --to parquet --out new", "000000", make, codes=FAILED)
        for make in (
            flipped("shards/000000.parquet", 10),
            flipped("shards/000000.parquet", -10),
            file("shards/000000.parquet", ""),
            file("shards/000000.tar", ""),
            removed("shards/000000.tar"),
            flipped("shards/000000.tar", 700),
            link("shards/000000.tar", "/etc/passwd"),
            parquet("shards/000000.parquet", {"a": [1]}),
        )
    ),
    no("verify shards", "000000", flipped("shards/000000.json", 30), codes=(1,)),
    no("verify shards", "000000", flipped("shards/000000.parquet", 60), codes=(1,)),
    no("verify shards", "000000", flipped("shards/000000.tar", 700), codes=(1,)),
    no("verify shards", "shards", removed("shards/000000.parquet"), codes=(1,)),
    no("verify shards --repair", "manifest.json", removed("shards/manifest.json"), codes=FAILED),
    no("verify photos", "photos"),
    no("verify table.csv", "table.csv"),
]
GROUPS = {
    "names": NAMES,
    "yaml": YAML,
    "bounds": BOUNDS,
    "tars": TARS,
    "tables": TABLES,
    "trees": TREES,
    "checkpoints": CHECKPOINTS,
    "generators": GENERATORS,
    "effective-robustness": ER,
    "outputs": OUTPUTS,
    "exports": EXPORTS,
    "pushes": PUSHES,
    "datasets": DATASETS,
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of two classes, a generated dataset, its export, a classifier, a table and recipes."""
    import numpy as np
    import torch

    from genrobust.classifiers.checkpoints import CheckpointInfo
    from genrobust.classifiers.models import create_classifier, save_checkpoint
    from genrobust.data.shard_files import write_shard
    from genrobust.data.shards import begin_dataset, finish_dataset

    home = tmp_path_factory.mktemp("origin") / "home"
    for part, each in (("train", 4), ("test", 2), ("solid", 2)):
        for label, name in enumerate(CLASSES):
            for number in range(each):
                image(f"photos/{part}/{name}/{number}.png", 100 * label + number).run(home)
    begin_dataset(home / "shards", ABOUT)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    samples = [Sample(f"{CLASSES[i % 2]}-{i:06d}", i % 2, pixels[i]) for i in range(4)]
    write_shard(home / "shards", 0, samples, [])
    finish_dataset(home / "shards")
    torch.manual_seed(0)
    info = CheckpointInfo("test_resnet", {}, CLASSES, 32, {})
    save_checkpoint(home / "checkpoint", create_classifier("test_resnet", 2, 32), info)
    for name, text in (("table.csv", TABLE), ("own.yaml", OWN), ("l.txt", "camera\nclock\n"), ("small.yaml", SMALL)):
        file(name, text).run(home)
    file("../victim/report.html", "mine").run(home)
    file("../victim/.notes.part", "mine").run(home)
    done = CliRunner().invoke(app, ["export", str(home / "shards"), "--to", "parquet"])
    assert done.exit_code == 0, done.output
    return home.parent


SMALL = recipe("data: {source: pictograms}")


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """The runner takes as long to build the program's commands, for each test anew, as a command to fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command), raising=False)
        yield


@pytest.fixture
def home(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `origin`, in whose folder home commands run."""
    shutil.copytree(origin, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here" / "home")
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path / "copies"))
    return tmp_path / "here" / "home"


@contextmanager
def ending() -> Iterator[None]:
    """Fails where the block hangs, so that the other tests run."""

    def stop(*_: object) -> None:
        pytest.fail(f"it runs for more than {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def contents(folder: Path) -> dict[str, bytes | str | None]:
    """The bytes of the files in `folder` and below, and where links lead."""
    return {
        os.path.relpath(path, folder): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def cases() -> Iterator[object]:
    """Yield all mistakes; thorough are those that only repeat what a command has to name, without a check for harm."""
    for group, mistakes in GROUPS.items():
        named = set()
        for number, mistake in enumerate(mistakes):
            shown = " ".join(mistake.words)[:60].encode("ascii", "backslashreplace").decode()
            guard = (mistake.words[0], *mistake.named, mistake.codes)
            repeats = guard in named and mistake.check is Mistake.check and not mistake.kept
            named.add(guard)
            marks = [pytest.mark.thorough] if repeats else []
            yield pytest.param(mistake, id=f"{group} {number}: {shown}", marks=marks)


@pytest.mark.parametrize("mistake", cases())
def test_a_mistake_is_named_and_does_no_harm(mistake: Mistake, home: Path) -> None:
    ends = [end for make in mistake.makes if callable(end := make.run(home))]
    before = contents(home.parent)
    with ending():
        done = CliRunner().invoke(app, mistake.words)
    after = contents(home.parent)
    made = "; ".join(make.about for make in mistake.makes)
    shown = f"{mistake.line}, with {made}: exit code {done.exit_code}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    assert done.exception is None or isinstance(done.exception, SystemExit), f"{done.exception!r}\n{shown}"
    assert not re.search("^unexpected ", done.stderr, re.M) and "Traceback" not in done.output, shown
    assert not CONTROL.search(done.output), shown
    kept = before if done.exit_code else {os.path.normpath(Path(home.name) / name): b"" for name in mistake.kept}
    assert [name for name in kept if after.get(name, "gone") != before[name]] == [], shown
    mistake.check(home, done)
    assert done.exit_code in mistake.codes, shown
    if done.exit_code:
        said = " ".join(done.output.split())
        assert [word for word in mistake.named if word not in said] == [], shown
        if "Usage:" not in done.stderr:
            lines = done.stderr.splitlines()
            first = next(i for i, line in enumerate(lines) if line.startswith("error: "))
            assert len(lines) - first <= 3, shown
    for end in ends:
        end()
