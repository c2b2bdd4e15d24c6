"""Real images on disk, for the tests of what reads folders, and how tests are spread over processes.

Each process of pytest-xdist runs whole groups of tests, so that what they share is made once: a group is a file, or the
files of `SHARED`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: the processes share the cores

import hypothesis
import numpy as np
import pytest
import typer.testing

from genrobust.core import StudyData, cores, embedded
from genrobust.data.readers import pictograms

gc.disable()  # until all tests are imported: what they import stays, and to look for garbage in it takes seconds

# Commands that tests run do their work in their own process: starting workers takes longer than most small studies.
os.environ["GENROBUST_WORKERS"] = "1"
for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "COLUMNS", "TERMINAL_WIDTH"):
    os.environ.pop(name, None)  # what is printed is compared, and these decide its colors and width
os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # empty, it hides devices from the tests that pretend to have some
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # where the servers of tests listen

typer.testing._get_command = cache(typer.testing._get_command)  # the commands are the same for each call of a runner

# the same examples in every run, at whatever pace
hypothesis.settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None, suppress_health_check=[*hypothesis.HealthCheck]
)
hypothesis.settings.load_profile("fixed")
pytest.register_assert_rewrite("kill_and_resume")
pytest_plugins = ["object_store", "pretrained_networks", "small_dataset", "small_photos", "small_record", "small_study"]
HERE = Path(__file__).parent
sys.path += [str(HERE / "generate"), str(HERE / "generate" / "train")]  # where tiny and small_training lie
sys.path.append(str(HERE.parent / "benchmarks"))
SHARED = {  # files that share what is made once, by the name of their group: a process that starts others; a study
    "started": ("store/test_remote.py", "study/test_kill.py", "test_kills.py"),
    "studied": (
        "cli/test_proposed.py",
        "tools/export/test_origin.py",
        *(f"study/test_{name}.py" for name in ("elsewhere", "reports_kept", "studies")),
    ),
}
LONGEST = (
    "study/executors/test_ray_cluster.py",
    "test_package.py",
    "started",
    "test_plugin.py",
    "study/test_study.py",
    "study/steps/test_search.py",
)


def group_of(nodeid: str) -> str:
    """The group of a test: its file, or that of files which share what is made once."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return next((name for name, files in SHARED.items() if path in files), path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first, so that no process works on one when the others are done."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(group_of(item.nodeid), len(order)))


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores: tests wait for servers, kills and other processes."""
    return cores() + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole groups; ``--dist loadgroup`` does so too, but not with the node ids of pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Undo what the last recipe set for this process: in tiny tensors, threads only wait for each other."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictogram_data() -> StudyData:
    return pictograms.load_pictograms()


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of random weights for 64 px."""
    from tiny import KINDS, saved

    return saved(KINDS["sd"](), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights for 32 px, with the tokenizer of the embedded generator."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizer.from_pretrained(embedded("generator") / "tokenizer")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=24, **size, **ends)
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **size)
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a package as pip does: a module, and a folder of metadata that names its entry points in `group`."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(group: str, package: str, code: str, **points: str) -> None:
        about = tmp_path / "installed" / package / f"{package}-1.0.dist-info"
        about.mkdir(parents=True)
        about.with_name(f"{package}.py").write_text(code)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        monkeypatch.syspath_prepend(about.parent)

    yield install
    for name in [n for n, m in sys.modules.items() if str(tmp_path) in str(getattr(m, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def nameless(tmp_path: Path) -> Callable[[Path], Path]:
    """Writes a checkpoint as ``nameless``, a folder for timm that does not say what its classes are."""

    def write(checkpoint: Path) -> Path:
        from genrobust.tools.export.classifier import export_classifier
        from genrobust.tools.export.format import FORMATS

        export_classifier(checkpoint, FORMATS.get("timm")(), tmp_path / "nameless")
        config = json.loads((tmp_path / "nameless" / "config.json").read_text())
        del config["label_names"]
        (tmp_path / "nameless" / "config.json").write_text(json.dumps(config))
        return tmp_path / "nameless"

    return write


def write_images(data: StudyData, folder: Path, source: str, each: int, classes: dict[str, str]) -> Path:
    """Write `each` images of the test set `source` (or of "train" or "retrieved") for each of `classes`.

    `classes` maps the name of a subfolder to a class id of Pictograms; returns the folder.
    """
    images = {"train": data.train, "retrieved": data.retrieval}.get(source) or data.tests[source]
    for sub, id in classes.items():
        (folder / sub).mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(images.labels == data.labels.ids.index(id))[:each]):
            images.image(int(index)).save(folder / sub / f"{number}.png")
    return folder


@pytest.fixture
def write_folder(pictogram_data: StudyData, tmp_path: Path) -> Callable[..., Path]:
    """Writes images as `write_images` does, in the folder of this name in `tmp_path`."""
    return lambda name, *how: write_images(pictogram_data, tmp_path / name, *how)


@pytest.fixture(scope="session")
def finished(pictogram_data: StudyData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of three classes and own.yaml, a recipe for them that was run; solid has two of these."""
    from small_study import OWN, genrobust

    root = tmp_path_factory.mktemp("finished") / "own"
    classes = {name: name for name in ("airplane", "bell", "camera")}
    write_images(pictogram_data, root / "train", "train", 4, classes)
    write_images(pictogram_data, root / "val", "outline-v2", 4, classes)
    write_images(pictogram_data, root / "test", "test", 3, classes)
    write_images(pictogram_data, root / "solid", "solid", 3, {"Airplane": "airplane", "bell": "bell"})
    (root / "own.yaml").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in ("run", "generate"):
            genrobust(command, "own.yaml")
    return root
