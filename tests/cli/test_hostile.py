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
from typing import Any

import pytest
import typer
from hostile_files import (
    DEEP,
    GOOD,
    OWN,
    PICKLE,
    TABLE,
    Make,
    changed_checkpoint,
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

CLASSES = ("camera", "clock")
HANGS_S = 300  # of one command; the slowest takes some seconds, on a busy machine more
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
Check = Callable[[Path, Result], object]
REFUSED, EITHER, FAILED = (2,), (0, 2), (1, 2)
INIT = "init --train photos/train --test photos/test"
PREDICT = "predict checkpoint photos/test"
BENCHMARK = "benchmark --models checkpoint --on shards --real photos/test"


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


def row(line: str | Sequence[str], named: str, *makes: Make, **more: object) -> Mistake:
    return Mistake(line, named.split(" & ") if named else (), makes, **more)  # type: ignore[arg-type]


def of_recipe(changes: str, named: str, **more: object) -> Mistake:
    return row("show r.yaml --yaml", named, yaml(changes), **more)


def of_text(text: str | bytes, named: str = "r.yaml", **more: object) -> Mistake:
    return row("show r.yaml --yaml", named, file("r.yaml", text), **more)


def of_data(named: str, *makes: Make, data: str = "x", **more: object) -> Mistake:
    """A command that opens the images at `data` as training images."""
    section = f"data={{source: folders, train: {data}, test: {data}}}"
    return row(["show", "own.yaml", "--prompts", "--set", section], named, *makes, **more)


def of_checkpoint(named: str, *makes: Make, codes: tuple[int, ...] = FAILED, **more: object) -> Mistake:
    return row(PREDICT, named, *makes, codes=codes, **{"check": no_nan, **more})


def of_checkpoint_labels(text: str, **more: object) -> Mistake:
    return row(f"{PREDICT} --labels l.txt", "l.txt", file("l.txt", text), **more)


def of_labels(labels: list[Any], named: str, names: Any = CLASSES, **more: object) -> Mistake:
    table = parquet("x.parquet", {"image": images_column(), "label": labels}, names)
    return of_data(named, table, data="x.parquet", **more)


def of_shifts(shifts: str, **more: object) -> Mistake:
    section = f"data: {{source: folders, train: photos/train, test: photos/test, shifts: {{{shifts}}}}}"
    return row("show r.yaml --prompts", "shifts", yaml(section), **more)


def of_generator(index: object, named: str, *makes: Make, **more: object) -> Mistake:
    text = index if isinstance(index, str | bytes) else json.dumps(index)
    words = "generate small.yaml --set generator.model=gen"
    return row(words, named, file("gen/model_index.json", text), *makes, **more)


ABOUT = {"shards": 1, "class_ids": ["camera", "clock"], "generator": "pictograms", "mode": "labels"}


def of_manifest(**changes: object) -> Mistake:
    changed = changed_json("shards/manifest.json", about={**ABOUT, **changes})
    return row(f"{EXPORT} --out new", "shards", changed, codes=FAILED)


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


def once_at_most(name: str) -> Check:
    return lambda folder, done: _require(done.stdout.count(name) <= 1)


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
NAMES = [  # a name leaves its folder, or two names share a file; tests/recipe/test_names.py has names of all sorts
    of_recipe("name: ../../victim", "name"),
    of_recipe(r'name: "a\e[31mb"', "name"),
    row(["run", "own.yaml", "--set", "name=../../victim"], "name", kept=VICTIM),
    row("run own.yaml --set name=victim/../../victim", "name", kept=VICTIM),
    of_shifts("Sketch: photos/solid, sketch: photos/solid", codes=EITHER),
    of_shifts('"caf\\u00e9": photos/solid, "cafe\\u0301": photos/solid', codes=EITHER),
    of_shifts("test: photos/solid"),
    of_shifts('"a\\0b": photos/solid'),
    row(
        "show own.yaml --prompts",
        "ice-cream",
        image("photos/train/Ice Cream/1.png"),
        image("photos/train/ice-cream/1.png"),
    ),
    row("audit shards --test x=photos/test --test x=photos/solid", "--test"),
    row("benchmark --models a=checkpoint --models a=checkpoint --on shards --real photos/test", "checkpoint"),
    row(f"{BENCHMARK} --labels checkpoint=l.txt --labels checkpoint=l.txt", "--labels"),
]
YAML = [  # tests/fuzz changes the bytes and values of recipes, and the words after --set
    of_text(OWN + "name: again\n", "name & r.yaml"),
    row(["show", "own.yaml", "--set", "train={steps: 1, steps: 2}"], "steps"),
    of_recipe(f"data_seed: {'1' * 5000}", "r.yaml"),
    of_text("[" * DEEP),
    of_text("".join(f"{' ' * i}a:\n" for i in range(3000))),
    row(["show", "own.yaml", "--set", f"train={'[' * 3000}{']' * 3000}"], "--set"),
    of_text(BOMB + "name: *a9\narms: [{name: real, mixture: real}]\n"),
    of_recipe("train: &t {model_kwargs: *t}", "r.yaml"),
    of_text(OWN + "title: a\0b\n"),
    of_recipe(r'title: "\e]0;x\a"', "title", codes=EITHER),
    of_text(OWN.encode() + "title: caf\u00e9".encode("latin-1")),
    of_text(""),
    of_text(f"{OWN}---\n{OWN}"),
    of_recipe("title: !!python/object/apply:os.system ['touch harmed']", "r.yaml", check=not_harmed),
    of_recipe("train: {{a: 1}: 3}", "r.yaml"),
    row(["show", "own.yaml", "--set", "arms.-1.name=x"], "arms.-1.name"),
    row("show r.yaml --quick", "quick", yaml("quick: 3")),
    of_recipe("sweep: [{over: {a: [x, x]}, arm: {name: '{a}', mixture: real}}]", "sweep"),
    of_recipe("sweep: [{over: {a: [1]}, arm: {name: '{a', mixture: real}}]", "sweep"),
    of_recipe(MILLION, "sweep"),
    of_recipe("\n".join(f"unknown{i}: 1" for i in range(50)), "unknown"),
    row(
        ["show", "own.yaml", "--yaml", "--set", f"seeds=[{', '.join(map(str, range(20_000)))}]"], "seeds", codes=EITHER
    ),
    row("show dir.yaml", "dir.yaml", file("dir.yaml/x", "")),
    row("show loop.yaml", "loop.yaml", link("loop.yaml", "loop.yaml")),
    row(["show", f"{LONG}.yaml"], LONG[:20]),
    row(["show", os.fsdecode(b"caf\xe9.yaml")], "caf"),
]
TARS = [  # tests/fuzz changes bytes and members
    of_data("x.tar", file("x.tar", ""), data="x.tar"),
    of_data("x.tar", file("x.tar", GOOD[:-700]), data="x.tar"),
    of_data("x.tar & a0", tar("x.tar", GOOD, pair("a0", "clock")), data="x.tar"),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png())), data="x.tar"),
    of_data(
        "x.tar & b",
        tar("x.tar", GOOD, member("b.png", kind=b"2", to="/etc/passwd"), member("b.cls", "camera")),
        data="x.tar",
    ),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.cls", b"\xff\xfe")), data="x.tar"),
    of_data("x.tar & b", tar("x.tar", GOOD, member("b.png", png()), member("b.json", "[" * DEEP)), data="x.tar"),
    of_data("x.tar", tar("x.tar", GOOD, member("b.cls", "camera", size=2**40)), data="x.tar"),
    of_data("x.tar", tar("x.tar", GOOD, pair("b", "a\x1b[31m")), data="x.tar", codes=EITHER),
    of_data("none", data="none-*.tar"),
]
TABLES = [  # parquet files and saved datasets
    of_data("x.parquet", file("x.parquet", torch_file()), data="x.parquet", check=not_harmed),
    of_data("label", parquet("x.parquet", {"image": images_column()}), data="x.parquet"),
    of_labels([0, 1, None, 1], "x.parquet & label"),
    of_labels([0, 1, 10**12, 0], "x.parquet & label"),
    of_labels([0, 1] * 2, "x.parquet", ["a", "a"]),
    of_labels([0, 1] * 2, "x.parquet", ["a\x1b[31m", "b"], codes=EITHER),
    of_labels([0, 1] * 2, "", b"[" * DEEP, codes=EITHER),
    of_data("saved", file("saved/state.json", "[" * DEEP), data="saved"),
    of_data("saved", file("saved/state.json", '{"_data_files": [{"filename": "/etc/passwd"}]}'), data="saved"),
    of_data("saved", file("saved/dataset_dict.json", "{}"), data="saved"),
]
TREES = [  # folders of images; tests/fuzz/test_trees.py makes many
    of_data("x", file("x/readme.txt", "x"), data="x"),
    of_data("x", file("x", "a file"), data="x"),
    of_data("loose", image("x/a/1.png"), image("x/loose.png"), data="x"),
    of_data("0.png", file("x/a/0.png", ""), image("x/b/0.png"), data="x"),
    of_data("x", link("x", "x"), data="x"),
    of_data("x/a/1.png", image("x/b/1.png"), file("x/a/2.png", png()), fifo("x/a/1.png"), data="x"),
    of_data("", data="http://example.com/x"),
    row("show own.yaml --prompts --set data.test=photos/train/camera", "camera"),
    row(
        "show own.yaml --prompts --set data.generated=mine",
        "no prompts",
        image("mine/camera/1.png"),
        image("mine/clock/1.png", 9),
    ),
    row(["show", "own.yaml", "--prompts", "--set", "data.class_names={none: x}"], "none"),
    row(["show", "own.yaml", "--prompts", "--set", "data.class_names={camera: clock}"], "clock"),
    row("predict checkpoint x", "1.jpg", file("x/1.jpg", png()[:60]), codes=(1,)),
    row("predict checkpoint x", ".heic", file("x/1.heic", "text"), image("x/2.png"), codes=(1,)),
    row("predict checkpoint x", "pixels", file("x/1.ppm", "P6 65536 65536 255\n"), codes=(1,)),
    row("predict checkpoint x", "1.png", link("x/1.png", "/etc/passwd"), codes=(1,), check=silent_of("root:")),
    row(
        "predict checkpoint x",
        "",
        *(image(f"x/{name}") for name in ("=1+1.png", "+1.png", "-1.png", "@x.png", "\tx.png")),
        codes=(0,),
        check=no_formula,
    ),
    row("predict checkpoint x", "", image(b"x/caf\xe9.png"), codes=(0,)),
    row("predict checkpoint x", "", image("x/1.png"), link("x/loop", "."), codes=EITHER, check=once_at_most("1.png")),
    row(INIT, "camera", link("photos/train/camera/loop", ".."), codes=EITHER, check=silent_of("200")),
    row("audit x", "classes", image("x/a/1.png"), image("x/a/2.png")),
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
    row("filter shards --by classifier --classifier checkpoint --drop 0.5", "checkpoint", NAN, codes=FAILED),
    row(BENCHMARK, "checkpoint", NAN, codes=FAILED),
    row("export checkpoint --to timm", "checkpoint", NAN, codes=FAILED),
    of_checkpoint("checkpoint", removed("checkpoint/model.safetensors")),
    of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", PICKLE), check=not_harmed),
    of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", safetensors({}))),
    of_checkpoint("manifest.json", file("checkpoint/manifest.json", "[" * DEEP)),
    of_checkpoint("checkpoint", changed_checkpoint(architecture="hf-hub:a/b")),
    of_checkpoint("checkpoint", changed_checkpoint(classes=["camera", "camera"])),
    of_checkpoint("checkpoint", changed_checkpoint(model_kwargs={"checkpoint_path": "x"})),
    of_checkpoint("checkpoint", changed_checkpoint(model_kwargs={"channels": [10**9] * 4})),
    row("predict none/ photos/test", "none/", codes=FAILED),
    row("predict resnet18@none.pt photos/test", "none.pt", codes=FAILED),
    row("predict photos/train photos/test", "photos/train", codes=FAILED),
    row("predict local-dir:timm photos/test", "timm", file("timm/config.json", "[" * DEEP), codes=FAILED),
    row("predict resnet18@w.pt photos/test", "w.pt", file("w.pt", torch_file()), codes=FAILED, check=not_harmed),
    row("predict m.onnx photos/test", "m.onnx", file("m.onnx", "no model"), codes=FAILED),
    of_checkpoint_labels(""),
    of_checkpoint_labels("camera\nclock\nx\n"),
    of_checkpoint_labels("=1+1\n@SUM(A1)\n", codes=EITHER, check=no_formula),
    row("export checkpoint --to timm --license 'a\nb'", "--license"),
]
PROMPTS = "show small.yaml --prompts --set generate.prompts.strategy=list --set generate.prompts.file"
CODE = "open('harmed', 'w')\n\n\nclass Net:\n    pass\n"
GENERATORS = [
    of_generator({"_class_name": "os.system"}, "gen"),
    of_generator({"_class_name": "StableDiffusionPipeline", "unet": ["os", "system"], "vae": 3}, "gen"),
    of_generator(
        {"_class_name": "StableDiffusionPipeline", "unet": ["own", "Net"]},
        "gen",
        file("gen/unet/own.py", CODE),
        check=not_harmed,
    ),
    of_generator("[" * DEEP, "gen"),
    *(
        row(["generate", "small.yaml", "--set", f"generator.model={value}"], "generator.model")
        for value in ("http://example.com/x", "../none", '"a\\0b"', LONG)
    ),
    row("generate small.yaml --set generator.engine=nothing", "nothing"),
    row("generate small.yaml --set generator.lora=x.bin", "x.bin", file("x.bin", PICKLE), check=not_harmed),
    row(f"{PROMPTS}=p.json", "p.json", file("p.json", '{"airplane": ["a"], "airplane": ["b"]}')),
    row(f"{PROMPTS}=p.txt", "p.txt", file("p.txt", "a {}\nno slot\n")),
    row(["show", "small.yaml", "--prompts", "--set", "generate.prompts.templates=['{} {}']"], "templates"),
]
JSON = "effective-robustness --id clean --shift shifted table.csv --json"
TARGET = (file("target.json", "{}"), link("link.json", "target.json"))
OUTPUTS = [  # devices, pipes, links, folders and inputs as outputs
    row(f"{JSON} pipe", "", fifo("pipe"), codes=(0,), check=still_a_pipe("pipe")),
    row(f"{PREDICT} --out pipe.csv", "", fifo("pipe.csv"), codes=(0,), check=still_a_pipe("pipe.csv")),
    row(f"{JSON} link.json", "link.json", *TARGET, check=still_a_link("link.json")),
    row(f"{JSON} link.json --overwrite", "link.json", *TARGET, codes=(0,), check=still_a_link("link.json")),
    row(f"{JSON} loop.json", "loop.json", link("loop.json", "loop.json"), codes=FAILED),
    row(f"{JSON} photos/test/camera/0.png --overwrite", "0.png & .json"),
    row(f"{PREDICT} --out table.csv", "table.csv & --overwrite"),
    row(f"{JSON} table.csv --overwrite", "table.csv & input"),
    row(f"{JSON} ./photos/../table.csv", "table.csv"),
    row(f"{JSON} photos", "photos"),
    row(f"{JSON} table.csv/x.json", "table.csv"),
    row(f"{JSON} s3://bucket/x.json", "s3:/ & bucket"),
    row(f"{PREDICT} --out photos/test/camera/0.png --overwrite", "0.png & .csv"),
    row(f"{INIT} --recipe own.yaml", "own.yaml"),
    row(f"{INIT} --recipe x.txt", "x.txt"),
    row(f"{INIT} --recipe dir.yaml --overwrite", "dir.yaml", file("dir.yaml/x", ""), codes=FAILED),
    row("audit shards --out table.csv", "table.csv"),
    row(f"{BENCHMARK} --out table.csv", "table.csv"),
    row("benchmark --models checkpoint --on photos/test --real photos/../photos/test", "--real & photos/test"),
    row("run own.yaml --out table.csv", "table.csv"),
    row("run own.yaml --out photos/train", "photos/train & data.train"),
    row("show own.yaml --out photos/test/camera/x", "photos/test & data.test"),
    row("predict own.yaml:real photos/test --runs photos/solid", "photos/solid & shifts.solid"),
    row("train train.yaml --out photos", "photos/train & data.train", file("train.yaml", OWN.replace("own", "train"))),
    row(
        "train own.yaml --set data.train=linked --out photos/train",
        "linked & data.train",
        link("linked/camera", "../photos/train/camera"),
        link("linked/clock", "../photos/train/clock"),
    ),
    *(row(["show", "own.yaml", "--out", url], url) for url in ("s3x://b/r", "python://os", "blockcache::foo://x")),
    row("doctor --out http://example.com/x", "URL"),
]
EXPORTED, EXPORT = "shards-parquet", "export shards --to parquet"
EXPORTS = [
    row(f"{EXPORT} --out photos", "photos"),
    row(f"{EXPORT} --out photos --overwrite", "photos", file("photos/README.md", "{}")),
    row(
        f"{EXPORT} --out foreign --overwrite", "foreign", moved(EXPORTED, "foreign"), moved("photos", "foreign/photos")
    ),
    *(
        row(
            f"{EXPORT} --overwrite",
            name,
            file(f"{EXPORTED}/{name}", "mine"),
            codes=EITHER,
            kept=(f"{EXPORTED}/{name}",),
        )
        for name in ("own.txt", "README.md")
    ),
    row(
        f"{EXPORT} --overwrite",
        "out",
        link(f"{EXPORTED}/out", "../photos"),
        codes=EITHER,
        kept=("photos/train/camera/0.png",),
    ),
    row(
        f"{EXPORT} --out new",
        "",
        file(".new.part/x", "mine"),
        file(".new.old/x", "mine"),
        codes=EITHER,
        kept=(".new.part/x", ".new.old/x"),
    ),
    row(EXPORT, "--overwrite"),
    row(f"{EXPORT} --out shards/x", "--out"),
    row(f"{EXPORT} --out /", "--out"),
    row(f"{EXPORT} --out table.csv --overwrite", "table.csv"),
    row(f"{EXPORT} --out s3://bucket/x", "s3:/ & bucket"),
    row(f"{EXPORT} --out link --overwrite", "", link("link", EXPORTED), codes=EITHER, check=still_a_link("link")),
    row(f"{EXPORT} --out new --license '../x'", "--license"),
    row(f"{EXPORT} --out new --audit a.json", "a.json", file("a.json", "[" * DEEP), codes=FAILED),
    row(f"{EXPORT} --out new --filter f.parquet", "f.parquet", file("f.parquet", b"\xff" * 64), codes=FAILED),
    row("export photos --to parquet", "photos"),
    row(
        "export checkpoint --to timm --out mine --overwrite",
        "mine",
        file("mine/README.md", "mine"),
        codes=EITHER,
        kept=("mine/README.md",),
    ),
    row("export checkpoint --to timm --out checkpoint --overwrite", "checkpoint", codes=FAILED),
]
PUSH = f"export {EXPORTED} --push me/icons"
PUSHES = [
    row(PUSH, "leak", link(f"{EXPORTED}/leak", "/etc/passwd"), codes=EITHER, check=silent_of("leak")),
    row(PUSH, "leak", link(f"{EXPORTED}/leak", "../photos"), codes=EITHER, check=silent_of("camera")),
    row(PUSH, ".env", file(f"{EXPORTED}/.env", "TOKEN=1"), codes=EITHER, check=silent_of(".env")),
    row(PUSH, "README.md", link(f"{EXPORTED}/README.md", "/etc/passwd"), check=silent_of("root")),
    row(PUSH, "README.md", removed(f"{EXPORTED}/README.md")),
    row("export table.csv --push me/icons", "table.csv"),
    row(PUSH.replace("me/icons", "'my icons/x y'"), "'my icons/x y'"),
    *(
        row(["export", EXPORTED, "--push", word], "name", check=silent_of("hf_"))
        for word in ("../x", "a\x1b[31m/b", "me/" + LONG)
    ),
    row("export shards --push me/icons", "shards"),
]
DATASETS = [  # generated datasets, damaged or edited
    *(
        row(command, "manifest.json", file("shards/manifest.json", "[" * DEEP), codes=FAILED)
        for command in ("verify shards", f"{EXPORT} --out new", "audit shards")
    ),
    *(of_manifest(shards=value) for value in (-1, "1", 10**9)),
    *(of_manifest(class_ids=value) for value in (None, ["a"], ["a", "a"])),
    row(f"{EXPORT} --out new", "000000", flipped("shards/000000.tar", 700), codes=FAILED),
    row(f"{EXPORT} --out new", "000000", link("shards/000000.tar", "/etc/passwd"), codes=FAILED),
    row("verify shards", "000000", flipped("shards/000000.json", 30), codes=(1,)),
    row("verify shards", "000000", flipped("shards/000000.parquet", 60), codes=(1,)),
    row("verify shards", "000000", flipped("shards/000000.tar", 700), codes=(1,)),
    row("verify shards", "shards", removed("shards/000000.parquet"), codes=(1,)),
    row("verify shards --repair", "manifest.json", removed("shards/manifest.json"), codes=FAILED),
    row("verify photos", "photos"),
]
GROUPS = {
    "names": NAMES,
    "yaml": YAML,
    "tars": TARS,
    "tables": TABLES,
    "trees": TREES,
    "checkpoints": CHECKPOINTS,
    "generators": GENERATORS,
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
    for first, (part, each) in enumerate((("train", 4), ("test", 2), ("solid", 2))):
        for label, name in enumerate(CLASSES):
            for number in range(each):  # no two are alike: a copy would be left out of a test set
                image(f"photos/{part}/{name}/{number}.png", 100 * label + 10 * first + number).run(home)
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
    for group, mistakes in GROUPS.items():
        for number, mistake in enumerate(mistakes):
            shown = " ".join(mistake.words)[:60].encode("ascii", "backslashreplace").decode()
            yield pytest.param(mistake, id=f"{group} {number}: {shown}")


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
