import json
import os
import shutil

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusionPipeline

from genrobust.core.errors import GenrobustError, UserError
from genrobust.generate.pipeline import SCHEDULERS, identity, load_generator, locate, weights_hash
from genrobust.recipe.generate import GeneratorConfig

CPU = torch.device("cpu")


@pytest.fixture
def copy(generator_folder, tmp_path):
    return shutil.copytree(generator_folder, tmp_path / "copy")


def config(folder, **values):
    return GeneratorConfig(model=str(folder), **{"dtype": "float32", **values})


def test_a_folder_loads_as_diffusers_itself_loads_it(generator_folder):
    generator = load_generator(config(generator_folder, scheduler=None), CPU)
    assert (generator.width, generator.height, generator.latent_shape) == (64, 64, (12, 8, 8))
    assert generator.id == generator_folder.name
    plain = StableDiffusionPipeline.from_pretrained(generator_folder)
    weights = generator.pipeline.unet.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in plain.unet.state_dict().items())
    assert type(generator.pipeline.scheduler) is type(plain.scheduler)


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
    generator = load_generator(config(generator_folder, width=32, height=96), CPU)
    assert (generator.width, generator.height, generator.latent_shape) == (32, 96, (12, 12, 4))
    with pytest.raises(UserError, match=r"generator.height is 60 pixels; .* draws multiples of 8"):
        load_generator(config(generator_folder, height=60), CPU)


def test_more_steps_than_trained_are_refused(generator_folder):
    with pytest.raises(UserError, match=r"generator.steps is 1001; .* trained with 1000"):
        load_generator(config(generator_folder, steps=1001), CPU)


def test_a_safety_checker_that_is_not_there_is_told(generator_folder):
    with pytest.raises(UserError, match=r"safety_checker is on, and .* has none"):
        load_generator(config(generator_folder, safety_checker=True), CPU)


# ------------------------------------------------------------------------------------------ which one


def test_alternatives_are_tried_in_order(generator_folder, monkeypatch, caplog):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    missing = "./no/such/folder"
    found = locate(GeneratorConfig(model=missing, alternatives=("/nor/this", str(generator_folder), missing)))
    assert found == (generator_folder.name, generator_folder)
    said = caplog.text
    assert f"generating with the alternative {generator_folder.name}, since these are not to be had" in said
    assert f"{missing}: there is no such folder" in said
    locate(GeneratorConfig(model=missing, alternatives=("/nor/this", str(generator_folder), missing)))
    assert caplog.text == said, "told once a run, however often it looks"
    with pytest.raises(UserError) as error:
        locate(GeneratorConfig(model=missing, alternatives=("/nor/this", "not a hub id")))
    assert [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]] == [
        missing,
        "/nor/this",
        "not a hub id",
    ]


def test_the_embedded_generator_is_the_one_for_the_mode(folder_of, monkeypatch, tmp_path):
    monkeypatch.setattr("genrobust.generate.locate.embedded", lambda part: tmp_path / part)
    for part, kind, modes in (("variation", "variation", ["images"]), ("generator", "sd", ["labels", "labels+images"])):
        for mode in modes:
            with pytest.raises(UserError, match=f"pictograms: the package comes without it: .*{part} is not there"):
                locate(GeneratorConfig(mode=mode))
        shutil.copytree(folder_of(kind), tmp_path / part)
        assert [locate(GeneratorConfig(mode=mode)) for mode in modes] == [("pictograms", tmp_path / part)] * len(modes)
    fallback = GeneratorConfig(mode="images", alternatives=(str(folder_of("variation")),))
    assert locate(fallback) == ("pictograms", tmp_path / "variation")


def test_identity_is_the_weights_and_the_settings_not_the_place(generator_folder, copy, tmp_path):
    moved = shutil.move(copy, tmp_path / "elsewhere" / generator_folder.name)
    one, other = identity(config(generator_folder)), identity(config(moved))
    assert one == other
    assert str(generator_folder.parent) not in json.dumps(one)
    assert identity(config(generator_folder, steps=7)) != one


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"]
)
def test_the_hash_follows_every_file_that_matters(copy, name):
    before = weights_hash(config(copy))
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(data)
    os.utime(copy / name, ns=(1, 1))
    assert weights_hash(config(copy)) != before


def test_the_hash_ignores_a_readme(copy, generator_folder):
    (copy / "README.md").write_text("a card")
    assert weights_hash(config(copy)) == weights_hash(config(generator_folder))


# ------------------------------------------------------------------------------------------ bad folders


def test_pickled_weights_are_refused(copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02cos\nsystem\n")
    with pytest.raises(UserError, match=r"unet holds its weights as a pickle"):
        load_generator(config(copy), CPU)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model_index.json").unlink(), "is no diffusers folder: it has no model_index.json"),
        (lambda f: (f / "model_index.json").write_bytes(b"{"), "cannot read .*model_index.json"),
        (lambda f: (f / "model_index.json").write_bytes(b'{"_class_name": "LTXPipeline"}'), "holds a LTXPipeline"),
        (lambda f: (f / "model_index.json").write_bytes(b'["x"]'), "holds a None"),
        (lambda f: shutil.rmtree(f / "vae"), "cannot load the generator in"),
        (lambda f: (f / "vae" / "config.json").write_bytes(b""), "cannot load the generator in"),
        (lambda f: (f / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"short"), "cannot load the generator"),
        (lambda f: (f / "text_encoder" / "model.safetensors").unlink(), "cannot load the generator in"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_bytes(b"{}"), "cannot load the generator in"),
    ],
)
def test_damaged_folders_are_refused_with_their_name(copy, damage, message):
    damage(copy)
    with pytest.raises(UserError, match=message) as error:
        load_generator(config(copy), CPU)
    assert str(copy) in str(error.value)


def test_a_single_file_is_told_how_to_become_a_folder(tmp_path):
    (tmp_path / "v1-5.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="from_single_file"):
        locate(config(tmp_path / "v1-5.safetensors"))


# ------------------------------------------------------------------------------------------ what cannot be sampled


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_told_before_anything_is_drawn(changed_generator, part, value):
    def change(pipeline):
        next(reversed(list(getattr(pipeline, part).parameters()))).view(-1)[0] = value

    folder = changed_generator(change)
    with pytest.raises(
        GenrobustError, match=f"the {part} of the generator in {folder} holds weights that are no numbers"
    ):
        load_generator(config(folder), CPU)


def test_weights_beyond_the_range_of_a_dtype_are_told(changed_generator):
    folder = changed_generator(lambda pipeline: pipeline.unet.conv_out.bias.fill_(1e6))
    load_generator(config(folder), CPU)
    with pytest.raises(GenrobustError, match=r"in float16: set generator.dtype to float32"):
        load_generator(config(folder, dtype="float16"), CPU)


def test_a_latent_consistency_model_wants_its_scheduler(folder_of):
    with pytest.raises(UserError, match="a LatentConsistencyModelPipeline is sampled with lcm"):
        load_generator(config(folder_of("lcm")), CPU)
    for scheduler in ("lcm", None):
        loaded = load_generator(config(folder_of("lcm"), scheduler=scheduler), CPU)
        assert type(loaded.pipeline.scheduler).__name__ == "LCMScheduler"


def test_a_scheduler_for_another_kind_of_noise_is_refused(changed_generator):
    def change(pipeline):
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler()

    folder = changed_generator(change)
    with pytest.raises(UserError, match=r"dpmsolver\+\+ cannot replace the FlowMatchEulerDiscreteScheduler"):
        load_generator(config(folder), CPU)
    load_generator(config(folder, scheduler=None), CPU)
