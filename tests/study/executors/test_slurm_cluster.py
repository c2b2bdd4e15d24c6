"""The jobs of a SLURM cluster, as submitit starts them on this machine, by itself or by commands of a small cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scribe import work
from small import count_of, recipe_of, written
from small_study import CLASSES, REAL, TRAIN, contents, folders_section, genrobust

from genrobust.core import GenrobustError, UserError
from genrobust.study import open_executor
from genrobust.study.executors.workers import TRIES


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The executor, whose jobs find the module of what they do."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
    recipe = recipe_of(threads=1, device="cpu")
    return open_executor(recipe, tmp_path / "runs", "slurm", cluster="local", at_once=2)


def test_each_job_is_done_once_and_counted(slurm, tmp_path: Path) -> None:
    slurm.run(work(tmp_path, "write:a", "write:b", "write:c"))
    assert count_of(tmp_path, "done-*") == count_of(tmp_path, "try-*") == 3
    told = json.loads((tmp_path / "done-a").read_text())
    assert (told["folder"], told["threads"]) == (str(Path.cwd()), "1")
    assert [path.name for path in (tmp_path / "runs" / "slurm").iterdir()] == ["logs"], "none of the progress is left"


@pytest.mark.thorough
def test_what_dies_is_tried_again_and_the_rest_is_done(slurm, tmp_path: Path) -> None:
    slurm.run(work(tmp_path, "die-once:a", "write:b"))
    assert (tmp_path / "done-a").exists() and (tmp_path / "done-b").exists()
    with pytest.raises(GenrobustError, match=rf"die.*tries: {TRIES}"):
        slurm.run(work(tmp_path, "die:c", "write:d"))
    assert (tmp_path / "done-d").exists()


def test_without_a_cluster_and_with_keys_of_another_executor_it_is_refused(tmp_path: Path) -> None:
    assert shutil.which("srun") is None
    with pytest.raises(UserError, match="srun"):
        open_executor(recipe_of(), tmp_path, "slurm")
    with pytest.raises(UserError, match="address"):
        open_executor(recipe_of(), tmp_path, "slurm", address="here:1")


@pytest.mark.thorough
def test_a_study_is_that_of_one_process(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    sets = {name: write_folder(name, name, 4, CLASSES) for name in ("train", "test", "solid")}
    values = {"data": folders_section(sets), "generator": None, "train": TRAIN, "threads": 1, "device": "cpu"}
    recipe = recipe_of(**values, arms=[REAL], seeds=[0, 1], execute={"executor": "slurm", "cluster": "local"})
    file = written(recipe, tmp_path)
    genrobust("evaluate", file, "--out", tmp_path / "slurm")
    genrobust("evaluate", file, "--executor", "local", "--out", tmp_path / "here")
    assert count_of(tmp_path / "slurm", "checkpoints/*") == 2

    def results(folder: Path) -> dict[str, object]:
        return {name: of for name, of in contents(folder).items() if not name.startswith("slurm/")}

    assert results(tmp_path / "slurm") == results(tmp_path / "here")


SCRIPTS = {  # of a SLURM of one node, which starts at once what it is sent
    "sbatch": """#!{python}
import os, re, subprocess, sys
from pathlib import Path
here, text = Path(__file__).parent, Path(sys.argv[1]).read_text()
job = 100 + len(list(here.glob("*.sh")))
(here / f"{{job}}.sh").write_text(text)
array = re.search(r"--array=0-([0-9]+)", text)
for task in range(int(array[1]) + 1) if array else [None]:
    name = f"{{job}}" if task is None else f"{{job}}_{{task}}"
    told = {{"JOB_ID": name, "JOB_NODELIST": "here", "JOB_NUM_NODES": 1, "NTASKS": 1}}
    told |= {{"NODEID": 0, "PROCID": 0, "LOCALID": 0}}
    told |= {{}} if task is None else {{"ARRAY_JOB_ID": job, "ARRAY_TASK_ID": task}}
    ends = f"bash {{here}}/{{job}}.sh; echo $? > {{here}}/{{name}}.ended"
    env = os.environ | {{f"SLURM_{{key}}": str(value) for key, value in told.items()}}
    (here / f"{{name}}.begun").touch()
    subprocess.Popen(["sh", "-c", ends], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"Submitted batch job {{job}}")
""",
    "srun": """#!/bin/sh
shift  # --unbuffered
while [ "${{1#--}}" != "$1" ]; do shift 2; done
exec "$@"
""",
    "sacct": """#!{python}
from pathlib import Path
print("JobID|State|NodeList")
for begun in Path(__file__).parent.glob("*.begun"):
    ended = begun.with_suffix(".ended")
    state = "RUNNING" if not ended.exists() else "FAILED" if ended.read_text().strip() != "0" else "COMPLETED"
    print(f"{{begun.stem}}|{{state}}|here")
""",
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the commands of a cluster, and of what it was sent."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
    return folder


def test_a_cluster_gets_one_array_with_what_the_recipe_asks_for(cluster: Path, tmp_path: Path) -> None:
    asked = {"partition": "gpu", "account": "lab", "minutes": 30, "memory_gb": 2.5, "num_gpus": 1, "at_once": 2}
    recipe = recipe_of(threads=2, device="cpu", execute={"executor": "slurm", **asked})
    open_executor(recipe, tmp_path / "runs").run(work(tmp_path, "write:a", "write:b", "write:c"))
    assert count_of(tmp_path, "done-*") == count_of(tmp_path, "try-*") == 3
    (sent,) = cluster.glob("*.sh")
    words = "array=0-2%2 partition=gpu account=lab time=30 mem=2560MB cpus-per-task=2 gpus-per-node=1"
    assert {f"#SBATCH --{word}" for word in words.split()} <= {*sent.read_text().splitlines()}
    with pytest.raises(UserError, match=r"^device: auto: "):
        open_executor(recipe_of(device="auto"), tmp_path / "runs", "slurm")
    open_executor(recipe_of(device="cpu"), tmp_path / "runs", "slurm").run(work(tmp_path, "write:d", "write:e"))
    (plain,) = {*cluster.glob("*.sh")} - {sent}
    assert not re.search("gpu|partition|account|qos", plain.read_text().partition("# command")[0])


@pytest.mark.parametrize(
    ("script", "named"),
    [("echo 'Invalid account' >&2; exit 1", "Invalid account"), ("echo hello", "hello"), ("exit 0", "sbatch")],
)
def test_an_sbatch_that_fails_at_the_first_job_is_a_mistake_of_the_user(
    script: str, named: str, cluster: Path, tmp_path: Path
) -> None:
    """The first job tells which precisions a node is fast with."""
    (cluster / "sbatch").write_text(f"#!/bin/sh\n{script}\n")
    recipe = recipe_of(device="cpu")
    with pytest.raises(UserError, match=named):
        open_executor(recipe, tmp_path / "runs", "slurm").placed(recipe)


def test_what_a_cluster_refuses_is_told(cluster: Path, tmp_path: Path) -> None:
    (cluster / "sbatch").write_text("#!/bin/sh\necho 'error: invalid partition specified: gpus' >&2\nexit 1\n")
    executor = open_executor(recipe_of(device="cpu"), tmp_path / "runs", "slurm", partition="gpus")
    with pytest.raises(UserError, match=r"specified: gpus.*execute"):
        executor.run(work(tmp_path, "write:a"))
