"""What `auto` stands for, by instructions and cards, in every section that names a precision."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from small_study import REAL, recipe_of

from genrobust.classifiers import AUTO, choose_precisions
from genrobust.classifiers.auto_precision import named_precisions, with_precision
from genrobust.core import Hardware, hardware, in_common, precision
from genrobust.recipe import ClassModelConfig, FinetuneConfig, parse_recipe, recipe_yaml
from genrobust.study import Study

F32 = frozenset({"float32"})
OLD_CPU = Hardware("cpu", F32, "this CPU has no bfloat16 instructions")
NEW_CPU = Hardware("cpu", F32 | {"bfloat16"}, "this CPU has AVX512_BF16")
OLD_GPU = Hardware("cuda", F32 | {"float16"}, "Tesla T4 has compute capability 7.5")
NEW_GPU = Hardware("cuda", F32 | {"float16", "bfloat16"}, "H100 has compute capability 9.0")


def everywhere(value):
    """A recipe that names the precision in every place where it may."""
    return recipe_of(
        generator={"dtype": value},
        datasets={
            "other": {"generator": {"dtype": value, "steps": 3}, "finetuned": True},
            "same": {"generator": {"steps": 4}, "from_scratch": True},
        },
        train={"precision": value},
        finetune={"precision": value},
        class_model={"precision": value},
        arms=[REAL | {"train": {"precision": value}}, REAL | {"name": "again"}],
    )


X86 = "processor\t: {0}\nvendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 fma {1}\nbugs\t\t: spectre_v1\n\n"
ARM = "processor\t: {0}\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd i8mm {1}\nCPU implementer\t: 0x41\n\n"


@pytest.fixture
def hardware_of(monkeypatch, tmp_path):
    """What a CPU is fast in, by what Linux says of it."""

    def hardware_of(text):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(precision.sys, "platform", "linux")
        return hardware.__wrapped__("cpu")

    return hardware_of


@pytest.mark.parametrize(
    ("text", "cores", "best"),
    [
        (X86, ("", ""), "float32"),
        (X86, ("avx512f avx512_vnni",), "float32"),
        (X86, ("avx512f avx512_bf16", "avx512f avx512_bf16"), "bfloat16"),
        (X86, ("amx_bf16",), "bfloat16"),
        (ARM, ("bf16", "bf16"), "bfloat16"),
        (ARM, ("bf16", ""), "float32"),  # not on all cores
        (ARM, ("svebf16",), "float32"),
    ],
)
def test_a_cpu_is_known_by_its_flags(hardware_of, monkeypatch, text, cores, best):
    monkeypatch.delenv(precision.CAP, raising=False)
    found = hardware_of("".join(text.format(number, flags) for number, flags in enumerate(cores)))
    assert (found.kind, found.best) == ("cpu", best)
    assert "float32" in found.fast


@pytest.mark.parametrize(
    ("cap", "best"),
    [("AVX2", "float32"), ("avx512_core_vnni", "float32"), ("AVX512_CORE_BF16", "bfloat16"), ("ALL", "bfloat16")],
)
def test_instructions_that_torch_is_kept_from_do_not_count(hardware_of, monkeypatch, cap, best):
    monkeypatch.setenv(precision.CAP, cap)
    assert hardware_of(X86.format(0, "avx512f avx512_bf16")).best == best


@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not know them")
def test_linux_and_torch_say_the_same_of_this_cpu(monkeypatch):
    here = hardware.__wrapped__("cpu")
    monkeypatch.setattr(precision.sys, "platform", "win32")
    assert hardware.__wrapped__("cpu") == here


@pytest.mark.parametrize(
    ("cards", "best"),
    [([(9, 0)], "bfloat16"), ([(8, 0), (8, 6)], "bfloat16"), ([(9, 0), (7, 5)], "float16"), ([], "float32")],
)
def test_gpus_take_what_all_of_them_have(monkeypatch, cards, best):
    made = [SimpleNamespace(name="card", major=major, minor=minor) for major, minor in cards]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(made))
    monkeypatch.setattr(torch.cuda, "get_device_properties", made.__getitem__)
    assert hardware.__wrapped__("cuda").best == best


def test_nodes_take_what_all_of_them_have():
    assert in_common([NEW_CPU, NEW_CPU]).best == "bfloat16"
    mixed = in_common([NEW_CPU, OLD_CPU, NEW_CPU])
    assert (mixed.kind, mixed.best) == ("cpu", "float32") and "1 of 3" in mixed.why
    assert in_common([NEW_GPU, OLD_GPU]).best == "float16"


@pytest.mark.parametrize("best", ["float32", "bfloat16", "float16"])
def test_every_auto_becomes_what_is_named_by_hand(best):
    found = with_precision(everywhere(AUTO), best)
    assert found == everywhere(best) == with_precision(found, "float64"), "what is named stays"
    assert parse_recipe(yaml.safe_load(recipe_yaml(found))) == found


def test_sections_that_a_dataset_needs_are_filled_in():
    plain = with_precision(recipe_of(), "bfloat16")
    assert (plain.finetune, plain.class_model) == (None, None)
    datasets = {"tuned": {"finetuned": True}, "own": {"from_scratch": True}}
    found = with_precision(recipe_of(datasets=datasets), "bfloat16")
    assert found.finetune == FinetuneConfig(precision="bfloat16")
    assert found.class_model == ClassModelConfig(precision="bfloat16")
    for name in datasets:
        assert found.generation(name)[0].dtype == "bfloat16"
    assert with_precision(recipe_of(generator=None), "float32").generator is None


def test_arms_that_inherit_no_precision_get_one():
    """Else an arm's folder would be the same whatever the machine that trains it computes in."""
    probe = {"init": "clip:pictograms", "method": "linear-probe"}
    full = REAL | {"name": "full", "train": {"method": "full"}}
    given = REAL | {"name": "given", "train": {"method": "full", "precision": "float32"}}
    found = with_precision(recipe_of(train=probe, arms=[REAL, full, given]), "bfloat16")
    assert [arm.train.get("precision") for arm in found.arms] == [None, "bfloat16", "float32"]
    assert parse_recipe(yaml.safe_load(recipe_yaml(found))).arms == found.arms


