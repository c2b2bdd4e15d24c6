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
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hostile_files import (
    GOOD,
    OWN,
    PICKLE,
    TABLE,
    Make,
    changed_checkpoint,
    fifo,
    file,
    image,
    link,
    member,
    png,
    recipe,
    tar,
    torch_file,
    yaml,
)
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.images import Sample

CLASSES = ("camera", "clock")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
Check = Callable[[Path, Result], object]
REFUSED, FAILED = (2,), (1, 2)
PREDICT = "predict checkpoint photos/test"


@dataclass(frozen=True)
class Mistake:
    """A command in the world of `home`, what its error names, and what is asked of it.

    Attributes:
        codes: Its exit codes that are right. With 0 it may change files.
        check: Looks for harm in the folder and in what was printed.
    """

    line: str | Sequence[str]
    named: Sequence[str]
    makes: Sequence[Make] = ()
    codes: tuple[int, ...] = REFUSED
    check: Check = lambda folder, done: None

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line) if isinstance(self.line, str) else list(self.line)


def row(line: str | Sequence[str], named: str, *makes: Make, **more: object) -> Mistake:
    return Mistake(line, named.split(" & ") if named else (), makes, **more)  # type: ignore[arg-type]


def of_data(named: str, *makes: Make, data: str = "x", **more: object) -> Mistake:
    """A command that opens the images at `data` as training images."""
    section = f"data={{source: folders, train: {data}, test: photos/test}}"
    return row(["show", "own.yaml", "--prompts", "1", "--set", section], named, *makes, **more)


def of_checkpoint(named: str, *makes: Make, codes: tuple[int, ...] = FAILED, **more: object) -> Mistake:
    return row(PREDICT, named, *makes, codes=codes, **{"check": no_nan, **more})


def of_generator(index: object, named: str, *makes: Make, **more: object) -> Mistake:
    text = index if isinstance(index, str | bytes) else json.dumps(index)
    words = "generate small.yaml --set generator.model=gen"
    return row(words, named, file("gen/model_index.json", text), *makes, **more)


ABOUT = {"shards": 1, "class_ids": ["camera", "clock"], "generator": "pictograms", "mode": "labels"}


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


def _require(fact: bool) -> None:
    assert fact


NAMES = [  # a name leaves its folder
    row(["run", "own.yaml", "--set", "name=../../victim"], "name"),
    row("run own.yaml --set name=victim/../../victim", "name"),
]
FILES = [  # links, pipes and programs in data; tests/fuzz changes bytes and members
    of_data(
        "x.tar & b",
        tar("x.tar", GOOD, member("b.png", kind=b"2", to="/etc/passwd"), member("b.cls", "camera")),
        data="x.tar",
    ),
    of_data("x.tar", tar("x.tar", GOOD, member("b.cls", "camera", size=2**40)), data="x.tar"),
    of_data("x.parquet", file("x.parquet", torch_file()), data="x.parquet", check=not_harmed),
    of_data("x/a/1.png", image("x/b/1.png"), file("x/a/2.png", png()), fifo("x/a/1.png"), data="x"),
    row("predict checkpoint x", "pixels", file("x/1.ppm", "P6 65536 65536 255\n"), codes=(1,)),
    row("predict checkpoint x", "1.png", link("x/1.png", "/etc/passwd"), codes=(1,), check=silent_of("root:")),
    row("predict checkpoint x", "", image(b"x/caf\xe9.png"), codes=(0,)),
    row("run r.yaml", "r.yaml", yaml("title: !!python/object/apply:os.system ['touch harmed']"), check=not_harmed),
]


def nan_weights(folder: Path) -> None:
    import torch

    from genrobust.classifiers.networks.checkpoint_info import CheckpointInfo
    from genrobust.classifiers.networks.classifier_network import create_classifier, save_checkpoint

    model = create_classifier("test_resnet", 2, 32)
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    save_checkpoint(folder / "checkpoint", model, CheckpointInfo("test_resnet", {}, CLASSES, 32, {}))


NAN = Make("weights that are NaN", nan_weights)
CODE = "open('harmed', 'w')\n\n\nclass Net:\n    pass\n"
MODELS = [  # programs as weights, and weights that are no numbers
    of_checkpoint("checkpoint", NAN),
    row("export checkpoint --to timm", "checkpoint", NAN, codes=FAILED),
    of_checkpoint("model.safetensors", file("checkpoint/model.safetensors", PICKLE), check=not_harmed),
    of_checkpoint("checkpoint", changed_checkpoint(architecture="hf-hub:a/b")),
    of_checkpoint("checkpoint", changed_checkpoint(model_kwargs={"checkpoint_path": "x"})),
    row("predict resnet18@w.pt photos/test", "w.pt", file("w.pt", torch_file()), codes=FAILED, check=not_harmed),
    of_generator({"_class_name": "os.system"}, "gen"),
    of_generator(
        {"_class_name": "StableDiffusionPipeline", "unet": ["own", "Net"]},
        "gen",
        file("gen/unet/own.py", CODE),
        check=not_harmed,
    ),
    row("generate small.yaml --set generator.model=http://example.com/x", "generator.model"),
    row("generate small.yaml --set generator.lora=x.bin", "x.bin", file("x.bin", PICKLE), check=not_harmed),
]
JSON = "effective-robustness --id clean --shift shifted table.csv --json"
TARGET = (file("target.json", "{}"), link("link.json", "target.json"))
OUTPUTS = [  # devices, pipes, links, folders and inputs as outputs
    row(f"{JSON} pipe --overwrite", "pipe", fifo("pipe"), check=still_a_pipe("pipe")),
    row(f"{JSON} link.json", "link.json", *TARGET, check=still_a_link("link.json")),
    row(f"{JSON} link.json --overwrite", "link.json", *TARGET, codes=(0,), check=still_a_link("link.json")),
    row(f"{JSON} table.csv --overwrite", "table.csv & input"),
    row("export shards --to parquet --out /", "--out"),
    row("run own.yaml --out photos/train", "photos/train & data.train"),
    row("predict own.yaml:real photos/test --runs photos/solid", "photos/solid & shifts.solid"),
    row("show own.yaml --out blockcache::foo://x", "blockcache::foo://x"),
]
MISTAKES = [*NAMES, *FILES, *MODELS, *OUTPUTS]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of two classes, a generated dataset, a classifier, a table and recipes."""
    import numpy as np
    import torch

    from genrobust.classifiers.networks.checkpoint_info import CheckpointInfo
    from genrobust.classifiers.networks.classifier_network import create_classifier, save_checkpoint
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
    return home.parent


SMALL = recipe("data: {source: pictograms}")


@pytest.fixture
def home(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `origin`, in whose folder home commands run."""
    shutil.copytree(origin, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here" / "home")
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path / "copies"))
    return tmp_path / "here" / "home"


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


@pytest.mark.parametrize("mistake", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_and_does_no_harm(mistake: Mistake, home: Path) -> None:
    ends = [end for make in mistake.makes if callable(end := make.run(home))]
    before = contents(home.parent)
    done = CliRunner().invoke(app, mistake.words)
    after = contents(home.parent)
    made = "; ".join(make.about for make in mistake.makes)
    shown = f"{mistake.line}, with {made}: exit code {done.exit_code}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    assert done.exception is None or isinstance(done.exception, SystemExit), f"{done.exception!r}\n{shown}"
    assert not re.search("^unexpected ", done.stderr, re.M) and "Traceback" not in done.output, shown
    assert not CONTROL.search(done.output), shown
    if done.exit_code:
        assert [name for name in before if after.get(name, "gone") != before[name]] == [], shown
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
