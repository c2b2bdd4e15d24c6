"""Generators are found, checked, and loaded as diffusers loads them; those of strangers run no code."""

import json
import os
import shutil

import pytest
import torch
from drawn import CPU
from refusals import refused
from safetensors.torch import load_file, save_file

from genrobust.core import GenrobustError, LabelSpace, Request, UserError, embedded
from genrobust.generate import identity
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.mode import locate
from genrobust.generate.pipeline_loading import SCHEDULERS, load_generator
from genrobust.recipe import GeneratorConfig

INDEX, UNET, TEXT = "model_index.json", "unet/config.json", "text_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
FORMAT = {"format": "pt"}  # without it, transformers refuses a file


@pytest.fixture
def copy(generator_folder, tmp_path):
    return shutil.copytree(generator_folder, tmp_path / "copy.safetensors")


def config(folder, **values):
    return GeneratorConfig(model=str(folder), **{"dtype": "float32", **values})


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_name_keeps_the_folders_noise_schedule(generator_folder, name):
    scheduler = load_generator(config(generator_folder, scheduler=name), CPU).pipeline.scheduler
    assert type(scheduler).__name__ == SCHEDULERS[name][0]
    assert scheduler.config.prediction_type == "v_prediction"
    assert not scheduler.config.get("clip_sample", False), "latents are not clipped"


def test_a_folder_of_mixed_dtypes_loads_in_the_recipes(changed_generator):
    folder = changed_generator(lambda pipeline: (pipeline.unet.half(), pipeline.vae.half()))
    for dtype in ("float32", "bfloat16"):
        pipeline = load_generator(config(folder, dtype=dtype), CPU).pipeline
        parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        assert {p.dtype for part in parts for p in part.parameters()} == {getattr(torch, dtype)}


def test_sizes_are_the_recipes_or_the_generators(generator_folder):
    for size, wanted in (({}, (64, 64, (12, 8, 8))), ({"width": 32, "height": 96}, (32, 96, (12, 12, 4)))):
        generator = load_generator(config(generator_folder, **size), CPU)
        assert (generator.width, generator.height, generator.latent_shape) == wanted
        assert generator.id == generator_folder.name
    with refused("generator.height", 60, 8):
        load_generator(config(generator_folder, height=60), CPU)


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        ("sd", {"steps": 1001}, ["generator.steps", 1001, 1000]),  # as of one with few steps
        ("sd", {"safety_checker": True}, ["generator.safety_checker"]),
        ("lcm", {}, ["generator.scheduler", "LatentConsistencyModelPipeline"]),
        ("sd3", {}, ["generator.scheduler", "dpmsolver++", "FlowMatchEulerDiscreteScheduler"]),
    ],
)
def test_what_the_pipeline_cannot_do_is_refused(folder_of, kind, values, named):
    with refused(*named):
        load_generator(config(folder_of(kind)).model_copy(update=values), CPU)


@pytest.mark.parametrize(("kind", "scheduler"), [("lcm", "lcm"), ("lcm", None), ("sd3", None)])
def test_its_own_scheduler_can_be_kept(folder_of, kind, scheduler):
    own = {"lcm": "LCMScheduler", "sd3": "FlowMatchEulerDiscreteScheduler"}[kind]
    pipeline = load_generator(config(folder_of(kind), scheduler=scheduler), CPU).pipeline
    assert type(pipeline.scheduler).__name__ == own


@pytest.mark.parametrize("has_card", [True, False])
def test_a_generator_of_the_hub_comes_with_its_card(generator_folder, monkeypatch, has_card):
    """An export reads the license from it; diffusers alone leaves it out."""
    asked = []

    def download(*words, **more):
        asked.append((*words, more["revision"]))
        if not has_card:
            raise OSError("404")

    for name, replaced in {
        "diffusers.DiffusionPipeline.download": lambda *words, **more: str(generator_folder),
        "genrobust.generate.find_models.try_to_load_from_cache": lambda *words, **more: None,
        "genrobust.generate.find_models.hf_hub_download": download,
    }.items():
        monkeypatch.setattr(name, replaced)
    assert locate(GeneratorConfig(model="some/one", revision="main")) == ("some/one", generator_folder)
    assert asked == [("some/one", "README.md", "main")]


def test_the_embedded_generator_is_the_one_for_the_mode():
    for part, modes in (("variation", ["images"]), ("generator", ["labels", "labels+images"])):
        assert [locate(GeneratorConfig(mode=mode)) for mode in modes] == [("pictograms", embedded(part))] * len(modes)


