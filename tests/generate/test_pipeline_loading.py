"""Generators are found, checked, and loaded as diffusers loads them."""

import json
import os
import shutil

import pytest
import torch
from drawn import CPU
from refusals import refused

from genrobust.core import embedded
from genrobust.generate import identity
from genrobust.generate.mode import locate
from genrobust.generate.pipeline_loading import SCHEDULERS, load_generator
from genrobust.recipe import GeneratorConfig


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


def pickle_unet(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02cos\nsystem\n")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (pickle_unet, ""),
        (lambda f: (f / "model_index.json").unlink(), "model_index.json"),
        (lambda f: (f / "model_index.json").write_bytes(b'{"_class_name": "LTXPipeline"}'), "LTXPipeline"),
        (lambda f: shutil.rmtree(f / "vae"), ""),
        (lambda f: (f / "text_encoder" / "model.safetensors").unlink(), ""),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_bytes(b"{}"), ""),
        (lambda f: (shutil.rmtree(f), f.write_bytes(b"")), "from_single_file"),
    ],
)
def test_damaged_folders_are_refused_with_their_name(copy, damage, named):
    damage(copy)
    with refused(copy, named):
        load_generator(config(copy), CPU)
