"""What docs/contributing.md shows, installed by pip as a package of a third party: genrobust does not change."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from genrobust.core import StudyData

PAGE = (Path(__file__).parents[1] / "docs" / "contributing.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->.*?^```python\n(.*?)^```$", PAGE, flags=re.M | re.S))
(PROJECT,) = re.findall(r"^```text\n(\[project\].*?)^```$", PAGE, flags=re.M | re.S)
BUILD = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
include = ["my_plugin.py"]
"""
CLASSES = 3


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python in which the package of the page's examples is installed."""
    site, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source")
    (source / "my_plugin.py").write_text("\n\n".join(EXAMPLES.values()))
    (source / "pyproject.toml").write_text(PROJECT + BUILD)
    words = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "COLUMNS": "200"}


ONE_BY_ONE = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from genrobust.cli import main
answers = []
for words in json.load(sys.stdin):
    sys.argv = ["genrobust", *words]
    with redirect_stdout(StringIO()) as stdout, redirect_stderr(StringIO()) as stderr:
        try:
            main()
        except SystemExit as ended:
            answers.append([ended.code or 0, stdout.getvalue(), stderr.getvalue()])
print(json.dumps(answers))
"""


Answer = tuple[int, str, str]  # the exit code, the output and the errors of a command


@pytest.fixture(scope="module")
def recipe(pictogram_data: StudyData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that names one of each kind, with its own keys, beside class folders of three domains."""
    root, ids = tmp_path_factory.mktemp("study"), pictogram_data.labels.ids[:CLASSES]
    tests = pictogram_data.tests
    for domain, images in {"train": pictogram_data.train, "test": tests["test"], "solid": tests["solid"]}.items():
        for label, id in enumerate(ids):
            folder = root / "domains" / domain / id
            folder.mkdir(parents=True)
            for i in np.flatnonzero(images.labels == label)[:4]:
                images.image(int(i)).save(folder / f"{i}.png")
    domains = root / "domains"
    folders = {"train": domains / "train", "test": domains / "test"}
    styled = {"engine": "diffusers", "model": "pictograms", "mode": "labels+style", "style": "in ink", "steps": 1}
    values = {
        "name": "plugged",
        "device": "cpu",
        "threads": 1,
        "data": {
            "source": "folders",
            **{key: str(path) for key, path in folders.items()},
            "shifts": {"mine": {"kind": "domains", "path": str(domains), "only": ["solid"]}},
        },
        "generator": {"engine": "squares", "model": "squares", "side": 24},
        "generate": {"per_class": 2},
        "datasets": {"styled": {"generator": {**styled, "scheduler": "ddim", "dtype": "float32"}}},
        "train": {"architecture": "test_resnet", "image_size": 32, "steps": 2, "batch_size": 4, "warmup_steps": 0}
        | {"precision": "float32", "augmentation": {"name": "inverted", "share": 0.2}},
        "evaluate": {"min_images": 1},
        "robustness": {"baselines": None, "bootstrap": 100},
        "arms": [
            {"name": "real", "mixture": "real"},
            {"name": "generated", "mixture": ["generated", "styled"]},
            {"name": "biased", "mixture": "real", "train": {"init": "arm:real", "method": "biases"}},
        ],
    }
    path = root / "plugged.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


LISTED = {
    "generator.engine": "squares",
    "generator.mode": "labels+style",
    "data.shifts.NAME.kind": "domains",
    "train.augmentation": "inverted",
    "train.method": "biases",
    "--metric, claims.N.metric": "brier",
    "execute.executor": "announced",
}
MISTAKES = [
    ("generator.engine=circles", "generator.engine: .*squares"),
    ("generator.sides=3", r"generator\.sides; did you mean side\?"),
    ("generator.style=ink", r"generator\.style: .*mode labels\+style, not to engine squares"),
    ("data.shifts.mine.kind=domain", r"data\.shifts\.mine\.kind: .*domains"),
    ("data.shifts.mine.map=paper", r"data\.shifts\.mine\.map: .*kind objectnet, not to kind domains"),
    ("train.augmentation.shares=1", r"train\.augmentation\.shares; did you mean share\?"),
    ("train.method=bias", r"train\.method: .*biases"),
]