def test_identity_is_the_weights_and_the_settings_not_the_place(generator_folder, copy, tmp_path):
    moved = shutil.move(copy, tmp_path / "elsewhere" / generator_folder.name)
    one, other = identity(config(generator_folder)), identity(config(moved))
    assert one == other
    assert str(generator_folder.parent) not in json.dumps(one)
    assert identity(config(generator_folder, steps=7)) != one


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"]
)
def test_the_identity_follows_every_file_that_matters_and_no_readme(copy, name):
    before = identity(config(copy))["weights_sha256"]
    (copy / "README.md").write_text("a card")
    assert identity(config(copy))["weights_sha256"] == before
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(data)
    os.utime(copy / name, ns=(1, 1))
    assert identity(config(copy))["weights_sha256"] != before


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: (f / INDEX).unlink(), INDEX),
        (lambda f: (f / INDEX).write_bytes(b'{"_class_name": "LTXPipeline"}'), "LTXPipeline"),
        (lambda f: shutil.rmtree(f / "vae"), ""),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_bytes(b"{}"), ""),
        (lambda f: (shutil.rmtree(f), f.write_bytes(b"")), "from_single_file"),
    ],
)
def test_damaged_folders_are_refused_with_their_name(copy, damage, named):
    damage(copy)
    with refused(copy, named):
        load_generator(config(copy), CPU)


CHANGES = [  # a file, and what is changed in it
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
    (TEXT, {"attn_implementation": "evil/kernel"}),
    (TEXT, {"_attn_implementation": "evil/kernel"}),
    (UNET, {"more": [{"attn_implementation": {"text_config": "evil/kernel"}}]}),
    (SCHEDULER, {"beta_schedule": "x"}),
]


@pytest.mark.parametrize(("file", "changes"), CHANGES, ids=lambda value: str(value)[:60])
def test_odd_configurations_are_refused(copy, file, changes):
    values = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps({**values, **changes}))
    with pytest.raises(UserError, match=r"copy|model_index|generator"):
        load_generator(config(copy), CPU)


@pytest.mark.parametrize("file", [INDEX, UNET, TEXT, SCHEDULER])
@pytest.mark.parametrize("raw", ["", "[]", "[" * 100_000])
def test_files_that_are_no_configuration_are_refused(copy, file, raw):
    (copy / file).write_text(raw)
    with refused(copy):
        load_generator(config(copy), CPU)


def test_no_file_of_python_is_run(copy, tmp_path, monkeypatch):
    """Beside the parts, in the folder, and in the folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n"
    for place in (copy / "pipeline.py", copy / "unet" / "evil.py", copy / "evil.py", tmp_path / "evil.py"):
        place.write_text(code)
    values = json.loads((copy / INDEX).read_text())
    for changes in ({"_class_name": ["pipeline", "Evil"]}, {"unet": ["evil", "Evil"]}, {"more": ["evil", "Evil"]}):
        (copy / INDEX).write_text(json.dumps({**values, **changes}))
        with refused(copy):
            load_generator(config(copy), CPU)
    for part in ("unet", "vae", "text_encoder"):
        own = json.loads((copy / part / "config.json").read_text())
        (copy / part / "config.json").write_text(json.dumps({**own, "auto_map": {"AutoModel": "evil.Evil"}}))
    (copy / INDEX).write_text(json.dumps(values))
    load_generator(config(copy), CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize("change", ["fewer", "other shapes", "a huge header", "a pickle"])
def test_weights_that_are_not_all_there_are_refused(copy, part, change):
    """transformers draws missing ones at random, and diffusers leaves them without values."""
    (file,) = (copy / part).glob("*.safetensors")
    tensors = load_file(file)
    if change == "a huge header":
        file.write_bytes(b"\xff" * 7 + b"\x00{}")
    elif change == "a pickle":
        torch.save(tensors, file.with_suffix(".bin"))
        file.unlink()
    elif change == "fewer":
        save_file({name: value for name, value in tensors.items() if not name.endswith("bias")}, file, FORMAT)
    else:
        save_file({name: value[:1].contiguous() for name, value in tensors.items()}, file, FORMAT)
    with refused(copy):
        load_generator(config(copy), CPU)


def test_what_fails_only_while_it_draws_is_named(copy, pictogram_data):
    values = json.loads((copy / INDEX).read_text())
    (copy / INDEX).write_text(json.dumps({**values, "text_encoder": [None, None]}))
    labels = LabelSpace(pictogram_data.labels.classes[:2])
    engine = DiffusersEngine(config(copy), labels, None, CPU)
    with refused(copy, kind=GenrobustError):
        engine.draw([Request("a-000000", 0, "a", "a cup", "a {}", "", "", 1)])


@pytest.mark.parametrize("name", ["./none", "~nobody", "a/b/c", "s3://b/x", "\0", "x" * 300, "/dev/null"], ids=ascii)
def test_words_that_name_nothing_are_mistakes(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        load_generator(config(name), CPU)
    with refused("generator.lora"):
        load_generator(config("pictograms", lora={"model": name}), CPU)
