"""The benchmark of a GPU: its dry run on the CPU, what it keeps when it is stopped, and the size of its pipelines."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from full_size import SD15, SDXL, unet_of
from gpu import KINDS, parts_of
from gpu_results import Part, Results, in_a_process
from training import fastest_convolutions

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_dry_run_measures_all_parts(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--tiny", "--out", tmp_path / "tiny.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not measured" not in done.stdout and "| genrobust |" in done.stdout
    tables = json.loads((tmp_path / "tiny.json").read_text())["seconds"]
    assert len(tables) == 6  # two shapes of generators, two classifiers, loading, evaluation
    assert all(seconds > 0 for ways in tables.values() for of_way in ways.values() for seconds in of_way)


@pytest.mark.parametrize(("shape", "parameters"), [(SD15, 859_520_964), (SDXL, 2_567_463_684)])
def test_pipelines_have_the_size_of_the_published_ones(shape, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in unet_of(shape).parameters()) == parameters


def test_a_bare_step_on_a_gpu_has_the_convolutions_of_cudnn():
    with fastest_convolutions(torch.device("cuda")):
        flags = torch.backends.cudnn
        assert (flags.enabled, flags.benchmark, flags.deterministic) == (True, True, False)


@pytest.mark.parametrize("name", ["init", "_lazy_init", "get_device_properties", "mem_get_info", "device_count"])
def test_listing_the_parts_leaves_the_card_alone(tmp_path, monkeypatch, name):
    """Each part runs in a copy of the process, where CUDA works only if it was never used before."""

    def used(*given, **named):
        raise AssertionError(name)

    monkeypatch.setattr(torch.cuda, name, used)
    results = Results.load(tmp_path / "r.json", {"machine": "a card"}, "a card; today")
    parts = list(parts_of(list(KINDS), tmp_path, torch.device("cuda"), results, "bfloat16"))
    assert {part.title.partition(",")[0] for part in parts} >= {"resnet50", "vit_small_patch16_224"}
    assert len({part.name for part in parts}) == len(parts)


def test_a_process_that_used_the_card_is_not_copied(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="CUDA was used"):
        in_a_process(int)


def test_results_of_a_stopped_run_are_kept(tmp_path):
    first, second = (Part("t", "images/s", [way], dict) for way in ("plain", "ours"))
    results = Results.load(tmp_path / "r.json", {"machine": "a card"}, "a card; today")
    results.add(first, {"plain": [0.5, 0.25]})
    results.note("t", "noted")
    found = Results.load(tmp_path / "r.json", {"machine": "a card"}, "a card; tomorrow")
    assert found.has(first) and not found.has(second)
    assert "Not measured yet" in found.markdown([first, second]) and "t: ours" in found.markdown([first, second])
    found.add(second, {"ours": [0.125, 0.125]})
    page = found.markdown([first, second])
    assert "| ours | 8.00 (8.00 to 8.00) | 3.00 |" in page and "noted" in page and "a card; today" in page


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
    with pytest.raises(RuntimeError, match=said):
        in_a_process(work, limit)
    assert in_a_process(lambda: 3) == 3
