"""Mistakes on the command line: each ends with exit code 2 and a short error that names the wrong word."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

# Whose images each folder of own.yaml has: five of each class, such as a/ann_0.png.
PEOPLE = {"train": ("ann", "bob"), "test": ("ann", "cat"), "shifted": ("dan",), "more": ("eve",)}
# Patterns that find no name in a/ann_0.png: a wrong case, a wrong separator, another text, and an empty group.
UNFIT = ["/([A-Z]+)_", "/([a-z]+)-", "zzz(x)", "()"]
# Command, and what the error names. small.yaml is a recipe of icons, own.yaml one of folders of images. The folders
# made and images are empty.
MISTAKES = [
    ("run none.yaml", "none.yaml"),
    ("run pictogram", "did you mean pictograms or pictograms-full?"),
    ("run :x:.yaml", ":x:.yaml"),
    ("run small.yaml --set train.stepps=5", "train.stepps; did you mean steps?"),
    ("run small.yaml --set train.steps=0", "train.steps"),
    ("run small.yaml --set reference=none", "reference"),
    ("show small.yaml --set nonsense", "--set nonsense"),
    ("show small.yaml --set 'title=round #2'", "title=round #2: YAML takes what follows # for a comment"),
    ("show small.yaml --set train.steps=010", "train.steps: input should be a valid integer (got '010')"),
    ("show small.yaml --set arms=[]", "arms"),
    ("show small.yaml --quick", "--quick"),
    ("show small.yaml --set generator=null", "generator"),
    ("show small.yaml --prompts 1 --dataset nothing", "'nothing'"),
    ("show small.yaml --dataset generated", "--dataset is about prompts: add --prompts"),
    ("generate small.yaml --dataset nothing", "'nothing'"),
    ("generate small.yaml --address head:6379", "--address"),
    ("generate small.yaml --executor ray --workers 2", "--workers"),
    ("generate small.yaml --executor ray --address 127.0.0.1:1", "127.0.0.1:1"),
    ("generate small.yaml --set generator=null --set arms.1.mixture=real", "generator.model"),
    ("train small.yaml --arm rael", "the arms are real, [odd]"),
    ("train small.yaml --arm real --device abacus", "'abacus'"),
    ("train small.yaml --executor pbs", "'pbs'"),
    ("show small.yaml --executor local --set execute.executor=slurm", "name two executors"),
    ("evaluate small.yaml --labels names.txt", "--labels"),
    ("evaluate small.yaml --arm real --models resnet18", "--arm real"),
    ("evaluate small.yaml --models none/model.onnx", "none/model.onnx"),
    ("evaluate small.yaml --models ''", "--models ''"),
    ("evaluate small.yaml --models =images", "--models '=images'"),
    ("init --train none --test none2", "--train: there is no none; --test: there is no none2 (below"),
    ("init --train images --test none --shift x", "--test: there is no none"),
    ("init --train images", "--test DIR"),
    ("init --train images --test images --runs s3://bucket/runs", "URL"),
    ("effective-robustness --id clean --shift shifted table.csv", "'shifted'"),
    ("effective-robustness --id clean --shift shifted none.csv", "none.csv"),
    ("audit none", "none"),
    ("audit studies", "studies is a folder of studies"),
    ("view studies", "studies is a folder of studies"),
    ("audit made --labels names.txt", "--labels"),
    ("view made", "made"),
    ("view none", "none"),
    ("view small.yaml", "small.yaml:DATASET"),
    ("verify made", "made"),
    ("benchmark --models resnet18 --on none", "none"),
    ("benchmark --models resnet18 --on small.yaml", "small.yaml:DATASET"),
    ("export made --to nothing", "--to"),
    ("export made --to parquet", "manifest.json"),
    ("export none --to timm", "no finished checkpoint"),
    ("predict resnet18 images", "images holds no images"),
    ("predict resnet18 none", "cannot read the folder none"),
    ("predict resnet18 images --out answers.txt", "answers.txt: this output is CSV"),
    ("show small.yaml --set arms[0].name=x", "--set arms[0].name=x: write one dot before each key and index: arms.0."),
    ("show small.yaml --set train..steps=5", "--set train..steps=5: write one dot before each key and index: train.s"),
    ("show small.yaml --set arms.5.name=x", "--set arms.5.name=x"),
    ("show small.yaml --set evaluate.tests=[]", "evaluate.tests"),
    ("show small.yaml --set evaluate.beside=[test]", "evaluate.beside"),
    ("show small.yaml --set tune.choose_by=[wide]", "tune.choose_by: no test set 'wide'"),
    ("show small.yaml --set robustness.baselines=images", "robustness.baselines"),
    ("show small.yaml --set robustness.baselines=none.csv", "none.csv (robustness.baselines)"),
    ("show small.yaml --set execute.num_gpus=0", "execute.num_gpus"),
    ("show small.yaml --executor slurm --set execute.gpus=0", "unknown key execute.gpus"),
    ("show small.yaml --set data.shifted_val=wide", "data.shifted_val"),
    ("show small.yaml --set 'data.retrieved.without.cells=[\"*/inked\"]'", "without.cells: '*/inked'"),
    ("show small.yaml --set data.classes=[dragon]", "data.classes"),
    ("show small.yaml --set 'data.styles={pattern: inked(.)}'", "data.styles.pattern"),
    ("show small.yaml --set 'data.groups={pattern: zzz(x)}'", "data.groups.pattern"),
    ("show own.yaml --set 'data.class_names={z: x}'", "data.class_names"),
    ("show own.yaml --set 'data.same_class={z: a}'", "data.same_class"),
    ("show own.yaml --set 'data.groups={wide: {pattern: (.)}}'", "data.groups.wide"),
    ("show own.yaml --set 'data.groups_apart={column: patient}'", "data.groups_apart.column"),
    ("show own.yaml --set data.retrieved.limit=5", "data.retrieved.limit"),
    ("show own.yaml --set data.shifts.wide=images", "images is empty"),
    *((f"run own.yaml --set 'data.groups_apart={{pattern: \"{p}\"}}'", f"groups_apart.pattern: {p!r}") for p in UNFIT),
]
NOTICES = [  # what a command warns of, and what the warning names
    (
        "--set 'data.groups_apart={pattern: /(ann)_}'",
        "data.groups_apart.pattern finds a name for 10 of the 18 ",
    ),
    ("--set 'data.styles={pattern: /(ann)_}'", "data.styles.pattern finds a name for "),
    ("--set 'data.extra={more: more}'", "data.extra.more"),
    ("--set data.packed=true", "data.packed"),
    ("--set data.retrieved.search=more", "data.retrieved.search"),
    ("--set train.init=clip:pictograms --set train.blur_pool=true", "train.blur_pool"),
]
USAGE = [  # found before the command starts
    ("nope", "nope"),
    ("run", "RECIPE"),
    ("run pictograms --nope", "--nope"),
]


@pytest.fixture
def folder(recipe: Path, tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("checkpoints", "predictions"):
        (tmp_path / "studies" / name).mkdir(parents=True)
    (tmp_path / "table.csv").write_text("model,clean\nresnet18,70.1\n")
    for name, people in PEOPLE.items():
        draw_people(tmp_path / name, people)
    (tmp_path / "own.yaml").write_text(
        "name: own\nthreads: 1\ndata: {source: folders, train: train, test: test, shifts: {shifted: shifted}}\n"
        "train: {architecture: test_resnet, image_size: 64, batch_size: 8, precision: float32, steps: 2}\n"
        "arms: [{name: real, mixture: real}]\n"
    )
    return tmp_path


def draw_people(folder: Path, people: tuple[str, ...]) -> None:
    """Write five different images of each class for each of the `people`, with names such as a/ann_0.png."""
    random = np.random.default_rng(list(folder.name.encode()))
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for person, number in product(people, range(5)):
            pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{person}_{number}.png")


@pytest.mark.parametrize(("line", "named"), MISTAKES + USAGE)
def test_a_mistake_is_named_in_three_lines_and_changes_nothing(
    genrobust: Callable[..., Result], folder: Path, line: str, named: str
) -> None:
    def files() -> dict[str, bytes | None]:
        return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}

    before = files()
    done = genrobust(*shlex.split(line))
    assert done.exit_code == 2
    assert named in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    if (line, named) in USAGE:
        assert "Usage:" in done.stderr
    else:
        lines = [text for text in done.stderr.splitlines() if not text.startswith("· ")]
        assert lines[0].startswith("error: ") and len(lines) <= 3
    assert files() == before


@pytest.mark.parametrize(("options", "named"), NOTICES)
def test_a_key_that_has_an_effect_on_some_images_or_none_is_told(
    genrobust: Callable[..., Result], folder: Path, options: str, named: str
) -> None:
    shown = genrobust("show", folder / "own.yaml", *shlex.split(options))
    assert shown.exit_code == 0, shown.output
    (warning,) = [text for text in shown.stderr.replace("\n", " ").split("warning: ") if named in text]
    assert warning


def test_a_rule_that_finds_a_part_of_the_names_is_told_in_the_report(
    genrobust: Callable[..., Result], folder: Path
) -> None:
    done = genrobust("run", "own.yaml", "--set", "data.groups_apart={pattern: /(ann)_}", "--set", "name=apart")
    assert done.exit_code == 0, done.output
    assert "10 of the 18 images of train" in (folder / "runs" / "apart" / "report.md").read_text()


def test_debug_adds_the_traceback(genrobust: Callable[..., Result]) -> None:
    done = genrobust("--debug", "show", "none.yaml")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr and "UserError: " in done.stderr
    assert "\nerror: " in done.stderr


def test_a_failure_is_exit_code_1(genrobust: Callable[..., Result], recipe: Path) -> None:
    hopeless = {"steps": 2, "batch_size": 2, "learning_rate": "1e30", "warmup_steps": 0, "ema_decay": 0}
    hopeless |= {"optimizer": "sgd"}
    sets = [word for key, value in hopeless.items() for word in ("--set", f"train.{key}={value}")]
    done = genrobust("train", recipe, "--arm", "real", *sets)
    assert done.exit_code == 1
    assert "train.learning_rate" in done.stderr
    assert "Traceback" not in done.stderr
