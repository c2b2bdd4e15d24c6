"""The benchmark of a GPU: its dry run on the CPU, what it keeps when it is stopped, and the size of its pipelines."""

import json
import os
import pickle
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import gpu
import pytest
import torch
from full_size import SD15, SDXL, unet_of
from gpu import KINDS, parts_of
from gpu_results import Part, Results, in_a_process
from training import fastest_convolutions
from weights import GENERATORS, row

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.thorough
def test_the_dry_run_measures_all_parts(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--tiny", "--out", tmp_path / "tiny.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not measured" not in done.stdout and "| genrobust |" in done.stdout
    goals = [line.partition(" times ")[0] for line in done.stdout.splitlines() if line.startswith("Goal: ")]
    assert goals == ["Goal: genrobust, 1.5", *["Goal: genrobust, 0.97"] * 2]
    tables = json.loads((tmp_path / "tiny.json").read_text())["seconds"]
    assert len(tables) == 6  # two shapes of generators, two classifiers, loading, evaluation
    assert all(seconds > 0 for ways in tables.values() for of_way in ways.values() for seconds in of_way)


@pytest.mark.thorough
def test_the_documentation_has_the_weights_of_the_published_generators():
    rows = dict(line[2:-2].split(" | ", 1) for line in map(row, GENERATORS))
    assert rows == {  # authors name 0.86, 2.6, 8.1 (SD 3.5), 12 (FLUX.1), 4, 0.6, 1.6, 2.6 (Lumina), 20 and 6 billion
        "SD 1.5": "0.86 | 0.12 | 2.1",
        "SD 2.1": "0.87 | 0.34 | 2.6",
        "SDXL, SDXL Turbo": "2.57 | 0.82 | 6.9",
        "SD 3.5 medium": "2.24 | 5.58 | 15.8",
        "SD 3.5 large": "8.06 | 5.58 | 27.4",
        "FLUX.1 dev, schnell": "11.90 | 4.89 | 33.7",
        "FLUX.2 klein 4B": "3.88 | 4.02 | 16.0",
        "PixArt-Sigma": "0.61 | 4.76 | 10.9",
        "Sana 1.6B": "1.60 | 2.61 | 9.1",
        "Lumina 2": "2.61 | 2.61 | 10.6",
        "Qwen-Image": "20.43 | 8.29 | 57.7",
        "Z-Image Turbo": "6.15 | 4.02 | 20.5",
    }
    page = (BENCHMARKS.parent / "docs" / "generators.md").read_text(encoding="utf-8")
    table = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 5]
    listed = {cells[0][2:]: set(re.findall(r"[0-9]+\.[0-9]", cells[4])) for cells in table}
    for names, counted in rows.items():
        gigabytes = counted.rpartition(" | ")[2]
        found = [size for name, size in listed.items() if names.startswith(name) or name in names]
        assert found and all(gigabytes in size for size in found), names


@pytest.mark.thorough
@pytest.mark.parametrize(("shape", "parameters"), [(SD15, 859_520_964), (SDXL, 2_567_463_684)])
def test_pipelines_have_the_size_of_the_published_ones(shape, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in unet_of(shape).parameters()) == parameters


def test_what_a_machine_lacks_is_said_before_time_is_spent(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "DISK_BYTES", 10**18)
    monkeypatch.setattr(gpu, "SHARED", tmp_path)
    monkeypatch.setattr(gpu, "SHARED_BYTES", 10**18)
    monkeypatch.setattr(torch, "compile", lambda function: function.missing)
    with pytest.raises(RuntimeError) as lacks:
        gpu.require_equipment(torch.device("cpu"), tmp_path)
    said = str(lacks.value).splitlines()
    assert [line.partition(" ")[0] for line in said] == ["torch.compile", str(tmp_path), str(tmp_path)]
    assert "--shm-size" in said[1] and "--folder" in said[2]


def test_a_bare_step_on_a_gpu_has_the_convolutions_of_cudnn():
    with fastest_convolutions(torch.device("cuda")):
        flags = torch.backends.cudnn
        assert (flags.enabled, flags.benchmark, flags.deterministic) == (True, True, False)


