"""Generators from strangers: they load, or end in an error that names them, and run no code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file, save_file

from genrobust.core import GenrobustError, LabelSpace, Request, StudyData, UserError
from genrobust.generate import LoraConfig
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import GeneratorConfig

CPU = torch.device("cpu")
INDEX, UNET, TEXT = "model_index.json", "unet/config.json", "text_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"


def config(model: object, **more: Any) -> GeneratorConfig:
    return GeneratorConfig(model=str(model), steps=2, dtype="float32", **more)


@pytest.fixture
def copy(tiny_generator: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_generator, tmp_path / "stranger"))


CHANGES: list[tuple[str, dict[str, Any]]] = [  # a file, and what is changed in it
    (INDEX, {"_class_name": None}),
    (INDEX, {"_class_name": "os.system"}),
    (INDEX, {"_class_name": ["pipeline", "StableDiffusionPipeline"]}),
    (INDEX, {"unet": ["os", "system"]}),
    (INDEX, {"unet": ["..evil", "X"]}),
    (INDEX, {"unet": ["diffusers", None]}),
    (INDEX, {"text_encoder": ["transformers", "BertModel"]}),
    (INDEX, {"scheduler": ["diffusers.utils", "load_image"]}),
    (INDEX, {"extra": ["antigravity", "x"]}),
    (INDEX, {"id2label": {"x": "y"}}),
    (UNET, {"block_out_channels": []}),
    (UNET, {"act_fn": "os.system"}),
    (TEXT, {"vocab_size": 1}),
    (TEXT, {"_attn_implementation": "evil/kernel"}),
    (SCHEDULER, {"beta_schedule": "x"}),
]


@pytest.mark.parametrize(("file", "changes"), CHANGES, ids=lambda value: str(value)[:60])
def test_odd_configurations_are_refused(copy: Path, file: str, changes: dict[str, Any]) -> None:
    values = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps({**values, **changes}))
    with pytest.raises(UserError, match=r"stranger|model_index|generator"):
        load_generator(config(copy), CPU)


@pytest.mark.parametrize("file", [INDEX, UNET, TEXT, SCHEDULER])
@pytest.mark.parametrize("raw", ["", "[]", "[" * 100_000])
def test_files_that_are_no_configuration_are_refused(copy: Path, file: str, raw: str) -> None:
    (copy / file).write_text(raw)
    with refused("stranger"):
        load_generator(config(copy), CPU)


def test_no_file_of_python_is_run(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the parts, in the folder, and in the folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n"
    for place in (copy / "pipeline.py", copy / "unet" / "evil.py", copy / "evil.py", tmp_path / "evil.py"):
        place.write_text(code)
    values = json.loads((copy / INDEX).read_text())
    for changes in ({"_class_name": ["pipeline", "Evil"]}, {"unet": ["evil", "Evil"]}, {"more": ["evil", "Evil"]}):
        (copy / INDEX).write_text(json.dumps({**values, **changes}))
        with refused("stranger"):
            load_generator(config(copy), CPU)
    for part in ("unet", "vae", "text_encoder"):
        own = json.loads((copy / part / "config.json").read_text())
        (copy / part / "config.json").write_text(json.dumps({**own, "auto_map": {"AutoModel": "evil.Evil"}}))
    (copy / INDEX).write_text(json.dumps(values))
    load_generator(config(copy), CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize("change", ["fewer", "other shapes", "a huge header"])
def test_weights_that_are_not_all_there_are_refused(copy: Path, part: str, change: str) -> None:
    """transformers draws missing ones at random, and diffusers leaves them without values."""
    (file,) = (copy / part).glob("*.safetensors")
    tensors = load_file(file)
    if change == "a huge header":
        file.write_bytes(b"\xff" * 7 + b"\x00{}")
    else:
        kept = {k: v for k, v in tensors.items() if not k.endswith("bias")} if change == "fewer" else tensors
        kept = {k: v[:1].contiguous() for k, v in tensors.items()} if change == "other shapes" else kept
        save_file(kept, file, {"format": "pt"})
    with refused("stranger"):
        load_generator(config(copy), CPU)


def test_what_fails_only_while_it_draws_is_named(copy: Path, pictogram_data: StudyData) -> None:
    values = json.loads((copy / INDEX).read_text())
    (copy / INDEX).write_text(json.dumps({**values, "text_encoder": [None, None]}))
    labels = LabelSpace(pictogram_data.labels.classes[:2])
    engine = DiffusersEngine(config(copy), labels, None, CPU)
    with refused("stranger", kind=GenrobustError):
        engine.draw([Request("a-000000", 0, "a", "a cup", "a {}", "", "", 1)])


@pytest.mark.parametrize("name", ["./none", "~nobody", "a/b/c", "s3://b/x", "\0", "x" * 300, "/dev/null"], ids=ascii)
def test_words_that_name_nothing_are_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        load_generator(config(name), CPU)
    with refused("generator.lora"):
        load_generator(config("pictograms", lora=LoraConfig(model=name)), CPU)