@pytest.fixture(scope="module")
def answers(installed: dict[str, str], recipe: Path) -> dict[str, list[Answer]]:
    """What commands answer, all of them in one process: it takes seconds to load what they need."""
    out = recipe.parent / "runs"
    studied = [str(recipe), "--out", str(out)]
    copied = [f"{recipe}:generated", "--runs", str(out), "--out", str(recipe.parent / "sizes")]
    commands = {
        "list": [["list"]],
        "show": [["show", str(recipe), "--set", change] for change, _ in MISTAKES],
        "study": [
            ["run", *studied, "--executor", "announced"],
            ["evaluate", *studied, "--metric", "brier"],
            ["export", *copied, "--to", "sizes"],
            ["styles", *copied[:3]],
        ],
    }
    words = json.dumps([command for some in commands.values() for command in some])
    process = [sys.executable, "-c", ONE_BY_ONE]
    done = subprocess.run(process, input=words, env=installed, stdout=subprocess.PIPE, text=True, check=True)
    answers = (tuple(answer) for answer in json.loads(done.stdout))
    return {name: [next(answers) for _ in some] for name, some in commands.items()}


def test_a_study_uses_one_of_each_kind(answers: dict[str, list[Answer]], recipe: Path) -> None:
    out = recipe.parent / "runs"
    (code, stdout, stderr), evaluated, exported, counted = answers["study"]
    assert code == 0, stderr
    assert re.search(r"^.+: \d+ jobs, \d+ ", stdout, flags=re.M)
    report = out / "plugged"
    rows = [row for row in csv.DictReader((report / "results.csv").open()) if row["metric"] == "brier"]
    assert {(row["arm"], row["test_set"]) for row in rows} >= {("biased", "mine-solid"), ("generated", "test")}
    assert all(0 <= float(row["value"]) <= 2 for row in rows if not row["minus"])
    assert "Brier score" in (report / "report.html").read_text()
    for name in ("report.html", "report.md"):
        assert "What the reference confuses" in (report / name).read_text()
    manifests = [json.loads(path.read_text()) for path in (out / "generated").glob("*/manifest.json")]
    assert {"squares", "diffusers"} == {json.dumps(of).split('"engine": "')[1].split('"')[0] for of in manifests}
    (name,) = re.findall(r'^name = "(.+)"', PROJECT, flags=re.M)
    made = [*manifests, *(json.loads(path.read_text()) for path in (out / "checkpoints").glob("*/manifest.json"))]
    assert all(name in manifest["made_by"] and manifest["inputs"]["plugins"] for manifest in made)
    assert '"side": 24' in json.dumps(manifests) and '"style": "in ink"' in json.dumps(manifests)

    code, stdout, stderr = evaluated
    assert code == 0 and "Brier score" in stdout and "mine-solid" in stdout, stderr
    assert exported[0] == 0, exported
    sizes = (recipe.parent / "sizes" / "train.txt").read_text().split()
    assert len(sizes) == 2 * CLASSES and all(0 < int(size) < 64 * 1024 for size in sizes)
    code, stdout, stderr = counted
    assert code == 0 and sum(int(line.split()[0]) for line in stdout.splitlines()) == len(sizes), stderr


def test_each_is_listed_by_where_it_is_named(answers: dict[str, list[Answer]]) -> None:
    ((code, stdout, stderr),) = answers["list"]
    assert code == 0, stderr
    named = dict(line.split(": ", 1) for line in stdout.splitlines() if ": " in line)
    assert all(name in named[where].split(", ") for where, name in LISTED.items())


def test_a_mistake_names_the_key_and_whose_it_is(answers: dict[str, list[Answer]]) -> None:
    for (_, named), (code, _, stderr) in zip(MISTAKES, answers["show"], strict=True):
        assert code == 2 and re.search(named, " ".join(stderr.split())), stderr