@pytest.mark.thorough
def test_every_part_for_a_card_can_go_to_a_process_of_its_own(tmp_path):
    """A new one, since CUDA works in no copy of one that has imported diffusers; and it adds to what it is given."""
    results = Results.load(tmp_path / "r.json", {"machine": "a card"}, "a card; today")
    parts = list(parts_of(list(KINDS), tmp_path, torch.device("cuda"), results, "bfloat16"))
    assert {part.title.partition(",")[0] for part in parts} >= {"resnet50", "vit_small_patch16_224"}
    assert len({part.name for part in parts}) == len(parts)
    drawing = next(part for part in parts if "genrobust" in part.ways and "steps" in part.title)
    for part in parts:
        part, found = pickle.loads(pickle.dumps((part, results)))
        if part.name == drawing.name:
            part.run.args[1].func.__self__.results.note(part.title, "noted")
            assert found.notes == {part.title: "noted"}


@pytest.mark.thorough
def test_a_new_process_finds_nothing_of_this_one(monkeypatch):
    monkeypatch.setenv("HERE", "1")
    assert in_a_process(partial(os.getenv, "HERE"), 60) == "1"
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        in_a_process(partial(int, "x"), 60)


def test_results_of_a_stopped_run_are_kept(tmp_path):
    first, second = (Part("t", "images/s", [way], dict, ("ours", "plain", 2.5)) for way in ("plain", "ours"))
    results = Results.load(tmp_path / "r.json", {"machine": "a card"}, "a card; today")
    results.add(first, {"plain": [0.5, 0.25]})
    results.note("t", "noted")
    found = Results.load(tmp_path / "r.json", {"machine": "a card"}, "a card; tomorrow")
    assert found.has(first) and not found.has(second)
    page = found.markdown([first, second])
    assert "Not measured yet" in page and "t: ours" in page and "Goal" not in page
    found.add(second, {"ours": [0.125, 0.125]})
    page = found.markdown([first, second])
    assert "| ours | 8.00 (8.00 to 8.00) | 3.00 |" in page and "noted" in page and "a card; today" in page
    assert page.count("Goal: ours, 2.5 times plain. It is 3 times: met.") == 1
    found.add(second, {"ours": [0.25, 0.25]})
    assert "It is 1.5 times: missed." in found.markdown([first, second])


@pytest.mark.parametrize("change", [{"machine": "another"}, {"code": "b"}, {"torch": "2"}])
def test_results_of_another_card_or_of_other_code_are_refused(tmp_path, change):
    here = {"machine": "a card", "code": "a"}
    Results.load(tmp_path / "r.json", here, "today").note("t", "noted")
    with pytest.raises(SystemExit, match=f"{next(iter(change))} .*, now .*another file with --out"):
        Results.load(tmp_path / "r.json", here | change, "today")


def test_a_part_that_fails_hides_no_other_of_the_same_name(tmp_path):
    results = Results(tmp_path / "r.json", "here", {})
    parts = [Part(f"{steps} steps", "images/s", ["genrobust"], dict) for steps in (20, 50)]
    results.failed[parts[0].name] = "too large"
    results.add(parts[1], {"genrobust": [0.5]})
    assert "Failed: 20 steps: genrobust: too large" in results.markdown(parts)


@pytest.mark.parametrize(
    ("work", "limit", "said"),
    [
        (lambda: 1 / 0, 60, "ZeroDivisionError"),
        (lambda: os._exit(3), 60, "ended with 3"),
        (lambda: time.sleep(60), 0.5, "no end"),
    ],
)
def test_a_part_can_fail_end_or_hang_without_the_others(work, limit, said):
    with pytest.raises((RuntimeError, TimeoutError), match=said):
        in_a_process(work, limit, copy=True)
    assert in_a_process(lambda: 3, copy=True) == 3


def test_a_part_that_ran_out_of_time_has_not_failed(tmp_path, monkeypatch):
    results, slow = Results(tmp_path / "r.json", "here", {}), Part("t", "images/s", ["slow"], partial(time.sleep, 60))
    gpu.measure(slow, results, 0.5, copy=True)
    assert not results.failed and "Not measured yet" in results.markdown([slow])
    monkeypatch.setattr(gpu, "LIMIT_S", 0.5)
    gpu.measure(slow, results, 0.5, copy=True)
    assert results.failed == {slow.name: "no end after 0 s"}