def test_a_cpu_is_known_without_torch():
    code = (
        "import sys\nfrom genrobust.core import Hardware, hardware\n"
        "from genrobust.classifiers import choose_precisions\n"
        "from genrobust.recipe import parse_recipe\n"
        "recipe = parse_recipe({'name': 'a', 'arms': [{'name': 'real', 'mixture': 'real'}]})\n"
        "old = Hardware('cpu', frozenset({'float32'}), '')\n"
        "assert choose_precisions(recipe, lambda: old).train.precision == 'float32'\n"
        "assert sys.platform != 'linux' or hardware('cpu')\n"
        "print('torch' in sys.modules and sys.platform == 'linux')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("value", "here", "warns"),
    [
        ("bfloat16", OLD_CPU, True),
        ("float16", OLD_CPU, True),
        ("float16", NEW_CPU, True),
        ("bfloat16", NEW_CPU, False),
        ("float32", OLD_CPU, False),
        ("bfloat16", OLD_GPU, True),
        ("float16", OLD_GPU, False),
        ("bfloat16", NEW_GPU, False),
        ("float16", Hardware("mps", F32, "measured"), False),
    ],
)
def test_what_is_named_is_obeyed_and_its_cost_told(value, here, warns):
    said = []
    recipe = everywhere(value)
    assert choose_precisions(recipe, lambda: here, said.append) is recipe
    assert len(said) == warns
    if warns:
        assert value in said[0] and "generator.dtype" in said[0] and here.best in said[0]


def test_one_line_says_what_auto_stands_for():
    said = []
    settled = choose_precisions(recipe_of(), lambda: OLD_CPU, said.append)
    assert len(said) == 1 and "float32" in said[0] and OLD_CPU.why in said[0]
    choose_precisions(settled, lambda: pytest.fail("nothing to look up"), said.append)
    assert len(said) == 1


def test_auto_and_the_same_by_hand_share_their_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("genrobust.study.executors.executor.hardware", lambda kind: NEW_CPU)
    datasets = {"tuned": {"finetuned": True}, "own": {"from_scratch": True}}
    keys = {"device": "cpu", "datasets": datasets}
    named = {"generator": {"dtype": "bfloat16"}, "train": {"precision": "bfloat16"}}
    named |= {"finetune": {"precision": "bfloat16"}, "class_model": {"precision": "bfloat16"}}
    said = []
    recipes = [recipe_of(**keys, **more) for more in ({}, named, {"generator": {"dtype": "float32"}})]
    auto, by_hand, other = (Study(recipe, tmp_path, say=said.append) for recipe in recipes)
    for name in ("generated", *datasets):
        assert auto.dataset(name).folder == by_hand.dataset(name).folder != other.dataset(name).folder
    folders = [[study.plan.classifier(run).folder for run in study.runs()] for study in (auto, by_hand)]
    assert folders[0] == folders[1]
    assert AUTO not in named_precisions(auto.recipe).values()
    assert auto.context.__reduce__()[1][0] is auto.recipe
    assert sum(line.startswith("precision: bfloat16") for line in said) == 2