GROUPS = [*re.findall(r'^"genrobust\.(\w+)" = ', PROJECT, flags=re.M), "sources"]
PLAIN = {"generator": {}, "datasets": {}, "train": {"architecture": "test_resnet", "image_size": 32, "steps": 1}}
NEEDED = {  # the words of a command that needs a member, and what its error names
    "engines": ("show --set generator.engine=broken", "generator.engine"),
    "modes": ("show --set generator.mode=broken", "generator.mode"),
    "readers": ("show --set data.shifts.mine.kind=broken", "data.shifts.mine.kind"),
    "sources": ("show --set data.source=broken", "data.source"),
    "augmentations": ("show --set train.augmentation=broken", "train.augmentation"),
    "methods": ("show --set train.method=broken", "train.method"),
    "executors": ("run --set execute.executor=broken", "execute.executor"),
    "metrics": ("run --set 'claims=[{says: it, arm: again, than: real, metric: broken}]'", "claims.0.metric"),
    "formats": ("export --to broken", "--to 'broken'"),
    "commands": ("broken", "command 'broken'"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python with a package that offers a member of each kind and cannot be imported."""
    site = tmp_path_factory.mktemp("broken")
    (site / "broken_plugin.py").write_text("import no_such_library\n")
    about = site / "broken_plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    points = [f"[genrobust.{group}]\nbroken = broken_plugin:{group}\n" for group in [*GROUPS, "metric"]]
    (about / "entry_points.txt").write_text("\n".join(points))
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "COLUMNS": "200"}


def test_a_plugin_that_cannot_be_imported_stops_only_what_needs_it(broken: dict[str, str], recipe: Path) -> None:
    """Each command reports every broken member once, and no job runs if the recipe needs one."""
    plain = recipe.with_name("plain.yaml")
    values = yaml.safe_load(recipe.read_text())
    shifts = {"mine": {"path": str(recipe.with_name("domains") / "solid")}}
    arms = [{"name": "real", "mixture": "real"}, {"name": "again", "mixture": "real", "train": {"steps": 2}}]
    data = values["data"] | {"shifts": shifts}
    plain.write_text(yaml.safe_dump(values | PLAIN | {"name": "plain", "data": data, "arms": arms}))

    out = recipe.parent / "broken-runs"
    commands = {
        "help": ["--help"],
        "run": ["run", str(plain), "--out", str(recipe.parent / "plain-runs")],
        **{group: _words(command, plain, out) for group, (command, _) in NEEDED.items()},
    }
    done = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE],
        input=json.dumps(list(commands.values())),
        env=broken,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answers = dict(zip(commands, map(tuple, json.loads(done.stdout)), strict=True))
    assert answers["help"][0] == 0

    code, _, stderr = answers["run"]
    assert code == 0, stderr
    assert (recipe.parent / "plain-runs" / "plain" / "report.html").is_file()
    warnings = [line for line in stderr.splitlines() if line.startswith("ignored: ")]
    (misspelled,) = [line for line in warnings if "'genrobust.metric'" in line]
    assert "broken-plugin" in misspelled and "metrics" in misspelled
    warnings.remove(misspelled)
    assert len(warnings) == len(GROUPS)
    assert all("broken-plugin" in line and "no_such_library" in line for line in warnings)

    for group, (_, named) in NEEDED.items():
        code, _, stderr = answers[group]
        (error,) = [line for line in stderr.splitlines() if "error: " in line]
        assert code == 2 and named in error and "broken-plugin" in error and "no_such_library" in error
    # A census of the images is no job.
    assert {path.parents[1].name for path in out.rglob("manifest.json")} <= {"census"}


def _words(command: str, recipe: Path, out: Path) -> list[str]:
    """Return the words of a command about `recipe` that writes to `out`."""
    name, *options = shlex.split(command)
    if name == "broken":
        return [name, "--with", "an option"]
    if name == "export":
        return [name, str(recipe.with_name("domains")), *options, "--out", str(out)]
    return [name, str(recipe), *options, "--out", str(out)]


def test_the_folders_and_groups_of_what_can_be_added_exist() -> None:
    source = Path(__file__).parents[1] / "src" / "genrobust"
    folders = set(re.findall(r"^\| .*? \| `([\w/]+)/NAME\.py`", PAGE, flags=re.M))
    assert len(folders) >= 8 and all((source / folder).is_dir() for folder in folders)
    assert len(EXAMPLES) == len(re.findall(r'^"genrobust\.\w+" = ', PROJECT, flags=re.M))
